/* SPDX-License-Identifier: MIT */
#include "testfile/nets.h"

#include <stdio.h>
#include <string.h>

#include "testfile/testfile.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* ---- a network ---- */

struct tf_net *pv_tf_net_new(struct pv_testfile *tf, const char *name, const char *subnet, uint64_t seed,
                             unsigned mtu, struct pv_err *err)
{
    struct pv_net_opts o = {.name = name, .seed = seed};
    struct tf_net *net, **at = &tf->nets;
    char own[32];
    unsigned n = 0;

    for (; *at; at = &(*at)->next, n++)
        if (!strcmp(pv_net_name((*at)->net), name)) {
            pv_err_set(err, PV_E_USAGE, "there is a network called '%s' already; choose another name", name);
            return NULL;
        }
    snprintf(own, sizeof(own), "10.7.%u.0/24", n & 0xff);
    net = pv_xcalloc(1, sizeof(*net));
    *net = (struct tf_net){.tf = tf, .mtu = mtu, .subnet = pv_subnet_new(subnet ? subnet : own, err)};
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
    struct pv_err err = PV_ERR_INIT;

    if (pv_net_connect(pv_tf_net_end_of(w)->end, fd, &err) < 0)
        pv_debug("net", "%s", err.text);
}

static void wire_carrier(struct pv_nic_wire *w, bool up)
{
    pv_net_carrier(pv_tf_net_end_of(w)->end, up);
}

void pv_tf_net_release(struct tf_net_end *e)
{
    if (e->ip.n && !e->released)
        pv_subnet_release(e->net->subnet, &e->ip);
    e->released = true;
}

/* A VM that has ended may be restored, so its address is the last to be given out again. */
static void ended_release(struct tf_net *net)
{
    for (struct tf_net_end *e = net->ends; e; e = e->next) {
        const struct tf_guest *g = net->tf->guests.first;

        while (g && pv_guest_number(g->g) != e->vm)
            g = g->next;
        if (!g || pv_guest_state(g->g) >= PV_GUEST_DEAD)
            pv_tf_net_release(e);
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

int pv_tf_net_mac(const struct tf_net *net, const char *text, uint8_t mac[static 6], struct pv_err *err)
{
    if (!text) {
        pv_mac_next(mac);
        return 0;
    }
    if (pv_mac_parse(mac, text, err) < 0)
        return -1;
    for (const struct tf_net_end *e = net->ends; e; e = e->next)
        if (!e->released && !memcmp(e->mac, mac, sizeof(e->mac)))
            return pv_err_set(err, PV_E_USAGE, "mac %s is taken on network '%s', by %s", text,
                              pv_net_name(net->net), pv_net_end_name(e->end));
    return 0;
}

struct tf_net_end *pv_tf_net_add(struct tf_net *net, const struct pv_guest *g, const struct tf_net_want *want,
                                 struct pv_guest_nic *nic, struct pv_err *err)
{
    struct tf_net_end e = {.wire = {wire_attach, wire_carrier}, .net = net, .vm = pv_guest_number(g)}, *kept;
    struct tf_net_end **at = &net->ends;
    struct pv_ip wanted = {.n = 0};
    char name[TF_NAME_MAX];

    pv_tf_short_name(g, name);
    if ((want->ip && pv_ip_parse(&wanted, want->ip, err) < 0) ||
        pv_tf_net_mac(net, want->mac, e.mac, err) < 0)
        return NULL;
    if (!want->no_ip && address_get(net, &wanted, name, &e.ip, err) < 0) {
        ended_release(net);
        if (address_get(net, &wanted, name, &e.ip, err) < 0)
            return NULL;
    }
    e.end = pv_net_attach(net->net, name, e.mac, NULL, NULL, err);
    if (!e.end) {
        pv_tf_net_release(&e);
        return NULL;
    }
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
    return kept;
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
