/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user device can not be saved, so a machine that is to be saved has none: it has an empty port, into
 * which one is plugged while it runs, or stands still between a load and `cont`; and which is emptied in
 * front of a save.
 *
 * A guest lets go of a device by its own doing (device_del only asks), so it can do that unasked, or never.
 * QEMU says DEVICE_DELETED when the device is out, if it was asked for.  What the device was connected to may
 * be held for some moments longer; the next one gets names of its own.
 */
#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "util/err.h"
#include "vm/internal.h"

enum { ID_SIZE = 24 };

/* The name of the device, its chardev and its descriptor. */
static void id_of(const struct pv_saving *s, char id[static ID_SIZE])
{
    snprintf(id, ID_SIZE, "vsock%u", s->n_plugged);
}

void pv_vm_device_gone(struct pv_saving *s, const char *id)
{
    char ours[ID_SIZE];

    id_of(s, ours);
    if (id && !strcmp(id, ours))
        s->slot = PV_SLOT_EMPTY;
}

static int command(struct pv_vm *vm, const char *name, char *arguments, int64_t deadline, struct pv_err *err)
{
    cleanup_free char *taken = arguments;

    return pv_vm_qmp(vm, name, taken, NULL, deadline, err);
}

int pv_vm_plug_vsock(struct pv_vm *vm, int fd, int64_t deadline, struct pv_err *err)
{
    struct pv_saving *s = pv_vm_saving(vm);
    char id[ID_SIZE];

    if (s->slot != PV_SLOT_EMPTY)
        return pv_err_set(err, PV_E_HOST, "cannot plug in a vsock device: the last one is still there");
    s->n_plugged++;
    id_of(s, id);
    if (pv_vm_pass(vm, fd, id, deadline, err) < 0 ||
        command(vm, "chardev-add",
                pv_xasprintf("{\"id\":\"%s\",\"backend\":{\"type\":\"socket\",\"data\":{\"server\":false,"
                             "\"addr\":{\"type\":\"fd\",\"data\":{\"str\":\"%s\"}}}}}",
                             id, id),
                deadline, err) < 0)
        return -1;
    s->slot = PV_SLOT_FULL;
    if (command(vm, "device_add",
                pv_xasprintf("{\"driver\":\"vhost-user-vsock-pci\",\"id\":\"%s\",\"chardev\":\"%s\","
                             "\"bus\":\"" PV_VM_PORT "\"}",
                             id, id),
                deadline, err) == 0)
        return 0;
    s->slot = PV_SLOT_EMPTY;
    return -1;
}

/* Of a device that could not be deleted: the guest has thrown it out, of which QEMU says nothing unasked. */
static bool went(struct pv_vm *vm, const char *id, int64_t deadline)
{
    cleanup_free char *quoted = pv_xasprintf("\"%s\"", id), *list = NULL;

    if (pv_vm_qmp(vm, "qom-list", "{\"path\":\"/machine/peripheral\"}", &list, deadline, NULL) == 0 &&
        !strstr(list, quoted))
        pv_vm_saving(vm)->slot = PV_SLOT_EMPTY;
    return pv_vm_saving(vm)->slot == PV_SLOT_EMPTY;
}

static bool is_out(void *arg)
{
    return pv_vm_csaving(arg)->slot == PV_SLOT_EMPTY || pv_vm_state(arg) == PV_VM_ENDED;
}

int pv_vm_unplug_vsock(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    struct pv_saving *s = pv_vm_saving(vm);
    char id[ID_SIZE];
    int r;

    if (!s->n_plugged)
        return 0;
    id_of(s, id);
    if (s->slot == PV_SLOT_FULL) {
        s->slot = PV_SLOT_LEAVING;
        r = command(vm, "device_del", pv_xasprintf("{\"id\":\"%s\"}", id), deadline, err);
        if (r < 0 && !went(vm, id, deadline)) {
            s->slot = PV_SLOT_FULL;
            return -1;
        }
    }
    r = pv_loop_run(pv_vm_loop(vm), is_out, vm, deadline, err);
    if (r < 0)
        return -1;
    if (pv_vm_state(vm) == PV_VM_ENDED)
        return pv_err_set(err, PV_E_GUEST_DIED, "the VM has ended: %s", pv_vm_end_reason(vm));
    if (r > 0)
        return pv_err_set(err, PV_E_TIMEOUT, "the guest does not let go of its vsock device");
    /* It may still be in use for a moment, and then stays: it is small, and its other end goes. */
    command(vm, "chardev-remove", pv_xasprintf("{\"id\":\"%s\"}", id), deadline, NULL);
    return 0;
}
