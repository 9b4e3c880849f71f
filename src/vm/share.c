/* SPDX-License-Identifier: MIT */
#include "vm/share.h"

#include "util/mem.h"
#include "vm/spec.h"

/* Owners and modes are the host's (security_model); what an ordinary user may not set stays as it is. */
void pv_vm_share_args(unsigned slot, const struct pv_vm_share *share, struct pv_strv *args)
{
    struct pv_buf b = {0};

    pv_buf_addf(&b,
                "local,id=" PV_VM_SHARE_TAG "%u,security_model=none,multidevs=remap,readonly=%s,path=", slot,
                share->writable ? "off" : "on");
    pv_vm_add_value(&b, share->dir);
    pv_strv_add(args, "-fsdev");
    pv_strv_take(args, b.data);
    pv_strv_add(args, "-device");
    pv_strv_take(args,
                 pv_xasprintf("virtio-9p-pci,fsdev=" PV_VM_SHARE_TAG "%u,mount_tag=" PV_VM_SHARE_TAG "%u",
                              slot, slot));
}
