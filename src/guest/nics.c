/* SPDX-License-Identifier: MIT */
/*
 * A saved machine keeps its virtio-net devices, so the guest of a restore has its interfaces, routes and TCP
 * connections as they were; only the socket behind a device is new.  The agent gives a copy another MAC and address
 * while its NIC is connected to nothing.
 */
#include "guest/nics.h"

#include <errno.h>
#include <string.h>

#include "guest/call.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "guest/machine.h"
#include "guest/nic-driver.h"
#include "guest/saved.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/log.h"

/*
 * From the first answer on, until the guest's kernel has made the interface of a device that it has.  An agent that is
 * slow to answer has the caller's time.
 */
#define INTERFACE_LIMIT (30 * PV_NSEC_PER_SEC)
#define ASK_AGAIN (10 * PV_NSEC_PER_MSEC)

enum { ASKS_BEFORE_DRIVER = 3 };

void pv_guest_nics_attach(struct pv_guest *g, bool drop)
{
    for (unsigned i = 0; i < PV_VM_NICS_MAX; i++)
        if (g->nics[i].hw.mtu)
            pv_nic_sockets_attach(pv_instance_nics(g->instance), i, &g->nics[i], drop);
}

/* ---- a boot ---- */

int pv_guest_nics_begin(struct pv_guest *g, const struct pv_boot_opts *o, struct pv_machine *m,
                        struct pv_err *err)
{
    if (o->n_nics > PV_VM_NICS_MAX)
        return pv_err_set(err, PV_E_USAGE, "%zu NICs are too many for a VM; at most %d", o->n_nics,
                          PV_VM_NICS_MAX);
    if (o->n_nics && !m->nic_bridge)
        return pv_err_set(err, PV_E_USAGE, "nets needs a q35 machine; profile '%s' has machine = \"%s\"",
                          g->profile->name, g->profile->machine);
    memset(g->nics, 0, sizeof(g->nics));
    g->met_again = pv_guest_nics_set_up;
    for (size_t i = 0; i < o->n_nics; i++) {
        g->nics[i] = o->nics[i];
        m->nics[i] = o->nics[i].hw;
    }
    return 0;
}

/* ---- the interface in the guest ---- */

/* Whether the gateway of this NIC is the guest's default route. */
static bool nic_leads_out(const struct pv_guest *g, const struct pv_guest_nic *nic)
{
    for (const struct pv_guest_nic *o = g->nics; o < g->nics + PV_VM_NICS_MAX; o++)
        if (o->hw.mtu && o->n_gateway == nic->n_gateway &&
            (o->gateway_rank < nic->gateway_rank || (o->gateway_rank == nic->gateway_rank && o < nic)))
            return false;
    return true;
}

static int nic_ask(struct pv_guest *g, const struct pv_guest_nic *nic, const uint8_t *device,
                   int64_t deadline, struct pv_err *err)
{
    struct pv_call c = {.ok = true};
    struct pv_enc e;

    if (pv_call_begin(&g->agent, &c, PV_MSG_NIC, "NIC", &e, err) < 0)
        return -1;
    pv_enc_bytes(&e, device, PV_MAC_SIZE);
    pv_enc_bytes(&e, nic->hw.mac, PV_MAC_SIZE);
    pv_enc_str(&e, nic->name);
    pv_enc_u32(&e, nic->mtu ? nic->mtu : nic->hw.mtu);
    pv_enc_u32(&e, nic->n_ip > 0);
    pv_enc_bytes(&e, nic->ip, nic->n_ip);
    pv_enc_u32(&e, nic->prefix);
    pv_enc_bytes(&e, nic->gateway, nic_leads_out(g, nic) ? nic->n_gateway : 0);
    return pv_call_finish(&g->agent, &c, &e, "NIC", pv_left(deadline), err);
}

int pv_guest_nic_set_up(struct pv_guest *g, unsigned slot, int64_t deadline, struct pv_err *err)
{
    const uint8_t *device = pv_instance_machine(g->instance)->nics[slot].mac;
    int64_t limit = deadline, start = pv_now();
    struct pv_err why = PV_ERR_INIT;

    for (unsigned n = 1;; n++) {
        if (nic_ask(g, &g->nics[slot], device, deadline, &why) == 0) {
            const struct pv_nic_wire *wire = g->nics[slot].wire;

            pv_debug(g->name, "NIC %u is set up after %.1f ms", slot, (double)(pv_now() - start) / 1e6);
            return wire->set_up ? wire->set_up(g->nics[slot].wire, g, deadline, err) : 0;
        }
        if (why.cls != PV_E_GUEST || why.errnum != ENODEV || pv_now() >= limit)
            break;
        if (n == 1 && pv_deadline(INTERFACE_LIMIT) < limit)
            limit = pv_deadline(INTERFACE_LIMIT);
        if (n == ASKS_BEFORE_DRIVER && pv_guest_load_nic_driver(g, deadline, err) < 0)
            return -1;
        if (pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(ASK_AGAIN), err) < 0)
            return -1;
    }
    if (err)
        *err = why;
    if (why.errnum == ENODEV && why.cls == PV_E_GUEST)
        return pv_err_set(
            err, PV_E_TIMEOUT,
            "the kernel of %s has no interface for its NIC: it has no driver (CONFIG_VIRTIO_NET; module "
            "virtio_net), or did not see a PCI device that was plugged in (CONFIG_HOTPLUG_PCI_ACPI)",
            g->name);
    return pv_err_wrap(err, "cannot set up a NIC of %s", g->name);
}

int pv_guest_nics_set_up(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    for (unsigned i = 0; i < PV_VM_NICS_MAX; i++)
        if (g->nics[i].hw.mtu && pv_guest_nic_set_up(g, i, deadline, err) < 0)
            return -1;
    return 0;
}

/* ---- a resume ---- */

int pv_guest_nics_resume(struct pv_guest *g, const struct pv_snapshot *s, const struct pv_guest_nic *nics,
                         int64_t deadline, struct pv_err *err)
{
    memcpy(g->nics, s->nics, sizeof(g->nics));
    g->met_again = pv_guest_nics_set_up;
    for (unsigned i = 0; nics && i < PV_VM_NICS_MAX; i++)
        if (s->nics[i].hw.mtu) {
            g->nics[i] = nics[i];
            g->nics[i].down = s->nics[i].down;
        }
    /* Twice: a copy's first frames are lost, its announcement among them. */
    if (nics && pv_guest_nics_set_up(g, deadline, err) < 0)
        return -1;
    pv_guest_nics_attach(g, true);
    return pv_guest_nics_set_up(g, deadline, err);
}
