/* SPDX-License-Identifier: MIT */
/* NICs that come and go while the guest runs, and their carrier. */
#include "guest/nic.h"

#include <string.h>

#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "guest/machine.h"
#include "guest/nics.h"
#include "util/clock.h"
#include "util/err.h"
#include "vm/vm.h"

#define DEFAULT_TIMEOUT (30 * PV_NSEC_PER_SEC)
#define MONITOR_LIMIT (10 * PV_NSEC_PER_SEC)

const struct pv_guest_nic *pv_guest_nics(const struct pv_guest *g)
{
    return g->nics;
}

static int slot_find(const struct pv_guest *g, struct pv_err *err)
{
    for (int i = 0; i < PV_VM_NICS_MAX; i++)
        if (!g->nics[i].hw.mtu)
            return i;
    return pv_err_set(err, PV_E_USAGE, "cannot plug a NIC into %s: it has %d, and no VM has more", g->name,
                      PV_VM_NICS_MAX);
}

static int guest_plug(struct pv_guest *g, const struct pv_guest_nic *nic, int64_t deadline,
                      struct pv_err *err)
{
    struct pv_nic_sockets *sockets = pv_instance_nics(g->instance);
    struct pv_machine *m = pv_instance_edit_machine(g->instance);
    int slot = slot_find(g, err);
    cleanup_close int theirs = -1;

    if (slot < 0)
        return -1;
    if (!m->nic_bridge)
        return pv_err_set(err, PV_E_USAGE, "cannot plug a NIC into %s: its machine is no q35", g->name);
    if (pv_nic_pair(&sockets->fd[slot], &theirs, err) < 0 ||
        pv_vm_plug_nic(pv_instance_vm(g->instance), (unsigned)slot, &nic->hw, theirs, deadline, err) < 0) {
        pv_nic_sockets_cut(sockets, (unsigned)slot);
        return -1;
    }
    m->nics[slot] = nic->hw;
    g->nics[slot] = *nic;
    pv_nic_sockets_attach(sockets, (unsigned)slot, nic, false);
    return pv_guest_nic_set_up(g, (unsigned)slot, deadline, err) < 0 ? -1 : slot;
}

int pv_guest_plug(struct pv_guest *g, const struct pv_guest_nic *nic, int64_t timeout_ns, struct pv_err *err)
{
    int64_t deadline = pv_guest_deadline(g, timeout_ns ? timeout_ns : DEFAULT_TIMEOUT);
    int slot;

    if (pv_guest_check_running(g, "plug a NIC into it", err) < 0 || pv_guest_check_time(g, "plug", err) < 0 ||
        pv_guest_operation_begin(g, "plug a NIC into", err) < 0)
        return -1;
    slot = pv_guest_monitor_result(g, guest_plug(g, nic, deadline, err), err);
    pv_guest_operation_end(g);
    return slot;
}

static int guest_unplug(struct pv_guest *g, unsigned slot, int64_t deadline, struct pv_err *err)
{
    if (pv_vm_unplug_nic(pv_instance_vm(g->instance), slot, deadline, err) < 0) {
        if (err && err->cls == PV_E_TIMEOUT)
            pv_guest_add_console(g, err);
        return -1;
    }
    pv_nic_sockets_cut(pv_instance_nics(g->instance), slot);
    pv_instance_edit_machine(g->instance)->nics[slot] = (struct pv_vm_nic){0};
    g->nics[slot] = (struct pv_guest_nic){0};
    return 0;
}

int pv_guest_unplug(struct pv_guest *g, unsigned slot, int64_t timeout_ns, struct pv_err *err)
{
    int64_t deadline = pv_guest_deadline(g, timeout_ns ? timeout_ns : DEFAULT_TIMEOUT);
    int r;

    if (pv_guest_check_running(g, "unplug a NIC of it", err) < 0 ||
        pv_guest_operation_begin(g, "unplug a NIC of", err) < 0)
        return -1;
    r = pv_guest_monitor_result(g, guest_unplug(g, slot, deadline, err), err);
    pv_guest_operation_end(g);
    return r;
}

int pv_guest_set_carrier(struct pv_guest *g, unsigned slot, bool up, struct pv_err *err)
{
    struct pv_guest_nic *nic = &g->nics[slot];

    if (pv_guest_check_machine(g, up ? "set a carrier up" : "set a carrier down", err) < 0 ||
        pv_guest_monitor_result(
            g,
            pv_vm_set_link(pv_instance_vm(g->instance), slot, up, pv_guest_deadline(g, MONITOR_LIMIT), err),
            err) < 0)
        return -1;
    nic->down = !up;
    if (nic->wire->carrier)
        nic->wire->carrier(nic->wire, up);
    return 0;
}

int pv_guest_set_gateway(struct pv_guest *g, unsigned slot, const void *gateway, unsigned n, unsigned rank,
                         struct pv_err *err)
{
    struct pv_guest_nic *nic = &g->nics[slot];

    memcpy(nic->gateway, gateway, n);
    nic->n_gateway = n;
    nic->gateway_rank = rank;
    if (pv_guest_state(g) != PV_GUEST_RUNNING || g->life.paused || g->life.rebooting || !nic->n_ip)
        return 0;
    return pv_guest_nic_set_up(g, slot, pv_guest_deadline(g, DEFAULT_TIMEOUT), err);
}
