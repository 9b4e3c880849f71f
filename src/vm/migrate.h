/* SPDX-License-Identifier: MIT */
/* Saving and loading a VM's vmstate: devices, vCPUs, QEMU's ROMs; neither its memory nor its disks. */
#ifndef PV_VM_MIGRATE_H
#define PV_VM_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_vm;

/*
 * Stops the vCPUs and saves the vmstate, which pv_vm_load of the same QEMU loads, into *out (a memfd, the
 * caller's).  The VM stays stopped: pv_vm_cont.  *with_memory: this QEMU cannot save its devices alone, and
 * *out has all memory too.  Needs spec->state.savable, else class usage; a device that QEMU cannot save is
 * usage too.  Blocks (runs the loop).
 */
int pv_vm_save(struct pv_vm *vm, int *out, bool *with_memory, int64_t deadline, struct pv_err *err);
/* Loads load_fd into an `incoming` VM, which stays stopped.  Blocks (runs the loop). */
int pv_vm_load(struct pv_vm *vm, int64_t deadline, struct pv_err *err);
/*
 * Lets a stopped VM write to its disks before pv_vm_cont, as it may not after a save or a load.  Blocks (runs the loop).
 */
int pv_vm_activate_disks(struct pv_vm *vm, int64_t deadline, struct pv_err *err);

#endif
