/* SPDX-License-Identifier: MIT */
/*
 * Disks that are hotplugged, behind the bridge of nic.h, which takes devices while the machine runs.  Each has a
 * slot of its own there, behind those of the NICs.
 */
#ifndef PV_VM_PLUG_H
#define PV_VM_PLUG_H

#include <stdint.h>

struct pv_err;
struct pv_vm;
struct pv_vm_disk;

enum { PV_VM_PLUGS_MAX = 16 };

/*
 * Hotplugs a served disk into an empty slot of a VM that runs; fd, QEMU's end of the NBD connection, stays the
 * caller's.  Returns when QEMU has made the device.  Blocks (runs the loop).
 */
int pv_vm_plug_disk(struct pv_vm *vm, unsigned slot, const struct pv_vm_disk *d, int fd, int64_t deadline,
                    struct pv_err *err);
/*
 * Asks the guest, which must run, to release the device, and waits until it is gone.  Class timeout when the guest
 * does not release it; may be called again then.  Blocks (runs the loop).
 */
int pv_vm_unplug_disk(struct pv_vm *vm, unsigned slot, int64_t deadline, struct pv_err *err);

#endif
