/* SPDX-License-Identifier: MIT */
#include "vm/share.h"

#include "util/mem.h"
#include "vm/spec.h"

const char *pv_share_by_name(enum pv_share_by by)
{
    return by == PV_SHARE_VIRTIOFS ? "virtiofs" : "9p";
}

/* Owners and modes are the host's (security_model); what an ordinary user may not set stays as it is. */
static void add_9p(unsigned slot, const struct pv_vm_share *share, struct pv_strv *args)
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

static void add_virtiofs(unsigned slot, struct pv_strv *args)
{
    pv_strv_add(args, "-chardev");
    pv_strv_take(args, pv_xasprintf("socket,id=" PV_VM_SHARE_TAG "%u,fd=%u", slot, PV_QEMU_FD_SHARE + slot));
    pv_strv_add(args, "-device");
    pv_strv_take(args, pv_xasprintf("vhost-user-fs-pci,queue-size=1024,chardev=" PV_VM_SHARE_TAG
                                    "%u,tag=" PV_VM_SHARE_TAG "%u",
                                    slot, slot));
}

void pv_vm_share_args(unsigned slot, const struct pv_vm_share *share, struct pv_strv *args)
{
    if (share->by == PV_SHARE_VIRTIOFS)
        add_virtiofs(slot, args);
    else
        add_9p(slot, share, args);
}
