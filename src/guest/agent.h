/* SPDX-License-Identifier: MIT */
/*
 * Requests to an agent process in a guest.  Each one blocks (runs the loop) until the reply has come, the
 * deadline passes or the guest ends, whichever is first; the end of the guest is an error of class guest-died
 * with its reason and the console's tail.
 *
 *     pv_agent_exec(pv_guest_agent(g), &x, &result, &err);      // the VM's own agent process
 *     pv_agent_exec(pv_worker_agent(w), &x, &result, &err);     // a worker (guest/worker.h)
 */
#ifndef PV_GUEST_AGENT_H
#define PV_GUEST_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/mem.h"

struct pv_agent;
struct pv_err;

/*
 * Limits of what one call may bring to the host, unless the call raises them; a reply that is larger ends the
 * call with an error of class guest, which names the option.
 */
#define PV_MAX_OUTPUT (UINT64_C(256) << 20) /* max_output: stdout and stderr of a command, bytes */
#define PV_MAX_FILE (UINT64_C(1) << 30)     /* max_size: content of a file, bytes */
#define PV_MAX_TREE (UINT64_C(16) << 30)    /* max_size: content of all files of a tree, bytes */
#define PV_MAX_ENTRIES UINT64_C(1000000)    /* max_entries of a tree */

struct pv_exec {
    struct pv_strv argv; /* a shell command is {"/bin/sh", "-c", cmd} */
    struct pv_strv env;  /* "KEY=VALUE", over the profile's and the defaults */
    bool env_clear;      /* the environment is `env` alone; the program is found as without this */
    const char *user;    /* name or number in the guest's /etc/passwd; NULL: the agent's own */
    const char *cwd;     /* NULL: / */
    const void *in;      /* stdin; NULL: /dev/null */
    size_t in_len;
    int64_t timeout_ns;  /* 0: none (the host still gives up when the guest dies) */
    uint64_t max_output; /* 0: PV_MAX_OUTPUT */
    bool unnumbered;     /* the command uses up no pids of the guest */
    bool pty;            /* of pv_process_start_live: its stdio is a terminal of this size */
    unsigned rows, columns;
};

struct pv_exec_result {
    int exit_code; /* 128 + signal when killed */
    int signal;    /* 0: none */
    bool timed_out;
    int64_t duration_ns; /* in the guest */
    struct pv_buf out, err;
};

void pv_exec_result_fini(struct pv_exec_result *r);

/* A command that cannot be started (no such file, bad cwd) is an error of class guest with its errno. */
int pv_agent_exec(struct pv_agent *a, const struct pv_exec *x, struct pv_exec_result *r, struct pv_err *err);

/* timeout_ns 0: none. At most PV_MAX_FILE bytes. mode PV_MODE_KEEP or permission bits. Errors of the guest carry errno and the path. */
int pv_agent_read_file(struct pv_agent *a, const char *path, int64_t timeout_ns, struct pv_buf *out,
                       struct pv_err *err);
/*
 * As pv_agent_read_file, without keeping the file in memory and without a limit: sink gets the pieces as they arrive (from within
 * the loop: it must not call into guests) and returns -1 to end the call with an error of class host.
 */
int pv_agent_read_file_to(struct pv_agent *a, const char *path, int64_t timeout_ns,
                          int (*sink)(void *arg, const void *data, size_t n), void *arg, struct pv_err *err);

/* A part of a file: up to `length` bytes (PV_READ_ALL: to the end) from `offset` (at most 2^62) on. */
struct pv_file_part {
    const char *path;
    uint64_t offset, length;
};

int pv_agent_read_part_to(struct pv_agent *a, const struct pv_file_part *part, int64_t timeout_ns,
                          int (*sink)(void *arg, const void *data, size_t n), void *arg, struct pv_err *err);
/* flags: PV_WRITE_APPEND, or 0: the file is truncated first. */
int pv_agent_write_file(struct pv_agent *a, const char *path, const void *data, size_t n, uint32_t mode,
                        uint32_t flags, int64_t timeout_ns, struct pv_err *err);
int pv_agent_mount_vfs(struct pv_agent *a, int64_t timeout_ns, struct pv_err *err);

/* Sends n bytes and waits until the agent echoes them: a raw round trip, for bench and health checks. */
int pv_agent_ping(struct pv_agent *a, const void *data, size_t n, int64_t timeout_ns, struct pv_err *err);

/* ---- system calls, jobs, trees: see wire/proto.h ---- */

struct pv_sys_buf {
    unsigned slot; /* 0..5: the argument that the buffer's address replaces */
    const void *data;
    size_t n;
};

struct pv_sys_ptr {
    unsigned buf;    /* index into bufs; n_bufs + k: the memory of ptrs[k], which is in front of this one */
    uint32_t offset; /* where in that buffer the address is stored */
    uint32_t len;    /* bytes of memory; n <= len */
    bool output;     /* the agent returns the memory after the call */
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
 * Invalid slots, indices, offsets (offset + 8 > the buffer's size) and lengths are errors of class usage.  A
 * system call that ends its own process is an error of class guest-died with the way of the end ("the agent
 * process was killed by SIGSEGV in ..."); the next call gets a new process.
 */
int pv_agent_syscall(struct pv_agent *a, const struct pv_syscall *c, struct pv_sysret *r, struct pv_err *err);

struct pv_job {
    uint64_t id; /* of one job in the agent's life, also across reboots and restores */
    uint32_t pid;
};

struct pv_job_state {
    bool running;
    int exit_code; /* -1 while running; 128 + signal when killed */
    struct pv_buf out, err;
};

void pv_job_state_fini(struct pv_job_state *s);
/* Uses argv, env and cwd of x; its timeout (0: 60 s) is for the start. */
int pv_agent_job_start(struct pv_agent *a, const struct pv_exec *x, struct pv_job *job, struct pv_err *err);
/*
 * wait_ns 0: returns the present state at once. An unknown job is an error of class guest, ENOENT; one that
 * ended with the agent's process, by a reboot for example, is one of class usage that says so.
 */
int pv_agent_job_wait(struct pv_agent *a, uint64_t job, int64_t wait_ns, uint64_t max_output,
                      struct pv_job_state *s, struct pv_err *err);
/* timeout_ns 0: 60 s. */
int pv_agent_job_kill(struct pv_agent *a, uint64_t job, int64_t timeout_ns, uint64_t max_output,
                      struct pv_job_state *s, struct pv_err *err);

/* The kernel log as text. */
int pv_agent_dmesg(struct pv_agent *a, int64_t timeout_ns, struct pv_buf *out, struct pv_err *err);

/*
 * Push and pull stream a file or a whole directory tree.  Modes, symbolic links, holes, empty directories and
 * names with any byte are kept; owners, times and hard links are not.  A source path that is a symbolic link
 * is followed.  The destination path is the name of the copy itself (not, as for cp, a directory to copy
 * into): a file onto a directory is an error, a directory onto a directory merges into it.  Push refuses
 * fifos, sockets and devices by name.
 *
 * Pull never writes outside host_path, for any reply of the guest: symbolic links are made, never followed,
 * also existing ones and host_path itself (the caller vouches for its parent directories).  Existing files
 * and links are replaced.  Set-user-ID, set-group-ID and the bits of this process's umask are dropped.  A
 * failed copy is left incomplete, and the error names the incomplete file.
 */
int pv_agent_push(struct pv_agent *a, const char *host_path, const char *guest_path, int64_t timeout_ns,
                  struct pv_err *err);
struct pv_pull {
    int64_t timeout_ns;
    uint64_t max_size, max_entries; /* 0: PV_MAX_TREE, PV_MAX_ENTRIES */
    bool strict;                    /* an entry that cannot be copied is an error */
};

enum { PV_SKIPPED_MAX = 10000 };

/* Entries that pull left out: fifos, sockets, devices, and files that the agent cannot read. */
struct pv_pull_result {
    struct pv_skipped {
        char *path;       /* below the tree's root; any bytes but NUL */
        const char *type; /* "file", "dir", "link", "fifo", "socket", "block", "char", or "?" */
        int errnum;       /* Linux x86-64; 0: it is of a kind that is not copied */
    } * skipped;          /* at most PV_SKIPPED_MAX */
    size_t n_skipped;
    uint64_t skipped_in_all;
    uint64_t entries, size; /* copied; bytes of files, without holes */
};

void pv_pull_result_fini(struct pv_pull_result *r);

/* o NULL: all defaults.  r is filled on success; NULL: not wanted. */
int pv_agent_pull(struct pv_agent *a, const char *guest_path, const char *host_path, const struct pv_pull *o,
                  struct pv_pull_result *r, struct pv_err *err);

#endif
