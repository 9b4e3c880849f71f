/* SPDX-License-Identifier: MIT */
/*
 * What a VM keeps for being saved; private to vm (vm.c owns it; spawn.c, migrate.c, dirty.c and hotplug.c use
 * it).
 */
#ifndef PV_VM_INTERNAL_H
#define PV_VM_INTERNAL_H

#include "util/mem.h"
#include "vm/vm.h"

/* Of the port for a device that can not be saved. */
enum pv_vm_slot {
    PV_SLOT_EMPTY,
    PV_SLOT_FULL,
    PV_SLOT_LEAVING /* the guest was asked to let go of it */
};

struct pv_saving {
    int fd;                        /* memfd that QEMU writes its state to; -1: not savable */
    int load_fd;                   /* what it was loaded from; -1: it was booted */
    uint64_t memory;               /* bytes of the memory file, 0: QEMU's own memory */
    struct pv_buf head;            /* of its stream, up to the devices; empty until the first save */
    char migration[16];            /* last status of a migration event */
    int overlays[PV_VM_DISKS_MAX]; /* by disk; -1: none */
    enum pv_vm_slot slot;
    unsigned n_plugged; /* so far: the last one's number */
};

/* ---- spawn.c ---- */

/* QEMU's ends of what tells of it; the caller's to close. */
struct pv_vm_ends {
    int errors, qmp, console;
};

/* Starts QEMU and keeps in *s what a save will need. -1 with *err. */
pid_t pv_vm_spawn(const struct pv_vm_spec *spec, struct pv_saving *s, const struct pv_vm_ends *ends,
                  int *pidfd, struct pv_err *err);

/* ---- hotplug.c ---- */

/* QEMU has removed the device of that id (NULL: of none). */
void pv_vm_device_gone(struct pv_saving *s, const char *id);

/* Where the devices begin in QEMU's stream; 0: it is of no known shape. migrate.c tells the format. */
size_t pv_vm_state_head(const void *data, size_t n);

struct pv_saving *pv_vm_saving(struct pv_vm *vm);
const struct pv_saving *pv_vm_csaving(const struct pv_vm *vm);
/* Gives QEMU a descriptor under a name. */
int pv_vm_pass(struct pv_vm *vm, int fd, const char *name, int64_t deadline, struct pv_err *err);
struct pv_loop *pv_vm_loop(const struct pv_vm *vm);

#endif
