/* SPDX-License-Identifier: MIT */
/* Private to the router: its interfaces, neighbours and ICMP errors. */
#ifndef PV_NET_ROUTER_INTERNAL_H
#define PV_NET_ROUTER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "loop/loop.h"
#include "net/answer.h"
#include "net/router.h"

enum { ROUTER_ETHER = 14 };

/* A packet that waits for the MAC of its next hop, and where its sender is told of a failure. */
struct waiting {
    struct waiting *next;
    struct router_if *in;
    size_t n;
    uint8_t frame[]; /* as it came */
};

struct neighbour {
    struct neighbour *next; /* the newest first */
    struct router_if *on;
    struct pv_ip ip;
    uint8_t mac[6];
    int64_t until; /* a pv_now() time up to which mac holds; 0: it is being asked for */
    unsigned asked;
    struct pv_timer timer;
    struct waiting *first, **last;
};

struct router_if {
    struct router_if *next;
    struct pv_router *router;
    struct pv_router_if to;
    struct pv_answerer answerer;
    struct pv_net_end *end;
    struct neighbour *neighbours;
    unsigned n_neighbours;
};

struct pv_router {
    char *name;
    struct router_if *first;
    unsigned n_waiting;
};

/* ---- neighbour.c ---- */

/* The frame's sender has told its MAC: ARP, or neighbour discovery. */
void router_learn(struct router_if *i, const uint8_t *frame, size_t n);
/* Sends a packet, the frame that came on `in`, by router_forward when the MAC of `ip` on `out` is known. */
void router_send(struct router_if *in, struct router_if *out, const struct pv_ip *ip, const uint8_t *frame,
                 size_t n);
void router_forget(struct router_if *i);

/* ---- router.c ---- */
/* The frame, which was checked, leaves by `out` to a MAC. */
void router_forward(struct router_if *out, const uint8_t mac[static 6], const uint8_t *frame, size_t n);

/* ---- icmp.c ---- */
enum router_error { ROUTER_EXPIRED, ROUTER_NO_ROUTE, ROUTER_NO_HOST, ROUTER_TOO_BIG, ROUTER_NO_PORT };
/* Tells the sender of the frame, which came on `in` and was checked.  mtu: of the next network, with ROUTER_TOO_BIG. */
void router_tell(struct router_if *in, enum router_error error, unsigned mtu, const uint8_t *frame, size_t n);

#endif
