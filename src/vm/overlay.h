/* SPDX-License-Identifier: MIT */
/* The overlay of a snapshot disk: a qcow2 file without a name that takes the guest's writes. */
#ifndef PV_VM_OVERLAY_H
#define PV_VM_OVERLAY_H

#include <stddef.h>

struct pv_err;
struct pv_vm;
struct pv_vm_disk;

/* The overlay of disk i; -1: it has none.  Borrowed, until pv_vm_kill. */
int pv_vm_overlay(const struct pv_vm *vm, size_t i);

/*
 * Private to vm.  Opens a new qcow2 file of the disk's size in $TMPDIR (else /var/tmp): empty, or with
 * copy_top a copy of top_fd.  It names no backing image: the command line does.  The descriptor is the
 * caller's; -1: the disk cannot be read (class usage) or no file can be made (class host).
 */
int pv_overlay_open(const struct pv_vm_disk *disk, struct pv_err *err);

#endif
