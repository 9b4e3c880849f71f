/* SPDX-License-Identifier: MIT */
#ifndef PV_VM_VERSION_H
#define PV_VM_VERSION_H

#include <stdbool.h>

struct pv_err;

/*
 * The version of a QEMU program (NULL: qemu-system-x86_64), "7.2.22", by running it with --version; for
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
 * True when QEMU's software emulation of several vCPUs, one host thread each, loses changes of code: before
 * 8.1, a translated block is made without a lock on the page that its code is read from, so a write to that
 * page by another vCPU between the reading and the linking of the block goes unseen.  A kernel patches code
 * through an int3 (static keys, ftrace, kprobes, modules, BPF); the vCPU whose block kept the int3 then takes
 * it forever.  The version (NULL: unknown, true) is the only sign: nothing that QEMU says of itself tells it,
 * and a trial can only ever prove the fault, not its absence.
 */
bool pv_qemu_loses_patches(const char *version);

#endif
