/* SPDX-License-Identifier: MIT */
/* Routers between the networks of a test file, and the default routes of its VMs. */
#ifndef PV_TESTFILE_NETROUTER_H
#define PV_TESTFILE_NETROUTER_H

#include <stdint.h>

#include "net/address.h"

struct pv_err;
struct pv_guest;
struct pv_net_end;
struct pv_router;
struct pv_testfile;
struct tf_net;

enum { TF_RANK_UPLINK = 0, TF_RANK_ROUTER = 1 };

/* A router's place on a network. */
struct tf_router_if {
    struct tf_net *net;
    struct pv_net_end *end;
    struct pv_ip ip;
    uint8_t mac[6];
};

struct tf_router {
    struct tf_router *next;
    struct pv_router *r;
    char name[16]; /* "router1" */
    unsigned n;
    struct tf_router_if *ifs; /* n of them */
};

/*
 * A router on n networks: `net` of each is set, and `ip`, zero n: the last free address.  ifs is copied.  NULL: class usage,
 * an address that cannot be had.
 */
struct tf_router *pv_tf_router_new(struct pv_testfile *tf, const struct tf_router_if *ifs, unsigned n,
                                   struct pv_err *err);
void pv_tf_routers_free(struct pv_testfile *tf);

/* Makes it the gateway of a network unless that has one of a lower or the same rank. */
void pv_tf_gateway_offer(struct tf_net *net, const struct pv_ip *ip, unsigned rank);
/* Tells the VMs of a network that run of its gateway; or g of all its networks'.  Blocks. */
int pv_tf_gateway_tell(struct tf_net *net, struct pv_err *err);
int pv_tf_gateways_update(struct pv_guest *g, struct pv_err *err);

#endif
