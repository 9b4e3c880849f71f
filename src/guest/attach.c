/* SPDX-License-Identifier: MIT */
/* Disks that come and go while the machine runs.  They are in its description, so that a boot finds them again. */
#include <stdlib.h>
#include <string.h>

#include "disk/disk.h"
#include "disk/rule.h"
#include "guest/disks.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "guest/machine-disk.h"
#include "guest/machine.h"
#include "guest/nic-driver.h"
#include "guest/served.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "vm/plug.h"

#define ATTACH_LIMIT (30 * PV_NSEC_PER_SEC)

/* The first slot without a disk; PV_VM_PLUGS_MAX: none. */
static unsigned slot_find(const struct pv_guest *g)
{
    unsigned used = 0, slot = 0;

    for (const struct pv_served *s = g->disks; s; s = s->next)
        if (s->plugged)
            used |= 1U << s->slot;
    while (slot < PV_VM_PLUGS_MAX && (used & 1U << slot))
        slot++;
    return slot;
}

static int drivers_load(struct pv_guest *g, enum pv_vm_bus bus, int64_t deadline, struct pv_err *err)
{
    static const char *const drivers[][3] = {[PV_VM_BUS_VIRTIO] = {"virtio_blk"},
                                             [PV_VM_BUS_NVME] = {"nvme"},
                                             [PV_VM_BUS_SCSI] = {"virtio_scsi", "sd_mod"}};

    return pv_guest_load_driver(g, drivers[bus], deadline, err);
}

static int disk_plug(struct pv_guest *g, struct pv_served *s, const struct pv_machine_disk *m, unsigned slot,
                     int64_t deadline, struct pv_err *err)
{
    struct pv_vm_disk d = {.name = m->name, .bus = m->bus, .sector = m->sector, .readonly = m->readonly};
    int fd, r;

    if (slot == PV_VM_PLUGS_MAX)
        return pv_err_set(err, PV_E_USAGE, "a VM takes at most %d attached disks", PV_VM_PLUGS_MAX);
    fd = pv_served_connect(s, err);
    if (fd < 0)
        return -1;
    r = pv_vm_plug_disk(pv_instance_vm(g->instance), slot, &d, fd, deadline, err);
    pv_close(&fd);
    s->plugged = r == 0;
    s->slot = slot;
    return r;
}

int pv_guest_disks_replug(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    const struct pv_machine *m = pv_instance_machine(g->instance);

    for (size_t i = 0; i < m->n_disks; i++) {
        const struct pv_machine_disk *d = &m->disks[i];
        struct pv_served *s = d->plug ? pv_served_find(g, d->name) : NULL;

        if (s && disk_plug(g, s, d, d->plug - 1, deadline, err) < 0)
            return -1;
    }
    return 0;
}

static int attach(struct pv_guest *g, const struct pv_guest_disk *d, int64_t deadline, char *name,
                  struct pv_err *err)
{
    struct pv_machine *m = pv_instance_edit_machine(g->instance);
    unsigned slot = slot_find(g);
    struct pv_served *s;
    char *device = NULL;
    int r;

    if (!m->nic_bridge)
        return pv_err_set(err, PV_E_USAGE, "it needs a q35 machine, on which devices can be plugged in");
    if (pv_machine_disk_add(m, d, err) < 0)
        return -1;
    memcpy(name, m->disks[m->n_disks - 1].name, strlen(m->disks[m->n_disks - 1].name) + 1);
    s = pv_served_add(g, &m->disks[m->n_disks - 1], err);
    r = s ? disk_plug(g, s, &m->disks[m->n_disks - 1], slot, deadline, err) : -1;
    if (r == 0) {
        m->disks[m->n_disks - 1].plug = slot + 1;
        r = drivers_load(g, d->bus, deadline, err);
    }
    if (r == 0) {
        device = pv_guest_disk_device(g, name, deadline - pv_now(), err);
        pv_guest_disk_retries_off(g, name, d->bus);
    }
    free(device);
    if (device)
        return 0;
    if (!g->instance || (s && s->plugged)) /* the device stays, and is asked for again by its name */
        return -1;
    pv_served_drop(g, name);
    pv_machine_disk_remove(m, name);
    return -1;
}

int pv_guest_attach_disk(struct pv_guest *g, const struct pv_guest_disk *d, int64_t timeout_ns,
                         char name[static PV_DISK_NAME + 1], struct pv_err *err)
{
    int r;

    name[0] = '\0';
    if (pv_guest_check_running(g, "attach a disk", err) < 0 ||
        pv_guest_operation_begin(g, "attach a disk to", err) < 0)
        return -1;
    r = pv_guest_monitor_result(
        g, attach(g, d, pv_guest_deadline(g, timeout_ns ? timeout_ns : ATTACH_LIMIT), name, err), err);
    pv_guest_operation_end(g);
    if (r < 0 && !d->name && !*name)
        return pv_err_wrap(err, "cannot attach a disk to %s", g->name);
    return r < 0 ? pv_err_wrap(err, "cannot attach disk '%s' to %s", d->name ? d->name : name, g->name) : 0;
}

static int detach(struct pv_guest *g, const char *name, int64_t deadline, struct pv_err *err)
{
    struct pv_served *s = pv_served_find(g, name);

    if (!s || !s->plugged)
        return pv_err_set(err, PV_E_USAGE,
                          "it was there when the VM was booted; vm:attach_disk attaches others");
    if (pv_disk_hangs(s->d))
        return pv_err_set(err, PV_E_USAGE, "it hangs (call d:unhang() first)");
    if (pv_vm_unplug_disk(pv_instance_vm(g->instance), s->slot, deadline, err) < 0)
        return -1;
    pv_served_drop(g, name);
    pv_machine_disk_remove(pv_instance_edit_machine(g->instance), name);
    return 0;
}

int pv_guest_detach_disk(struct pv_guest *g, const char *name, int64_t timeout_ns, struct pv_err *err)
{
    int r;

    if (pv_guest_check_running(g, "detach a disk", err) < 0 || pv_guest_disk_check_name(g, name, err) < 0 ||
        pv_guest_operation_begin(g, "detach a disk from", err) < 0)
        return -1;
    r = pv_guest_monitor_result(
        g, detach(g, name, pv_guest_deadline(g, timeout_ns ? timeout_ns : ATTACH_LIMIT), err), err);
    pv_guest_operation_end(g);
    return r < 0 ? pv_err_wrap(err, "cannot detach disk '%s' from %s", name, g->name) : 0;
}
