/* SPDX-License-Identifier: MIT */
/*
 * A guest releases a device by itself: device_del only asks, and the guest can eject a device unasked, or
 * never.  QEMU sends DEVICE_DELETED for a device that was asked for when it is gone.  Chardev and descriptor of
 * a deleted device may stay for some moments, so each device gets names of its own.
 */
#include "vm/hotplug.h"

#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "util/err.h"
#include "vm/internal.h"
#include "vm/qmp.h"

enum { ID_SIZE = 24 };

/* The name of the last device, its chardev and its descriptor. */
static void device_id(const struct pv_vm_hotplug *h, char id[static ID_SIZE])
{
    snprintf(id, ID_SIZE, "vsock%u", h->n_plugged);
}

void pv_vm_hotplug_deleted(struct pv_vm *vm, const char *id)
{
    char last[ID_SIZE];

    device_id(&vm->hotplug, last);
    if (id && !strcmp(id, last))
        vm->hotplug.port = PV_PORT_EMPTY;
}

/* Frees `arguments`. */
static int qmp_take_args(struct pv_vm *vm, const char *command, char *arguments, int64_t deadline,
                         struct pv_err *err)
{
    cleanup_free char *taken = arguments;

    return pv_vm_qmp(vm, command, taken, NULL, deadline, err);
}

int pv_vm_hotplug_vsock(struct pv_vm *vm, int fd, int64_t deadline, struct pv_err *err)
{
    struct pv_vm_hotplug *h = &vm->hotplug;
    char id[ID_SIZE];

    if (h->port != PV_PORT_EMPTY)
        return pv_err_set(err, PV_E_HOST, "cannot hotplug a vsock device: the last one is still there");
    h->n_plugged++;
    device_id(h, id);
    if (pv_qmp_pass(vm->qmp, fd, id, deadline, err) < 0 ||
        qmp_take_args(
            vm, "chardev-add",
            pv_xasprintf("{\"id\":\"%s\",\"backend\":{\"type\":\"socket\",\"data\":{\"server\":false,"
                         "\"addr\":{\"type\":\"fd\",\"data\":{\"str\":\"%s\"}}}}}",
                         id, id),
            deadline, err) < 0)
        return -1;
    h->port = PV_PORT_FULL;
    if (qmp_take_args(vm, "device_add",
                      pv_xasprintf("{\"driver\":\"vhost-user-vsock-pci\",\"id\":\"%s\",\"chardev\":\"%s\","
                                   "\"bus\":\"" PV_VM_HOTPLUG_PORT "\"}",
                                   id, id),
                      deadline, err) == 0)
        return 0;
    h->port = PV_PORT_EMPTY;
    return -1;
}

/* After a failed device_del: QEMU sends no event for a device that the guest has ejected unasked. */
static bool device_is_ejected(struct pv_vm *vm, const char *id, int64_t deadline)
{
    cleanup_free char *quoted = pv_xasprintf("\"%s\"", id), *list = NULL;

    if (pv_vm_qmp(vm, "qom-list", "{\"path\":\"/machine/peripheral\"}", &list, deadline, NULL) == 0 &&
        !strstr(list, quoted))
        vm->hotplug.port = PV_PORT_EMPTY;
    return vm->hotplug.port == PV_PORT_EMPTY;
}

static bool port_is_settled(void *arg)
{
    const struct pv_vm *vm = arg;

    return vm->hotplug.port == PV_PORT_EMPTY || vm->state == PV_VM_ENDED;
}

int pv_vm_unplug_vsock(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    struct pv_vm_hotplug *h = &vm->hotplug;
    char id[ID_SIZE];
    int r;

    if (!h->n_plugged)
        return 0;
    device_id(h, id);
    if (h->port == PV_PORT_FULL) {
        h->port = PV_PORT_RELEASING;
        r = qmp_take_args(vm, "device_del", pv_xasprintf("{\"id\":\"%s\"}", id), deadline, err);
        if (r < 0 && !device_is_ejected(vm, id, deadline)) {
            h->port = PV_PORT_FULL;
            return -1;
        }
    }
    r = pv_loop_run(vm->loop, port_is_settled, vm, deadline, err);
    if (r < 0)
        return -1;
    if (vm->state == PV_VM_ENDED)
        return pv_err_set(err, PV_E_GUEST_DIED, "the VM has ended: %s", vm->end.reason);
    if (r > 0)
        return pv_err_set(err, PV_E_TIMEOUT, "the guest does not let go of its vsock device");
    /* A chardev that is still in use is not removed and stays: it is small, and its peer is closed. */
    qmp_take_args(vm, "chardev-remove", pv_xasprintf("{\"id\":\"%s\"}", id), deadline, NULL);
    return 0;
}
