/* SPDX-License-Identifier: MIT */
/*
 * A guest: profile + image + QEMU + vsock + agent.  Owns the life cycle; every call below that talks to the
 * guest blocks (runs the loop) until it is answered, the deadline passes, or the guest dies, whichever is
 * first.  A death raises at once with the reason and the console's tail.
 */
#ifndef PV_GUEST_GUEST_H
#define PV_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "guest/env.h"
#include "util/mem.h"

struct pv_err;
struct pv_guest;

struct pv_guest_disk {
    char *path;
    char *format; /* "raw", "qcow2" */
    bool readonly;
    bool snapshot;
};

struct pv_guest_file {
    char *guest_path;
    char *host_path;
};

/* Less than this no kernel boots in, bytes. */
#define PV_GUEST_MIN_MEMORY (UINT64_C(32) << 20)

/* Zero-initialised means the defaults: 512M, 1 CPU, the profile's boot timeout. */
struct pv_boot_opts {
    uint64_t memory;
    unsigned cpus;
    int64_t timeout_ns;
    char *append;
    enum pv_transport transport; /* auto: the profile decides */
    struct pv_guest_file *files;
    size_t n_files;
    struct pv_guest_disk *disks;
    size_t n_disks;
    /*
     * A VM that can be saved, and all that are resumed from it, has a vsock device for the guest's own use,
     * each with a CID of its own.  Without meaning on the transport vsock, where every VM has one.
     */
    bool vsock;
    bool keep_disks; /* every disk is as if it were `snapshot`, so that the machine can be saved */
};

void pv_boot_opts_fini(struct pv_boot_opts *o);

/* `env` and `profile` must outlive the guest. Starts nothing. */
struct pv_guest *pv_guest_new(const struct pv_guest_env *env, const struct pv_profile *profile);
/*
 * What a VM of this profile would run with here, as lines of text: accelerator, QEMU, CPU, and the profile's
 * own values.  Not the contents of files.  Added to out.
 */
void pv_guest_describe(const struct pv_guest_env *env, const struct pv_profile *p, struct pv_buf *out);
/* Kills what runs, frees. NULL is fine. */
void pv_guest_free(struct pv_guest *g);

enum pv_guest_state pv_guest_state(const struct pv_guest *g);
const char *pv_guest_name(const struct pv_guest *g);     /* "vm1 (minimal)" */
const char *pv_guest_log_path(const struct pv_guest *g); /* NULL before boot or without log_dir */
/* Tells env->observer.finding of what is on the console by now, unfinished reports too.  Does not wait. */
void pv_guest_settle_findings(struct pv_guest *g);
/* True when it is dead because its kernel panicked. */
bool pv_guest_panicked(const struct pv_guest *g);
/* True when its console speaks of a panic and it has shown no sign of life since. */
bool pv_guest_panic_suspected(const struct pv_guest *g);
/* Last console lines, harmless for a terminal; nothing before boot. */
void pv_guest_console_tail(const struct pv_guest *g, unsigned lines, struct pv_buf *out);

/*
 * All options are checked before QEMU is started; see SPEC 2.  Waits for memory and CPUs first (env->pool.acquire),
 * for which the timeout does not count.
 */
int pv_guest_boot(struct pv_guest *g, const struct pv_boot_opts *o, struct pv_err *err);
/* Asks the agent, waits timeout_ns (0: 10 s), kills. Not running any more: nothing, 0. Not booted: class
 * usage. */
int pv_guest_shutdown(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err);
/* At once. Not running any more or not booted: nothing. */
void pv_guest_kill(struct pv_guest *g);

struct pv_exec {
    struct pv_strv argv; /* a shell command is {"/bin/sh", "-c", cmd} */
    struct pv_strv env;  /* "KEY=VALUE", over the profile's and the defaults */
    const char *cwd;     /* NULL: / */
    const void *in;      /* stdin; NULL: /dev/null */
    size_t in_len;
    int64_t timeout_ns; /* 0: none of its own (the host still gives up when the guest dies) */
    bool unnumbered;    /* the guest's process numbers go on as if it had not been */
};

struct pv_exec_result {
    int exit_code; /* 128 + signal when killed */
    int signal;    /* 0: none */
    bool timed_out;
    int64_t duration_ns; /* in the guest */
    struct pv_buf out, err;
};

void pv_exec_result_fini(struct pv_exec_result *r);

/* A command that could not be started at all (no such file, bad cwd) is class guest with its errno. */
int pv_guest_exec(struct pv_guest *g, const struct pv_exec *x, struct pv_exec_result *r, struct pv_err *err);

/* timeout_ns 0: none. mode PV_MODE_KEEP or permission bits. Errors of the guest carry errno and the path. */
int pv_guest_read_file(struct pv_guest *g, const char *path, int64_t timeout_ns, struct pv_buf *out,
                       struct pv_err *err);
/*
 * The same without keeping it in memory: sink gets the pieces as they come (from within the loop: it must not
 * call into guests) and returns -1 to give up, which is class host.
 */
int pv_guest_read_file_to(struct pv_guest *g, const char *path, int64_t timeout_ns,
                          int (*sink)(void *arg, const void *data, size_t n), void *arg, struct pv_err *err);
int pv_guest_write_file(struct pv_guest *g, const char *path, const void *data, size_t n, uint32_t mode,
                        int64_t timeout_ns, struct pv_err *err);
int pv_guest_mount_vfs(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err);

/* Sends n bytes and waits for the same bytes back: the raw round trip, for bench and health. */
int pv_guest_ping(struct pv_guest *g, const void *data, size_t n, int64_t timeout_ns, struct pv_err *err);

/* ---- raw kernel access, jobs, workers, trees: see SPEC 3 and wire/proto.h ---- */

struct pv_sys_buf {
    unsigned slot; /* 0..5: the argument that the buffer's address replaces */
    const void *data;
    size_t n;
};

struct pv_sys_ptr {
    unsigned buf;    /* index into bufs */
    uint32_t offset; /* where in that buffer the address is stored */
    uint32_t len;    /* bytes of memory; n <= len */
    bool output;     /* wanted back */
    const void *data;
    size_t n;
};

struct pv_syscall {
    uint64_t nr, args[6];
    const char *name; /* for messages; NULL: only the number is said */
    const struct pv_sys_buf *bufs;
    size_t n_bufs;
    const struct pv_sys_ptr *ptrs;
    size_t n_ptrs;
    int64_t timeout_ns; /* 0: none */
};

struct pv_sysret {
    int64_t value;
    struct pv_buf *out; /* n_bufs + pointers with output, in that order */
    size_t n_out;
};

void pv_sysret_fini(struct pv_sysret *r);

/*
 * Checks slots, indices, offsets (offset + 8 <= the buffer's size) and lengths: class usage.  A syscall that
 * ended its own process: class guest-died, saying how ("the agent process was killed by SIGSEGV in ..."); the
 * next call gets a fresh one.
 */
int pv_guest_syscall(struct pv_guest *g, const struct pv_syscall *c, struct pv_sysret *r, struct pv_err *err);

struct pv_job {
    uint32_t id, pid;
};

struct pv_job_state {
    bool running;
    int exit_code; /* -1 while running; 128 + signal when killed */
    struct pv_buf out, err;
};

void pv_job_state_fini(struct pv_job_state *s);
/* argv, env and cwd of x are used, and its timeout (0: 60 s) for the start. */
int pv_guest_job_start(struct pv_guest *g, const struct pv_exec *x, struct pv_job *job, struct pv_err *err);
/* wait_ns 0: only looks. An unknown job is class guest, ENOENT. */
int pv_guest_job_wait(struct pv_guest *g, uint32_t job, int64_t wait_ns, struct pv_job_state *s,
                      struct pv_err *err);
/* timeout_ns 0: 60 s. */
int pv_guest_job_kill(struct pv_guest *g, uint32_t job, int64_t timeout_ns, struct pv_job_state *s,
                      struct pv_err *err);

/*
 * A worker is a guest handle of its own kind: every call above works on it, but not boot, shutdown and spawn.
 * It is freed by pv_guest_free, which ends it; it must be freed before the guest that it came from.
 */
struct pv_guest *pv_guest_spawn(struct pv_guest *g, bool thread, int64_t timeout_ns, struct pv_err *err);
/* NULL for a VM; the VM for a worker. */
struct pv_guest *pv_guest_parent(const struct pv_guest *g);

/* The kernel log as text. */
int pv_guest_dmesg(struct pv_guest *g, int64_t timeout_ns, struct pv_buf *out, struct pv_err *err);

/*
 * Trees, streamed.  A host path that is a directory goes with all that is in it; modes, symbolic links, holes
 * and empty directories are kept, names with any byte; owners, times and hard links are not.  The path itself
 * may be a symbolic link to what is meant.  What is named as the destination is what is made (no "put it into
 * the directory of that name" as cp does): a file onto a directory is an error, a directory onto a directory
 * fills it.  Fifos, sockets and devices on the host are refused by name.
 *
 * pull never writes outside host_path, whatever the guest answers: symbolic links are made, never followed,
 * the ones that were there before included (host_path itself too; what leads to it is the caller's).  Files
 * and links in the way are replaced.  Set-user-ID and set-group-ID are dropped.  What fails half-way is left,
 * and the error says what is incomplete.
 */
int pv_guest_push(struct pv_guest *g, const char *host_path, const char *guest_path, int64_t timeout_ns,
                  struct pv_err *err);
int pv_guest_pull(struct pv_guest *g, const char *guest_path, const char *host_path, int64_t timeout_ns,
                  struct pv_err *err);

#endif
