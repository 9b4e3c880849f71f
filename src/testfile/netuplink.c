/* SPDX-License-Identifier: MIT */
#include "testfile/netuplink.h"

#include <stdlib.h>
#include <string.h>

#include "testfile/netrouter.h"
#include "testfile/nets.h"
#include "testfile/testfile.h"
#include "util/err.h"
#include "util/mem.h"

#define NAME "uplink"

void pv_tf_uplink_free(struct tf_uplink *u)
{
    if (!u)
        return;
    pv_uplink_free(u->u);
    pv_subnet_release_range(u->net->subnet, &u->lease, u->n_leases);
    if (u->dns.n)
        pv_subnet_release(u->net->subnet, &u->dns);
    if (u->ip.n)
        pv_subnet_release(u->net->subnet, &u->ip);
    free(u);
}

static int addresses_take(struct tf_uplink *u, const struct pv_ip *wanted, struct pv_err *err)
{
    struct pv_subnet *s = u->net->subnet;
    struct pv_ip ip = *wanted;

    if ((ip.n ? pv_subnet_take(s, &ip, NAME, err) : pv_subnet_next(s, true, NAME, &ip, err)) < 0)
        return -1;
    u->ip = ip;
    if (pv_subnet_next(s, true, "the DNS forwarder of the uplink", &ip, err) < 0)
        return -1;
    u->dns = ip;
    u->n_leases = pv_subnet_range(s, PV_UPLINK_LEASES, "DHCP of the uplink", &u->lease);
    return 0;
}

static int uplink_start(struct tf_uplink *u, struct tf_uplink_opts *o, struct pv_err *err)
{
    struct pv_uplink_opts start = {.name = NAME,
                                   .prefix = pv_subnet_prefix(u->net->subnet),
                                   .mtu = u->net->mtu,
                                   .restricted = o->restricted};

    if (addresses_take(u, &o->ip, err) < 0)
        return -1;
    start.gateway = u->ip;
    start.nameserver = u->dns;
    start.lease = u->lease;
    start.n_leases = u->n_leases;
    u->u = pv_uplink_new(u->net->net, &start, err);
    if (!u->u)
        return -1;
    for (unsigned i = 0; i < o->n; i++)
        if (pv_uplink_forward(u->u, &o->forwards[i].host, &o->forwards[i].guest, err) < 0)
            return -1;
    return 0;
}

static void host_look(const struct tf_net *net)
{
    cleanup_free char *line = NULL;

    if (!pv_host_has_network())
        line = pv_xasprintf(
            "the host has no network: through the uplink of network '%s' VMs reach nothing, only "
            "forwarded ports work",
            pv_net_name(net->net));
    else if (!pv_host_has_nameserver())
        line = pv_xasprintf(
            "/etc/resolv.conf names no IPv4 nameserver: the uplink of network '%s' resolves no names",
            pv_net_name(net->net));
    if (line)
        pv_result_notice(net->tf->env->result, line);
}

struct tf_uplink *pv_tf_uplink_new(struct tf_net *net, struct tf_uplink_opts *o, struct pv_err *err)
{
    struct tf_uplink *u;

    if (net->uplink) {
        pv_err_set(err, PV_E_USAGE, "network '%s' has an uplink already", pv_net_name(net->net));
        return NULL;
    }
    if (strchr(pv_subnet_text(net->subnet), ':')) {
        pv_err_set(err, PV_E_USAGE, "an uplink is for IPv4: network '%s' has the subnet %s",
                   pv_net_name(net->net), pv_subnet_text(net->subnet));
        return NULL;
    }
    u = pv_xcalloc(1, sizeof(*u));
    u->net = net;
    if (uplink_start(u, o, err) < 0) {
        pv_tf_uplink_free(u);
        return NULL;
    }
    net->uplink = u;
    if (!o->restricted)
        host_look(net);
    pv_tf_gateway_offer(net, &u->ip, TF_RANK_UPLINK);
    return u;
}
