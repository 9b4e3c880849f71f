/* SPDX-License-Identifier: MIT */
/*
 * The file of `provium test --save-failed`: the machines of a test file as they were at its first failure.  It is a
 * tar archive (pax) compressed by zstd, with these entries in this order:
 *
 *     failure.json             struct pv_pvsave_failure
 *     N/machine.json           struct pv_pvsave_vm, for each VM; N counts from 1
 *     N/console                its console log, or the end of it
 *     N/state/NAME             the files of its saved state, none if it could not be saved
 *     end                      a file without it is truncated
 *
 * A file that is read may come from anyone: names are matched with these and never become a path, every size has a bound,
 * and content goes to files without names.
 */
#ifndef PV_PVSAVE_PVSAVE_H
#define PV_PVSAVE_PVSAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/mem.h"

struct pv_err;

#define PV_PVSAVE_SUFFIX ".pvsave"

enum {
    PV_PVSAVE_VMS = 64,              /* most VMs */
    PV_PVSAVE_FILES = 64,            /* most files of a saved state */
    PV_PVSAVE_TEXT_MAX = 4 << 20,    /* bytes of a JSON text */
    PV_PVSAVE_CONSOLE_MAX = 8 << 20, /* bytes of a console */
};
#define PV_PVSAVE_DATA_MAX (UINT64_C(64) << 30) /* bytes of all content, without holes */
#define PV_PVSAVE_FILE_MAX (UINT64_C(1) << 40)  /* length of a file of a saved state, with holes */

/* The host where it was saved. */
struct pv_pvsave_host {
    char *kernel; /* uname -r */
    char *qemu;   /* "7.2.22"; "": not known */
    char *cpu;    /* "model name" and "flags" of /proc/cpuinfo */
    char *flags;
};

struct pv_pvsave_failure {
    char *version; /* of Provium */
    char *file;    /* the test file, as it was given */
    char *message;
    char *time; /* "2026-01-31T12:00:00Z" */
    struct pv_pvsave_host host;
    struct pv_strv timeline; /* the last calls, a line each */
};

/* A disk image of the host that a saved machine reads, and whose content is not in the file. */
struct pv_pvsave_disk {
    char *path;
    uint64_t size;
    char *digest; /* BLAKE2b-256 */
};

struct pv_pvsave_file {
    char name[32];
    int fd; /* owned; -1: it was not asked for */
    uint64_t size;
};

struct pv_pvsave_vm {
    char *name;                             /* "vm1" */
    char *state;                            /* "running", "dead" ... */
    char *reason;                           /* why it was not saved; NULL: it was */
    char *profile, *machine, *cpu, *kernel; /* of the profile; machine, cpu: NULL is Provium's default */
    struct pv_strv qemu_args;
    char *json; /* for pv_snapshot_load; NULL: not saved */
    struct pv_pvsave_disk *disks;
    size_t n_disks;
    struct pv_buf console;
    struct pv_pvsave_file files[PV_PVSAVE_FILES];
    size_t n_files;
};

struct pv_pvsave {
    struct pv_pvsave_failure failure;
    struct pv_pvsave_vm *vms;
    size_t n_vms;
};

void pv_pvsave_failure_fini(struct pv_pvsave_failure *f);
void pv_pvsave_vm_fini(struct pv_pvsave_vm *vm);
/* The VM's file of that name ("memory", "disk0.image"), borrowed; NULL: it has none. */
const struct pv_pvsave_file *pv_pvsave_vm_file(const struct pv_pvsave_vm *vm, const char *name);
void pv_pvsave_fini(struct pv_pvsave *s);

/* JSON texts; the caller frees.  Bytes that are not UTF-8 become '?'. */
char *pv_pvsave_failure_encode(const struct pv_pvsave_failure *f);
char *pv_pvsave_vm_encode(const struct pv_pvsave_vm *vm);
/* Class usage: the text is not one of these.  The caller calls the fini function in every case. */
int pv_pvsave_failure_decode(const char *text, size_t n, struct pv_pvsave_failure *f, struct pv_err *err);
int pv_pvsave_vm_decode(const char *text, size_t n, struct pv_pvsave_vm *vm, struct pv_err *err);

/* ---- writing ---- */

struct pv_pvsave_writer;

/*
 * Begins DIR/NAME.pvsave; DIR is made if need be.  The file gets its name in pv_pvsave_commit: until then nothing
 * of it can be seen but DIR/.NAME.PID, on a file system without O_TMPFILE.  Writing fails at `deadline` (pv_now)
 * and beyond `max` bytes.  Blocks.  NULL: class host.
 */
struct pv_pvsave_writer *pv_pvsave_begin(const char *dir, const char *name, uint64_t max, int64_t deadline,
                                         struct pv_err *err);
int pv_pvsave_add_text(struct pv_pvsave_writer *w, const char *entry, const char *text, size_t n,
                       struct pv_err *err);
/* The content of a file without its holes. */
int pv_pvsave_add_file(struct pv_pvsave_writer *w, const char *entry, int fd, struct pv_err *err);
/* Replaces a file of that name.  The path; the caller frees.  NULL: nothing was left. */
char *pv_pvsave_commit(struct pv_pvsave_writer *w, struct pv_err *err);
void pv_pvsave_writer_free(struct pv_pvsave_writer *w); /* NULL is fine */

/* ---- reading ---- */

/*
 * Reads a whole file from fd.  vm: the name of the VM whose saved state is wanted; NULL: none is; "": that of the
 * first one that was saved.  Blocks.  -1: class usage (it is none, truncated, damaged, too large; there is no such
 * VM), host.  The caller calls pv_pvsave_fini in every case.
 */
int pv_pvsave_read(int fd, const char *vm, struct pv_pvsave *s, struct pv_err *err);

#endif
