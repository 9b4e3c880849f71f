/* SPDX-License-Identifier: MIT */
/* The MACs of a router's neighbours: asked for three times, a second apart, and asked for again after half a minute. */
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "net/checksum.h"
#include "net/network.h"
#include "net/router-internal.h"
#include "util/clock.h"
#include "util/mem.h"

#define HOLDS (30 * PV_NSEC_PER_SEC)
#define ASK_AGAIN PV_NSEC_PER_SEC

enum { TRIES = 3, ARP_SIZE = 28, HEAD6 = 40, SOLICITATION = 32 };

static const uint8_t arp_head[] = {0, 1, 8, 0, 6, 4, 0};

static struct neighbour *neighbour_find(struct router_if *i, const struct pv_ip *ip)
{
    struct neighbour *n = i->neighbours;

    while (n && !pv_ip_equal(&n->ip, ip))
        n = n->next;
    return n;
}

/* ---- asking ---- */

static void ask_arp(const struct neighbour *n)
{
    const struct router_if *i = n->on;
    uint8_t frame[ROUTER_ETHER + ARP_SIZE] = {0}, *arp = frame + ROUTER_ETHER;

    memset(frame, 0xff, 6);
    memcpy(frame + 6, i->to.mac, 6);
    frame[12] = ETHERTYPE_ARP >> 8;
    frame[13] = ETHERTYPE_ARP & 0xff;
    memcpy(arp, arp_head, sizeof(arp_head));
    arp[7] = 1;
    memcpy(arp + 8, i->to.mac, 6);
    memcpy(arp + 14, i->to.ip.addr, 4);
    memcpy(arp + 24, n->ip.addr, 4);
    pv_net_send(i->end, frame, sizeof(frame));
}

static void ask_solicitation(const struct neighbour *n)
{
    static const uint8_t group[13] = {0xff, 2, [11] = 1, 0xff};
    const struct router_if *i = n->on;
    uint8_t frame[ROUTER_ETHER + HEAD6 + SOLICITATION] = {0x33, 0x33, 0xff}, *ip = frame + ROUTER_ETHER,
                                         *icmp = ip + HEAD6;
    uint16_t sum;

    memcpy(frame + 3, n->ip.addr + 13, 3);
    memcpy(frame + 6, i->to.mac, 6);
    frame[12] = ETHERTYPE_IPV6 >> 8;
    frame[13] = ETHERTYPE_IPV6 & 0xff;
    ip[0] = 0x60;
    ip[5] = SOLICITATION;
    ip[6] = IPPROTO_ICMPV6;
    ip[7] = 255;
    memcpy(ip + 8, i->to.ip.addr, 16);
    memcpy(ip + 24, group, sizeof(group));
    memcpy(ip + 37, n->ip.addr + 13, 3);
    icmp[0] = ND_NEIGHBOR_SOLICIT;
    memcpy(icmp + 8, n->ip.addr, 16);
    icmp[24] = ND_OPT_SOURCE_LINKADDR;
    icmp[25] = 1;
    memcpy(icmp + 26, i->to.mac, 6);
    sum = pv_sum_message(ip + 8, ip + 24, 16, IPPROTO_ICMPV6, icmp, SOLICITATION);
    icmp[2] = (uint8_t)(sum >> 8);
    icmp[3] = (uint8_t)sum;
    pv_net_send(i->end, frame, sizeof(frame));
}

static void neighbour_ask(struct neighbour *n)
{
    n->asked++;
    pv_timer_arm(pv_net_loop(n->on->to.net), &n->timer, pv_deadline(ASK_AGAIN));
    if (n->ip.n == 4)
        ask_arp(n);
    else
        ask_solicitation(n);
}

/* ---- waiting packets ---- */

static struct waiting *waiting_pop(struct neighbour *n)
{
    struct waiting *w = n->first;

    if (!w)
        return NULL;
    n->first = w->next;
    if (!n->first)
        n->last = &n->first;
    n->on->router->n_waiting--;
    return w;
}

static void neighbour_free(struct router_if *i, struct neighbour **at)
{
    struct neighbour *n = *at;
    struct waiting *w;

    *at = n->next;
    i->n_neighbours--;
    pv_timer_cancel(pv_net_loop(i->to.net), &n->timer);
    while ((w = waiting_pop(n)))
        free(w);
    free(n);
}

static void neighbour_due(struct pv_timer *t)
{
    struct neighbour *n = PV_CONTAINER_OF(t, struct neighbour, timer), **at = &n->on->neighbours;
    struct waiting *w;

    if (n->asked < TRIES) {
        neighbour_ask(n);
        return;
    }
    while ((w = waiting_pop(n))) {
        router_tell(w->in, ROUTER_NO_HOST, 0, w->frame, w->n);
        free(w);
    }
    while (*at != n)
        at = &(*at)->next;
    neighbour_free(n->on, at);
}

static struct neighbour *neighbour_new(struct router_if *i, const struct pv_ip *ip)
{
    struct neighbour *n = pv_xcalloc(1, sizeof(*n)), **at = &i->neighbours;

    if (i->n_neighbours == PV_ROUTER_NEIGHBOURS) {
        while ((*at)->next)
            at = &(*at)->next;
        neighbour_free(i, at);
    }
    *n = (struct neighbour){.next = i->neighbours, .on = i, .ip = *ip, .timer = {.fn = neighbour_due}};
    n->last = &n->first;
    i->neighbours = n;
    i->n_neighbours++;
    return n;
}

void router_forget(struct router_if *i)
{
    while (i->neighbours)
        neighbour_free(i, &i->neighbours);
}

void router_send(struct router_if *in, struct router_if *out, const struct pv_ip *ip, const uint8_t *frame,
                 size_t n)
{
    struct neighbour *to = neighbour_find(out, ip);
    struct waiting *w;

    if (to && to->until > pv_now()) {
        router_forward(out, to->mac, frame, n);
        return;
    }
    if (in->router->n_waiting == PV_ROUTER_WAITING)
        return;
    if (!to)
        to = neighbour_new(out, ip);
    w = pv_xmalloc(sizeof(*w) + n);
    *w = (struct waiting){.in = in, .n = n};
    memcpy(w->frame, frame, n);
    *to->last = w;
    to->last = &w->next;
    in->router->n_waiting++;
    if (!to->asked || to->until) {
        to->until = 0;
        to->asked = 0;
        neighbour_ask(to);
    }
}

/* ---- learning ---- */

static void neighbour_tell(struct router_if *i, const struct pv_ip *ip, const uint8_t *mac)
{
    struct neighbour *n = neighbour_find(i, ip);
    struct waiting *w;

    if (!n || mac[0] & 1)
        return;
    memcpy(n->mac, mac, 6);
    n->until = pv_now() + HOLDS;
    pv_timer_cancel(pv_net_loop(i->to.net), &n->timer);
    while ((w = waiting_pop(n))) {
        router_forward(i, n->mac, w->frame, w->n);
        free(w);
    }
}

static void learn_arp(struct router_if *i, const uint8_t *arp, size_t n)
{
    struct pv_ip ip = {.n = 4};

    if (n < ARP_SIZE || memcmp(arp, arp_head, sizeof(arp_head)) != 0)
        return;
    memcpy(ip.addr, arp + 14, 4);
    neighbour_tell(i, &ip, arp + 8);
}

/* The target's MAC of an advertisement, the sender's of a solicitation. */
static void learn_discovery(struct router_if *i, const uint8_t *ip6, size_t n)
{
    const uint8_t *icmp = ip6 + HEAD6;
    struct pv_ip ip = {.n = 16};
    size_t size;
    bool advertises;

    if (n < HEAD6 + SOLICITATION || ip6[6] != IPPROTO_ICMPV6 || ip6[7] != 255)
        return;
    size = (size_t)ip6[4] << 8 | ip6[5];
    advertises = icmp[0] == ND_NEIGHBOR_ADVERT;
    if ((!advertises && icmp[0] != ND_NEIGHBOR_SOLICIT) || size < SOLICITATION || HEAD6 + size > n ||
        pv_sum_message(ip6 + 8, ip6 + 24, 16, IPPROTO_ICMPV6, icmp, size) != 0 ||
        icmp[24] != (advertises ? ND_OPT_TARGET_LINKADDR : ND_OPT_SOURCE_LINKADDR) || icmp[25] != 1)
        return;
    memcpy(ip.addr, advertises ? icmp + 8 : ip6 + 8, 16);
    neighbour_tell(i, &ip, icmp + 26);
}

void router_learn(struct router_if *i, const uint8_t *frame, size_t n)
{
    switch (frame[12] << 8 | frame[13]) {
    case ETHERTYPE_ARP:
        learn_arp(i, frame + ROUTER_ETHER, n - ROUTER_ETHER);
        break;
    case ETHERTYPE_IPV6:
        learn_discovery(i, frame + ROUTER_ETHER, n - ROUTER_ETHER);
        break;
    default:
        break;
    }
}
