/* SPDX-License-Identifier: MIT */
/* Where the writes to a disk with `snapshot` go: a file without a name.  Private to vm. */
#ifndef PV_VM_OVERLAY_H
#define PV_VM_OVERLAY_H

struct pv_err;
struct pv_vm_disk;

/*
 * A new, empty qcow2 image of the disk's size, in $TMPDIR (else /var/tmp), that was never visible there: QEMU
 * gets the disk as its backing image.  With copy_top it begins as a copy of top_fd instead.  The descriptor,
 * or -1: the disk cannot be read (class usage), no file can be made (class host).
 */
int pv_overlay_open(const struct pv_vm_disk *disk, struct pv_err *err);

#endif
