/* SPDX-License-Identifier: MIT */
/*
 * Cores of a guest, for `crash`: QEMU's dump-guest-memory, kdump-zlib where it offers that, else ELF.  QEMU writes into a
 * pipe that it inherited (spec.h, `core`), and this process from that into a file, so that a limit of size, a deadline
 * and a full disk are noticed here.  All of it happens in the loop; no call waits.
 *
 * A VM whose kernel has panicked, or that stands still, ends when its core has been written.  One that runs on stands
 * still meanwhile.  A run of a VM has one core at most.
 */
#ifndef PV_VM_CORE_H
#define PV_VM_CORE_H

#include <stdbool.h>
#include <stdint.h>

struct pv_vm;

struct pv_vm_core_ops {
    /* A core is due.  A descriptor of an empty file, which the VM takes; -1: no core. */
    int (*open)(void *arg);
    /* Called once for each descriptor of `open`.  failure: why the file has no core; NULL: it has. */
    void (*done)(const char *format, const char *failure, void *arg);
};

/* Called from the loop, `done` from pv_vm_kill, too; neither may call into the VM.  ops NULL: none. */
void pv_vm_on_core(struct pv_vm *vm, const struct pv_vm_core_ops *ops, void *arg);
/* Asks for a core of a VM that runs on.  Only sets a timer, so callbacks may call it. */
void pv_vm_core(struct pv_vm *vm);
/* When the core began that is due or being written (pv_now()); 0: none is. */
int64_t pv_vm_core_began(const struct pv_vm *vm);

#endif
