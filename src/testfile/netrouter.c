/* SPDX-License-Identifier: MIT */
#include "testfile/netrouter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/guest.h"
#include "guest/life.h"
#include "net/router.h"
#include "testfile/nets.h"
#include "testfile/testfile.h"
#include "util/err.h"
#include "util/mem.h"

/* ---- default routes ---- */

void pv_tf_gateway_offer(struct tf_net *net, const struct pv_ip *ip, unsigned rank)
{
    if (net->gateway.n && net->gateway_rank <= rank)
        return;
    net->gateway = *ip;
    net->gateway_rank = rank;
}

int pv_tf_gateways_update(struct pv_guest *g, struct pv_err *err)
{
    for (unsigned i = 0; i < PV_VM_NICS_MAX; i++) {
        const struct pv_guest_nic *nic = &pv_guest_nics(g)[i];
        const struct tf_net *net = nic->hw.mtu ? pv_tf_net_end_of(nic->wire)->net : NULL;

        if (!net || !net->gateway.n || !nic->n_ip ||
            (nic->n_gateway == net->gateway.n && !memcmp(nic->gateway, net->gateway.addr, net->gateway.n)))
            continue;
        if (pv_guest_set_gateway(g, i, net->gateway.addr, net->gateway.n, net->gateway_rank, err) < 0)
            return pv_err_wrap(err, "cannot set the default route of %s", pv_guest_name(g));
    }
    return 0;
}

int pv_tf_gateway_tell(struct tf_net *net, struct pv_err *err)
{
    struct tf_guest *g = net->tf->guests.first, *next;
    int r = 0;

    for (; g; g = next) {
        g->n_holds++; /* over calls, in which other tasks may drop VMs */
        if (r == 0 && pv_guest_state(g->g) <= PV_GUEST_RUNNING && pv_tf_net_end_on(g->g, net, NULL))
            r = pv_tf_gateways_update(g->g, err);
        next = g->next;
        g->n_holds--;
    }
    return r;
}

/* ---- routers ---- */

static int if_join(struct tf_router *r, struct tf_router_if *i, struct pv_err *err)
{
    struct pv_router_if to = {.net = i->net->net, .subnet = i->net->subnet, .mtu = i->net->mtu};
    int rc = i->ip.n ? pv_subnet_take(i->net->subnet, &i->ip, r->name, err)
                     : pv_subnet_next(i->net->subnet, true, r->name, &i->ip, err);

    if (rc < 0)
        return -1;
    pv_tf_net_mac(i->net, NULL, i->mac, NULL);
    to.ip = i->ip;
    memcpy(to.mac, i->mac, sizeof(to.mac));
    i->end = pv_router_add(r->r, &to, err);
    if (!i->end)
        pv_subnet_release(i->net->subnet, &i->ip);
    return i->end ? 0 : -1;
}

static void router_free(struct tf_router *r)
{
    pv_router_free(r->r);
    free(r->ifs);
    free(r);
}

struct tf_router *pv_tf_router_new(struct pv_testfile *tf, const struct tf_router_if *ifs, unsigned n,
                                   struct pv_err *err)
{
    struct tf_router *r = pv_xcalloc(1, sizeof(*r)), **at = &tf->routers;
    unsigned number = 1;

    for (; *at; at = &(*at)->next)
        number++;
    snprintf(r->name, sizeof(r->name), "router%u", number);
    r->r = pv_router_new(r->name);
    r->ifs = pv_xcalloc(n, sizeof(*ifs));
    memcpy(r->ifs, ifs, n * sizeof(*ifs));
    for (; r->n < n; r->n++)
        if (if_join(r, &r->ifs[r->n], err) < 0) {
            while (r->n-- > 0)
                pv_subnet_release(r->ifs[r->n].net->subnet, &r->ifs[r->n].ip);
            router_free(r);
            return NULL;
        }
    for (unsigned i = 0; i < n; i++)
        pv_tf_gateway_offer(r->ifs[i].net, &r->ifs[i].ip, TF_RANK_ROUTER);
    return *at = r;
}

void pv_tf_routers_free(struct pv_testfile *tf)
{
    while (tf->routers) {
        struct tf_router *r = tf->routers;

        tf->routers = r->next;
        router_free(r);
    }
}
