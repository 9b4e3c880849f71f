/* SPDX-License-Identifier: MIT */
#include "vm/nic.h"

#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "util/err.h"
#include "util/mem.h"
#include "vm/internal.h"
#include "vm/qmp.h"
#include "vm/spec.h"

enum { MAC_TEXT = 18 };

static void mac_format(const uint8_t mac[static PV_MAC_SIZE], char out[static MAC_TEXT])
{
    snprintf(out, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

/*
 * The socket carries whole frames without offloads: what the guest sends has its checksums.
 *
 * guest_announce: the agent announces addresses (agent/verbs/nic.c).  With it QEMU would have a resumed guest do so for a
 * second, and a kernel of Linux 6.11 or later in which a link goes down meanwhile locks up: virtnet_close holds the lock of
 * rtnetlink and waits for virtnet_config_changed_work, which wants that lock.
 */
void pv_vm_nic_args(unsigned slot, const struct pv_vm_nic *nic, struct pv_strv *args)
{
    char mac[MAC_TEXT];

    mac_format(nic->mac, mac);
    pv_strv_add(args, "-netdev");
    pv_strv_take(args,
                 pv_xasprintf("dgram,id=net%u,local.type=fd,local.str=%u", slot, PV_QEMU_FD_NIC + slot));
    pv_strv_add(args, "-device");
    pv_strv_take(args, pv_xasprintf("virtio-net-pci,id=nic%u,netdev=net%u,mac=%s,host_mtu=%u,csum=off,"
                                    "guest_csum=off,gso=off,guest_announce=off,romfile=,bus=nics,addr=%u",
                                    slot, slot, mac, nic->mtu, slot + 1));
}

void pv_vm_nic_deleted(struct pv_vm *vm, const char *id)
{
    unsigned slot;

    if (id && sscanf(id, "nic%u", &slot) == 1 && slot < PV_VM_NICS_MAX)
        vm->nics_left |= 1U << slot;
}

/* Frees `arguments`. */
static int qmp_take(struct pv_vm *vm, const char *command, char *arguments, int64_t deadline,
                    struct pv_err *err)
{
    cleanup_free char *taken = arguments;

    return pv_vm_qmp(vm, command, taken, NULL, deadline, err);
}

int pv_vm_plug_nic(struct pv_vm *vm, unsigned slot, const struct pv_vm_nic *nic, int fd, int64_t deadline,
                   struct pv_err *err)
{
    char mac[MAC_TEXT], name[16];

    mac_format(nic->mac, mac);
    snprintf(name, sizeof(name), "net%u", slot);
    vm->nics_left &= ~(1U << slot);
    if (pv_qmp_pass(vm->qmp, fd, name, deadline, err) < 0 ||
        qmp_take(vm, "netdev_add",
                 pv_xasprintf("{\"type\":\"dgram\",\"id\":\"%s\",\"local\":{\"type\":\"fd\",\"str\":\"%s\"}}",
                              name, name),
                 deadline, err) < 0)
        return -1;
    if (qmp_take(
            vm, "device_add",
            pv_xasprintf("{\"driver\":\"virtio-net-pci\",\"id\":\"nic%u\",\"netdev\":\"%s\",\"mac\":\"%s\","
                         "\"host_mtu\":%u,\"csum\":false,\"guest_csum\":false,\"gso\":false,"
                         "\"guest_announce\":false,\"romfile\":\"\",\"bus\":\"nics\",\"addr\":\"%x\"}",
                         slot, name, mac, nic->mtu, slot + 1),
            deadline, err) == 0)
        return 0;
    qmp_take(vm, "netdev_del", pv_xasprintf("{\"id\":\"%s\"}", name), deadline, NULL);
    return -1;
}

struct nic_wait {
    const struct pv_vm *vm;
    unsigned slot;
};

static bool nic_is_gone(void *arg)
{
    const struct nic_wait *w = arg;

    return (w->vm->nics_left & 1U << w->slot) || w->vm->state == PV_VM_ENDED;
}

/* After a failed device_del: the guest may have been asked before, or have ejected the device unasked. */
static bool nic_is_there(struct pv_vm *vm, unsigned slot, int64_t deadline)
{
    cleanup_free char *quoted = pv_xasprintf("\"nic%u\"", slot), *list = NULL;

    return pv_vm_qmp(vm, "qom-list", "{\"path\":\"/machine/peripheral\"}", &list, deadline, NULL) < 0 ||
           strstr(list, quoted);
}

int pv_vm_unplug_nic(struct pv_vm *vm, unsigned slot, int64_t deadline, struct pv_err *err)
{
    struct nic_wait wait = {vm, slot};
    struct pv_err why = PV_ERR_INIT;
    int r = 0;

    if (qmp_take(vm, "device_del", pv_xasprintf("{\"id\":\"nic%u\"}", slot), deadline, &why) < 0 &&
        !nic_is_there(vm, slot, deadline))
        vm->nics_left |= 1U << slot;
    r = pv_loop_run(vm->loop, nic_is_gone, &wait, deadline, err);
    if (r < 0)
        return -1;
    if (vm->state == PV_VM_ENDED)
        return pv_err_set(err, PV_E_GUEST_DIED, "the VM has ended: %s", vm->end.reason);
    if (r > 0)
        return pv_err_set(err, PV_E_TIMEOUT, "the guest does not release its NIC");
    return qmp_take(vm, "netdev_del", pv_xasprintf("{\"id\":\"net%u\"}", slot), deadline, err);
}

int pv_vm_set_link(struct pv_vm *vm, unsigned slot, bool up, int64_t deadline, struct pv_err *err)
{
    return qmp_take(vm, "set_link",
                    pv_xasprintf("{\"name\":\"nic%u\",\"up\":%s}", slot, up ? "true" : "false"), deadline,
                    err);
}
