/* SPDX-License-Identifier: MIT */
/*
 * A router in the harness: an end of code on each of its networks.  It forwards IPv4 and IPv6 between their subnets, takes
 * one of the TTL or hop limit, and tells a sender by ICMP of packets that it cannot forward: time exceeded, no route, no such
 * host, too big (it fragments nothing).  It replies to ARP, neighbour solicitations and pings to any of its addresses.
 *
 * The packets are a guest's: they are checked before they are used, at most PV_ROUTER_WAITING of them wait for
 * neighbours, and PV_ROUTER_NEIGHBOURS are remembered on each network.
 */
#ifndef PV_NET_ROUTER_H
#define PV_NET_ROUTER_H

#include <stdint.h>

#include "net/address.h"

struct pv_err;
struct pv_net;
struct pv_net_end;
struct pv_router;

enum { PV_ROUTER_WAITING = 256, PV_ROUTER_NEIGHBOURS = 1024, PV_ROUTER_NETS_MAX = 64 };

struct pv_router_if {
    struct pv_net *net; /* outlives the router */
    const struct pv_subnet *subnet;
    struct pv_ip ip;
    uint8_t mac[6];
    unsigned mtu;
};

/* A router without networks. */
struct pv_router *pv_router_new(const char *name);
void pv_router_free(struct pv_router *r); /* NULL is fine */
/* Connects it to a network.  NULL: class usage. */
struct pv_net_end *pv_router_add(struct pv_router *r, const struct pv_router_if *to, struct pv_err *err);

#endif
