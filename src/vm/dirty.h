/* SPDX-License-Identifier: MIT */
/* The dirty pages of a VM with PRIVATE memory: those that differ from the memory file. */
#ifndef PV_VM_DIRTY_H
#define PV_VM_DIRTY_H

#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_vm;

struct pv_dirty {
    struct pv_dirty_run {
        uint64_t first, n; /* pages of 4096 bytes */
    } * runs;
    size_t n_runs;
    uint64_t n_pages;
    int fd; /* memfd: the pages of all runs, one behind the other; -1: none */
};

/*
 * Reads QEMU's memory through /proc: QEMU must be a child of this process (Yama) and stopped.
 * Zero-initialised *out.  Class host.
 */
int pv_vm_read_dirty(const struct pv_vm *vm, struct pv_dirty *out, struct pv_err *err);
/* Writes the pages into an `incoming` VM whose monitor has replied once, before pv_vm_load. */
int pv_vm_write_dirty(const struct pv_vm *vm, const struct pv_dirty *dirty, struct pv_err *err);
/* Writes the pages into a memory file. */
int pv_dirty_apply(const struct pv_dirty *dirty, int memory_fd, struct pv_err *err);
void pv_dirty_fini(struct pv_dirty *dirty);

#endif
