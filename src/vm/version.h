/* SPDX-License-Identifier: MIT */
#ifndef PV_VM_VERSION_H
#define PV_VM_VERSION_H

#include <stdbool.h>

struct pv_err;

#define PV_QEMU_PROGRAM "qemu-system-x86_64"

/*
 * The QEMU program, the only place that looks for it: `key` (a profile's key qemu, NULL: without it), else the
 * environment variable PROVIUM_QEMU, else qemu-system-x86_64 in PATH, else /usr/libexec/qemu-kvm.  An absolute
 * path, which the caller frees.  NULL: class usage when the key or the variable names no program, missing
 * when there is none.
 */
char *pv_qemu_find(const char *key, struct pv_err *err);

/*
 * The first 16 KiB that a program prints on standard output; the caller frees.  Blocks for at most 10 s.  NULL: classes
 * missing, timeout, host.
 */
char *pv_program_output(const char *program, char *const *argv, struct pv_err *err);

/*
 * True unless this QEMU refuses -sandbox, as one built without seccomp does.  Runs it, for at most 10 s, when its
 * file does not tell; asked once per process and path.
 */
bool pv_qemu_confines(const char *path);

/*
 * The version of a QEMU program (NULL: that of pv_qemu_find), "7.2.22", by running it with --version; for
 * doctor.  Blocks for at most 10 s.  The caller frees.  Classes missing, timeout, host.
 */
char *pv_qemu_version(const char *qemu, struct pv_err *err);

/* The same for a path, asked once per process and path; NULL: it cannot be told.  Borrowed. */
const char *pv_qemu_known_version(const char *path);

/*
 * True when this QEMU can map a file privately for a guest that writes, without opening the file for writing
 * (readonly=on,rom=off of a memory-backend-file, since 8.2).  QEMU itself is asked, once per program and cache.
 */
bool pv_qemu_maps_read_only(const char *path);

/*
 * True when QEMU's software emulation of cmpxchg16b leaves garbage in EFLAGS, seen by the next pushf: before 8.0, its
 * helper computes the flags of an older instruction.  The direction flag and NT were seen set.  NULL: unknown, true.
 */
bool pv_qemu_garbles_flags(const char *version);

#endif
