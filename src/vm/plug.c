/* SPDX-License-Identifier: MIT */
#include "vm/plug.h"

#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "util/err.h"
#include "util/mem.h"
#include "vm/internal.h"
#include "vm/qmp.h"
#include "vm/spec.h"

/* The first slot on the bridge. */
enum { PLUG_ADDRESS = 16, PLUG_NAME = 16 };

/* Frees `arguments`. */
static int plug_qmp(struct pv_vm *vm, const char *command, char *arguments, int64_t deadline,
                    struct pv_err *err)
{
    cleanup_free char *taken = arguments;

    return pv_vm_qmp(vm, command, taken, NULL, deadline, err);
}

static char *sector_args(const struct pv_vm_disk *d)
{
    return d->sector
               ? pv_xasprintf(",\"logical_block_size\":%u,\"physical_block_size\":%u", d->sector, d->sector)
               : pv_xstrdup("");
}

/* The device on the bridge; with SCSI a controller, whose disk comes next. */
static int device_add(struct pv_vm *vm, unsigned slot, const struct pv_vm_disk *d, int64_t deadline,
                      struct pv_err *err)
{
    static const char *const drivers[] = {[PV_VM_BUS_VIRTIO] = "virtio-blk-pci",
                                          [PV_VM_BUS_NVME] = "nvme",
                                          [PV_VM_BUS_SCSI] = "virtio-scsi-pci"};
    static const char *const report = ",\"werror\":\"report\",\"rerror\":\"report\"";
    cleanup_free char *sector = sector_args(d), *disk = NULL;
    bool scsi = d->bus == PV_VM_BUS_SCSI;

    disk = pv_xasprintf(",\"drive\":\"plugged%u\",\"serial\":\"%s\"%s%s", slot, d->name, sector,
                        d->bus == PV_VM_BUS_NVME ? "" : report);
    if (plug_qmp(vm, "device_add",
                 pv_xasprintf("{\"driver\":\"%s\",\"id\":\"plug%u\",\"bus\":\"nics\",\"addr\":\"%x\"%s}",
                              drivers[d->bus], slot, PLUG_ADDRESS + slot, scsi ? "" : disk),
                 deadline, err) < 0)
        return -1;
    if (!scsi)
        return 0;
    return plug_qmp(vm, "device_add",
                    pv_xasprintf("{\"driver\":\"scsi-hd\",\"id\":\"plug%udisk\",\"bus\":\"plug%u.0\"%s}",
                                 slot, slot, disk),
                    deadline, err);
}

int pv_vm_plug_disk(struct pv_vm *vm, unsigned slot, const struct pv_vm_disk *d, int fd, int64_t deadline,
                    struct pv_err *err)
{
    char name[PLUG_NAME];

    snprintf(name, sizeof(name), "plugfd%u", slot);
    vm->plugs_left &= ~(1U << slot);
    if (pv_qmp_pass(vm->qmp, fd, name, deadline, err) < 0 ||
        plug_qmp(vm, "blockdev-add",
                 pv_xasprintf("{\"driver\":\"nbd\",\"node-name\":\"plugged%u\",\"server\":{\"type\":\"fd\","
                              "\"str\":\"%s\"},\"cache\":{\"direct\":true},\"discard\":\"unmap\","
                              "\"read-only\":%s}",
                              slot, name, d->readonly ? "true" : "false"),
                 deadline, err) < 0)
        return -1;
    if (device_add(vm, slot, d, deadline, err) == 0)
        return 0;
    plug_qmp(vm, "blockdev-del", pv_xasprintf("{\"node-name\":\"plugged%u\"}", slot), deadline, NULL);
    return -1;
}

struct plug_wait {
    const struct pv_vm *vm;
    unsigned slot;
};

static bool plug_is_gone(void *arg)
{
    const struct plug_wait *w = arg;

    return (w->vm->plugs_left & 1U << w->slot) || w->vm->state == PV_VM_ENDED;
}

/* After a failed device_del: the guest may have been asked before, or have ejected the device unasked. */
static bool plug_is_there(struct pv_vm *vm, unsigned slot, int64_t deadline)
{
    cleanup_free char *quoted = pv_xasprintf("\"plug%u\"", slot), *list = NULL;

    return pv_vm_qmp(vm, "qom-list", "{\"path\":\"/machine/peripheral\"}", &list, deadline, NULL) < 0 ||
           strstr(list, quoted);
}

int pv_vm_unplug_disk(struct pv_vm *vm, unsigned slot, int64_t deadline, struct pv_err *err)
{
    struct plug_wait wait = {vm, slot};
    int r;

    if (plug_qmp(vm, "device_del", pv_xasprintf("{\"id\":\"plug%u\"}", slot), deadline, NULL) < 0 &&
        !plug_is_there(vm, slot, deadline))
        vm->plugs_left |= 1U << slot;
    r = pv_loop_run(vm->loop, plug_is_gone, &wait, deadline, err);
    if (r < 0)
        return -1;
    if (vm->state == PV_VM_ENDED)
        return pv_err_set(err, PV_E_GUEST_DIED, "the VM has ended: %s", vm->end.reason);
    if (r > 0)
        return pv_err_set(err, PV_E_TIMEOUT, "the guest does not release its disk (is it mounted?)");
    return plug_qmp(vm, "blockdev-del", pv_xasprintf("{\"node-name\":\"plugged%u\"}", slot), deadline, err);
}
