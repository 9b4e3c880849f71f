/* SPDX-License-Identifier: MIT */
/* A directory of the host that the guest mounts, by QEMU's own 9p server.  Such a VM cannot be saved. */
#ifndef PV_VM_SHARE_H
#define PV_VM_SHARE_H

#include <stdbool.h>

struct pv_strv;

enum { PV_VM_SHARES_MAX = 2 };

/*
 * The guest reads what the user can read below the directory, on other file systems too, and with `writable` writes as
 * the user.
 */
struct pv_vm_share {
    char *dir; /* absolute */
    bool writable;
};

/* The mount tag of share `slot`: PV_VM_SHARE_TAG, then the number. */
#define PV_VM_SHARE_TAG "share"

/* Adds the options of a VM with this share. */
void pv_vm_share_args(unsigned slot, const struct pv_vm_share *share, struct pv_strv *args);

#endif
