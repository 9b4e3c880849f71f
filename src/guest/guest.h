/* SPDX-License-Identifier: MIT */
/*
 * A guest: its identity (name, profile), its life and its end.  Boot, restore and shutdown block (run the
 * loop) until they are done, the deadline passes or the guest ends, whichever is first.  Requests to its
 * agent are in agent.h.
 */
#ifndef PV_GUEST_GUEST_H
#define PV_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "guest/env.h"
#include "guest/nic.h"
#include "util/mem.h"
#include "vm/spec.h"

struct pv_agent;
struct pv_disk_image;
struct pv_err;
struct pv_guest;

/* A file of the host, or a disk of `size` bytes, or a copy of `image`. */
struct pv_guest_disk {
    char *name; /* at most PV_DISK_NAME bytes; NULL: "vda", "vdb"... by its position */
    enum pv_vm_bus bus;
    unsigned sector; /* 512, 4096; 0: the default */
    uint64_t size;
    struct pv_disk_image *image; /* a reference; NULL: none */
    bool faults;                 /* of a file: it is served by this process, see disks.h */
    char *path;                  /* NULL: none */
    char *format;                /* "raw", "qcow2" */
    bool readonly;
    bool snapshot;
    bool backing; /* a qcow2 image may have a backing file */
};

/* As the mode of a file to inject: the host file's. */
#define PV_GUEST_FILE_KEEP UINT32_MAX

/* A file to inject; see struct pv_suppl_file.  The strings and the content are by malloc. */
struct pv_guest_file {
    char *guest_path;
    char *host_path; /* NULL: a file of content */
    char *content;
    size_t content_n;
    bool has_owner;
    uint32_t mode, uid, gid;
};

/* No kernel boots in less memory, bytes. */
#define PV_GUEST_MIN_MEMORY (UINT64_C(32) << 20)

/* Of a boot option that is a key of the profile, too: without it the profile decides. */
enum pv_choice { PV_CHOICE_PROFILE, PV_CHOICE_YES, PV_CHOICE_NO };

static inline bool pv_choose(enum pv_choice choice, bool profile)
{
    return choice == PV_CHOICE_PROFILE ? profile : choice == PV_CHOICE_YES;
}

/* By what the guest reaches a directory of the host; by default what is there decides, see shares.h. */
enum pv_guest_by { PV_BY_DEFAULT, PV_BY_VIRTIOFS, PV_BY_9P };

/*
 * A directory of the host as the guest's root; zero-initialised: none.  Its init is then guest init, and the rest
 * is as in the built-in userland.  Strings by malloc, absolute.
 */
struct pv_guest_root {
    char *dir;      /* the guest reads it, and writes to an overlay in RAM */
    char *writable; /* dir, or a directory below: writes in it go to the host; NULL: none do */
    enum pv_guest_by by;
};

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
    struct pv_guest_root root; /* in place of the profile's, which has neither initrd nor rootfs then */
    struct pv_guest_nic *nics; /* by malloc */
    size_t n_nics;
    /*
     * A vsock device for the guest's own use in a VM that can be saved, and in each VM that is resumed from
     * it, with a CID of its own.  Of no meaning on the transport vsock, where every VM has one.
     */
    bool vsock;
    bool gdb;    /* the kernel starts when a debugger says so (guest/gdb.h), without a limit of time */
    bool follow; /* a reboot by the guest starts it again, instead of being its death (guest/life.h) */
    enum pv_choice cached;      /* it may be a boot of the past (testfile/cached.h) */
    enum pv_choice wait_system; /* it ends when systemd is up (guest/systemd.h) */
    bool keep_disks;            /* treats every disk as a `snapshot` one, so that the machine can be saved */
};

void pv_boot_opts_fini(struct pv_boot_opts *o);
/* The options as lines of text, equal for boots that do the same; of files and disks the paths.  Added to out. */
void pv_boot_opts_describe(const struct pv_boot_opts *o, struct pv_buf *out);

/* `env` and `profile` must outlive the guest. Starts nothing. */
struct pv_guest *pv_guest_new(const struct pv_guest_env *env, const struct pv_profile *profile);
/* The same with a name of the caller's, of which no other VM that has not ended should have the same. */
struct pv_guest *pv_guest_new_as(const struct pv_guest_env *env, const struct pv_profile *profile,
                                 const char *name);
/*
 * What a VM of this profile would run with here, as lines of text: accelerator, QEMU, CPU, and the profile's
 * own values.  Not the contents of files.  Added to out.
 */
void pv_guest_describe(const struct pv_guest_host *host, const struct pv_profile *p, struct pv_buf *out);

/* Adds what of the host's CPU decides about the guest's with KVM: the first CPU of a text like /proc/cpuinfo (proc(5)). */
void pv_guest_describe_cpu(const char *cpuinfo, struct pv_buf *out);
/* The profile's kernel as an ELF file, a bzImage's from the cache; the caller frees it.  NULL: it does not unpack. */
char *pv_guest_kernel_elf(const struct pv_profile *p);
/*
 * By what the running guest reaches the host's directory that is its root, and why not by virtiofs: "virtiofs", "9p: this
 * kernel has no virtiofs".  NULL: it has none.  Borrowed until its end.
 */
const char *pv_guest_shared_by(const struct pv_guest *g);
/* The QEMU program of a profile (pv_qemu_find); the caller frees it.  NULL: there is none. */
char *pv_guest_qemu(const struct pv_profile *p);
/* The version of that program, "" when it cannot be told; the caller frees. */
char *pv_guest_qemu_version(const struct pv_profile *p);
/* True when a run of it has ended, whose machine pv_guest_boot without options starts again. */
bool pv_guest_was_booted(const struct pv_guest *g);
/* Kills what runs, frees. NULL is fine.  Its workers must have been freed. */
void pv_guest_free(struct pv_guest *g);
/* Its own agent process: for requests, in any state of the guest. */
struct pv_agent *pv_guest_agent(struct pv_guest *g);

enum pv_guest_state pv_guest_state(const struct pv_guest *g);
const struct pv_profile *pv_guest_profile(const struct pv_guest *g);
const char *pv_guest_name(const struct pv_guest *g);     /* "vm1 (minimal)" */
unsigned pv_guest_number(const struct pv_guest *g);      /* of its own in this process, from 1; pv_err.vm */
const char *pv_guest_log_path(const struct pv_guest *g); /* NULL before boot or without log_dir */
/*
 * Reads the console as far as it is written: findings, unfinished reports too, are observed. Does not wait.
 */
void pv_guest_settle_findings(struct pv_guest *g);
/*
 * Blocks (runs the loop), for a second and a few at most, until the kernel has printed on its console what it has
 * reported so far.  Nothing while the guest has no open session with its agent.
 */
void pv_guest_sync_console(struct pv_guest *g);
/*
 * Adds the kernel's log, as the agent reads it, to `out`.  Blocks (runs the loop), 10 s at most.  -1 with *err: the guest
 * has ended, or its agent did not reply.
 */
int pv_guest_kernel_log(struct pv_guest *g, struct pv_buf *out, struct pv_err *err);
/*
 * Whether that log has a message that begins as `first`, which stood on the console without a time stamp: 1; 0: a program
 * printed it.  after_us: the last stamp on the console before it.  -1 with *err: the log has lost its beginning.
 * Bytes that the console shows in another way than the log count as equal.
 */
int pv_kernel_log_has(const char *log, size_t n, const char *first, uint64_t after_us, struct pv_err *err);
/* Ends QEMU and reads the rest of its console; memory and CPUs stay acquired for pv_guest_restore, which follows. */
void pv_guest_halt(struct pv_guest *g);
/* True when it has ended because its kernel panicked. */
bool pv_guest_panicked(const struct pv_guest *g);
/* Panic hint: its console has a panic line, and it has shown no sign of life since. */
bool pv_guest_panic_suspected(const struct pv_guest *g);
/*
 * Blocks (runs the loop) while there is a panic hint and its guest runs, until the deadline: within 6 s the guest
 * shows a sign of life, or is dead because it did not.
 */
void pv_guest_decide_panic(struct pv_guest *g, int64_t deadline);
/* Ends the guest whose machine has ended by itself; else the next call does. Does not block. */
void pv_guest_notice_end(struct pv_guest *g);
/* True for a VM of the standby pool, which no test has got. */
bool pv_guest_is_standby(const struct pv_guest *g);
/* Last console lines, harmless for a terminal; nothing before boot. */
void pv_guest_console_tail(const struct pv_guest *g, unsigned lines, struct pv_buf *out);

/*
 * All options are checked before QEMU is started.  o NULL: as the last time, if there was one, else the defaults.
 * Served disks that the machine has again keep their content.  Waits for memory and CPUs first
 * (env->pool.acquire), for which the timeout does not count.
 */
int pv_guest_boot(struct pv_guest *g, const struct pv_boot_opts *o, struct pv_err *err);
/* Asks the agent, waits timeout_ns (0: 10 s), kills. Not running any more: nothing, 0. Not booted: class
 * usage. */
int pv_guest_shutdown(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err);
/* Ends it at once. Nothing unless it boots or runs. */
void pv_guest_kill(struct pv_guest *g);

#endif
