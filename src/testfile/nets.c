/* SPDX-License-Identifier: MIT */
#include "testfile/nets.h"

#include <stdio.h>
#include <string.h>

#include "testfile/nethosts.h"
#include "testfile/netreport.h"
#include "testfile/netuplink.h"
#include "testfile/testfile.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* ---- a network ---- */

/* 10.7.N.0/24, of which no other network has a part; all of them are taken when there are 65536 networks. */
static struct pv_subnet *subnet_choose(const struct tf_net *nets, unsigned n, struct pv_err *err)
{
    for (unsigned tries = 0; tries < 0x10000; tries++, n++) {
        const struct tf_net *net = nets;
        char text[32];
        struct pv_subnet *s;

        snprintf(text, sizeof(text), "10.%u.%u.0/24", (7 + (n >> 8)) & 0xff, n & 0xff);
        s = pv_subnet_new(text, err);
        while (net && s && !pv_subnet_overlaps(net->subnet, s))
            net = net->next;
        if (!net)
            return s;
        pv_subnet_free(s);
    }
    pv_err_set(err, PV_E_USAGE,
               "the other networks have all of 10.0.0.0/8: name a subnet (provium.network option 'subnet')");
    return NULL;
}

struct tf_net *pv_tf_net_new(struct pv_testfile *tf, const char *name, const char *subnet, uint64_t seed,
                             unsigned mtu, struct pv_err *err)
{
    struct pv_net_opts o = {.name = name, .seed = seed};
    struct tf_net *net, **at = &tf->nets;
    unsigned n = 0;

    for (; *at; at = &(*at)->next, n++)
        if (!strcmp(pv_net_name((*at)->net), name)) {
            pv_err_set(err, PV_E_USAGE, "there is a network called '%s' already; choose another name", name);
            return NULL;
        }
    net = pv_xcalloc(1, sizeof(*net));
    *net = (struct tf_net){.tf = tf,
                           .mtu = mtu,
                           .subnet = subnet ? pv_subnet_new(subnet, err) : subnet_choose(tf->nets, n, err)};
    if (!net->subnet) {
        free(net);
        return NULL;
    }
    net->net = pv_net_new(tf->loop, &o);
    return *at = net;
}

void pv_tf_nets_free(struct pv_testfile *tf)
{
    for (struct tf_net *net = tf->nets, *next; net; net = next) {
        next = net->next;
        pv_tf_net_end_track(net);
        pv_tf_uplink_free(net->uplink);
        pv_net_free(net->net);
        pv_subnet_free(net->subnet);
        for (struct tf_net_end *e = net->ends, *after; e; e = after) {
            after = e->next;
            free(e);
        }
        free(net);
    }
    tf->nets = NULL;
}

/* ---- endpoints ---- */

struct tf_net_end *pv_tf_net_end_of(struct pv_nic_wire *w)
{
    return PV_CONTAINER_OF(w, struct tf_net_end, wire);
}

static void wire_attach(struct pv_nic_wire *w, int fd)
{
    struct pv_net_end *end = pv_tf_net_end_of(w)->end;
    struct pv_err err = PV_ERR_INIT;

    if (!end)
        pv_close(&fd);
    else if (pv_net_connect(end, fd, &err) < 0)
        pv_debug("net", "%s", err.text);
}

static void wire_carrier(struct pv_nic_wire *w, bool up)
{
    if (pv_tf_net_end_of(w)->end)
        pv_net_carrier(pv_tf_net_end_of(w)->end, up);
}

void pv_tf_net_leave(struct tf_net_end *e)
{
    if (!e->end)
        return;
    if (e->ip.n)
        pv_subnet_release(e->net->subnet, &e->ip);
    pv_net_detach(e->end);
    e->end = NULL;
}

void pv_tf_net_own(struct tf_net_end *e, const struct pv_guest *g)
{
    char name[TF_NAME_MAX];

    pv_tf_short_name(g, name);
    pv_net_rename(e->end, name);
    e->vm = pv_guest_number(g);
}

/* A VM that has ended may be restored, so it leaves only when others need its place. */
static void ended_leave(struct tf_net *net)
{
    for (struct tf_net_end *e = net->ends; e; e = e->next) {
        const struct tf_guest *g = net->tf->guests.first;

        while (g && pv_guest_number(g->g) != e->vm)
            g = g->next;
        if (e->vm && (!g || pv_guest_state(g->g) >= PV_GUEST_DEAD))
            pv_tf_net_leave(e);
    }
}

static int address_get(struct tf_net *net, const struct pv_ip *wanted, const char *owner, struct pv_ip *ip,
                       struct pv_err *err)
{
    if (!wanted->n)
        return pv_subnet_next(net->subnet, false, owner, ip, err);
    *ip = *wanted;
    return pv_subnet_take(net->subnet, wanted, owner, err);
}

/* -1: class usage, an end has the MAC, and it is none of an ended VM. */
static int mac_claim(struct tf_net *net, const uint8_t mac[static 6], struct pv_err *err)
{
    const struct pv_net_end *owner = pv_net_end_with(net->net, mac);
    char text[PV_MAC_TEXT];

    if (owner) {
        ended_leave(net);
        owner = pv_net_end_with(net->net, mac);
    }
    return owner ? pv_err_set(err, PV_E_USAGE, "mac %s is taken on network '%s', by '%s'",
                              pv_mac_text(mac, text), pv_net_name(net->net), pv_net_end_name(owner))
                 : 0;
}

int pv_tf_net_mac(struct tf_net *net, const char *text, uint8_t mac[static 6], struct pv_err *err)
{
    if (!text) {
        do
            pv_mac_next(mac);
        while (pv_net_end_with(net->net, mac)); /* a test may have given one of these to a NIC */
        return 0;
    }
    if (pv_mac_parse(mac, text, err) < 0)
        return pv_err_wrap(err, "option 'mac'");
    return mac_claim(net, mac, err);
}

/* Takes e's address, or the next one, and attaches it; wanted: which address, zero n for any. */
static int end_join(struct tf_net_end *e, const char *owner, const struct pv_ip *wanted, bool has_ip,
                    struct pv_err *err)
{
    struct tf_net *net = e->net;

    if (has_ip && address_get(net, wanted, owner, &e->ip, err) < 0) {
        ended_leave(net);
        if (address_get(net, wanted, owner, &e->ip, err) < 0)
            return -1;
    }
    e->end = pv_net_attach(net->net, owner, e->mac, NULL, NULL, err);
    if (!e->end) {
        ended_leave(net);
        e->end = pv_net_attach(net->net, owner, e->mac, NULL, NULL, err);
    }
    if (!e->end && has_ip)
        pv_subnet_release(net->subnet, &e->ip);
    return e->end ? 0 : -1;
}

struct tf_net_end *pv_tf_net_add(struct tf_net *net, const struct pv_guest *g, const struct tf_net_want *want,
                                 struct pv_guest_nic *nic, struct pv_err *err)
{
    struct tf_net_end e = {.wire = {wire_attach, wire_carrier, pv_tf_hosts_set_up},
                           .net = net,
                           .vm = g ? pv_guest_number(g) : 0};
    struct tf_net_end **at = &net->ends, *kept;
    struct pv_ip wanted = {.n = 0};
    char name[TF_NAME_MAX] = "a VM that is being made";

    if (g)
        pv_tf_short_name(g, name);
    if (want->ip && pv_ip_parse(&wanted, want->ip, err) < 0) {
        pv_err_wrap(err, "option 'ip'");
        return NULL;
    }
    if (pv_tf_net_mac(net, want->mac, e.mac, err) < 0 || end_join(&e, name, &wanted, !want->no_ip, err) < 0)
        return NULL;
    kept = pv_xcalloc(1, sizeof(*kept));
    *kept = e;
    while (*at)
        at = &(*at)->next;
    *at = kept;
    memcpy(nic->hw.mac, e.mac, sizeof(e.mac));
    nic->hw.mtu = net->mtu;
    nic->wire = &kept->wire;
    memcpy(nic->ip, e.ip.addr, sizeof(nic->ip));
    nic->n_ip = e.ip.n;
    nic->prefix = e.ip.n ? pv_subnet_prefix(net->subnet) : 0;
    nic->n_gateway = e.ip.n ? net->gateway.n : 0;
    nic->gateway_rank = net->gateway_rank;
    memcpy(nic->gateway, net->gateway.addr, sizeof(nic->gateway));
    return kept;
}

/* ---- saved and ended VMs ---- */

void pv_tf_nets_settle(struct pv_testfile *tf, const struct pv_guest *g)
{
    const struct pv_guest_nic *nics = pv_guest_nics(g);

    for (struct tf_net *net = tf->nets; net; net = net->next)
        for (struct tf_net_end *e = net->ends; e; e = e->next) {
            unsigned i = 0;

            while (i < PV_VM_NICS_MAX && (!nics[i].hw.mtu || nics[i].wire != &e->wire))
                i++;
            if (i == PV_VM_NICS_MAX && e->vm == pv_guest_number(g))
                pv_tf_net_leave(e);
        }
}

static int end_return(struct tf_net_end *e, const struct pv_guest *g, struct pv_err *err)
{
    char name[TF_NAME_MAX];

    pv_tf_short_name(g, name);
    if (mac_claim(e->net, e->mac, err) == 0 && end_join(e, name, &e->ip, e->ip.n > 0, err) == 0)
        return 0;
    return pv_err_wrap(err, "%s had left network '%s', and others have got its place", name,
                       pv_net_name(e->net->net));
}

int pv_tf_nets_return(const struct pv_guest *g, const struct pv_guest_nic *nics, struct pv_err *err)
{
    for (unsigned i = 0; i < PV_VM_NICS_MAX; i++) {
        struct tf_net_end *e = nics[i].hw.mtu ? pv_tf_net_end_of(nics[i].wire) : NULL;

        if (e && !e->end && end_return(e, g, err) < 0)
            return -1;
    }
    return 0;
}

void pv_tf_nets_end_copy(struct pv_guest_nic nics[static PV_VM_NICS_MAX], const struct pv_guest *g)
{
    for (unsigned i = 0; i < PV_VM_NICS_MAX; i++) {
        struct tf_net_end *e = nics[i].hw.mtu ? pv_tf_net_end_of(nics[i].wire) : NULL;

        if (!e || e->vm)
            continue;
        if (g)
            pv_tf_net_own(e, g);
        else
            pv_tf_net_leave(e);
    }
}

/* The identity that g has on the network of the NIC; NULL: none, or one that another NIC has got already. */
static const struct pv_guest_nic *own_nic(const struct pv_guest *g, unsigned slot,
                                          const struct pv_guest_nic *saved)
{
    const struct pv_guest_nic *nic = g ? &pv_guest_nics(g)[slot] : NULL;

    return nic && nic->hw.mtu && pv_tf_net_end_of(nic->wire)->net == pv_tf_net_end_of(saved->wire)->net
               ? nic
               : NULL;
}

int pv_tf_nets_copy(const struct pv_guest *g, const struct pv_guest_nic *saved,
                    struct pv_guest_nic to[static PV_VM_NICS_MAX], struct pv_err *err)
{
    memset(to, 0, PV_VM_NICS_MAX * sizeof(*to));
    for (unsigned i = 0; i < PV_VM_NICS_MAX; i++) {
        struct tf_net_want want = {.no_ip = !saved[i].n_ip};
        const struct pv_guest_nic *own;

        if (!saved[i].hw.mtu)
            continue;
        own = own_nic(g, i, &saved[i]);
        to[i] = own ? *own : saved[i];
        if (!own && !pv_tf_net_add(pv_tf_net_end_of(saved[i].wire)->net, NULL, &want, &to[i], err)) {
            to[i].hw.mtu = 0;
            pv_tf_nets_end_copy(to, NULL);
            return -1;
        }
    }
    return 0;
}

struct tf_net_end *pv_tf_net_end_on(const struct pv_guest *g, const struct tf_net *net, unsigned *slot)
{
    const struct pv_guest_nic *nics = pv_guest_nics(g);

    for (unsigned i = 0; i < PV_VM_NICS_MAX; i++)
        if (nics[i].hw.mtu && pv_tf_net_end_of(nics[i].wire)->net == net) {
            if (slot)
                *slot = i;
            return pv_tf_net_end_of(nics[i].wire);
        }
    return NULL;
}
