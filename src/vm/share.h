/* SPDX-License-Identifier: MIT */
/*
 * A directory of the host that the guest mounts: by QEMU's own 9p server, or by a virtiofsd (virtiofsd.h).  Such a VM
 * cannot be saved.
 */
#ifndef PV_VM_SHARE_H
#define PV_VM_SHARE_H

#include <stdbool.h>

struct pv_strv;

enum { PV_VM_SHARES_MAX = 2 };

enum pv_share_by { PV_SHARE_9P, PV_SHARE_VIRTIOFS };

/*
 * The guest reads what the user can read below the directory, on other file systems too, and with `writable` writes as
 * the user.
 */
struct pv_vm_share {
    char *dir; /* absolute */
    bool writable;
    enum pv_share_by by;
    int qemu_fd; /* of virtiofs: QEMU inherits it, connected to the daemon; borrowed */
};

/* The mount tag of share `slot`: PV_VM_SHARE_TAG, then the number. */
#define PV_VM_SHARE_TAG "share"

/* "9p", "virtiofs": also the name of the file system in Linux. */
const char *pv_share_by_name(enum pv_share_by by);

/* Adds the options of a VM with this share. */
void pv_vm_share_args(unsigned slot, const struct pv_vm_share *share, struct pv_strv *args);

#endif
