/* SPDX-License-Identifier: MIT */
#include "net/router.h"

#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "net/checksum.h"
#include "net/network.h"
#include "net/router-internal.h"
#include "util/mem.h"

enum { HEAD4 = 20, HEAD6 = 40, TTL4 = 8, TTL6 = 7, REPLY_MORE = 128 };

/* A packet whose headers were checked. */
struct packet {
    const uint8_t *frame;
    size_t n; /* of the frame, without padding */
    struct pv_ip to;
    unsigned ttl, size, protocol;
};

/* ---- where a packet goes ---- */

static struct router_if *own_find(const struct pv_router *r, const struct pv_ip *ip)
{
    struct router_if *i = r->first;

    while (i && !pv_ip_equal(&i->to.ip, ip))
        i = i->next;
    return i;
}

static struct router_if *route_find(const struct pv_router *r, const struct pv_ip *ip)
{
    struct router_if *i = r->first;

    while (i && !pv_subnet_has(i->to.subnet, ip))
        i = i->next;
    return i;
}

void router_forward(struct router_if *out, const uint8_t mac[static 6], const uint8_t *frame, size_t n)
{
    cleanup_free uint8_t *copy = pv_xmalloc(n);
    uint8_t *ip = copy + ROUTER_ETHER;
    bool v4 = (frame[12] << 8 | frame[13]) == ETHERTYPE_IP;

    memcpy(copy, frame, n);
    memcpy(copy, mac, 6);
    memcpy(copy + 6, out->to.mac, 6);
    ip[v4 ? TTL4 : TTL6]--;
    if (v4) {
        uint16_t sum;

        ip[10] = ip[11] = 0;
        sum = pv_sum_end(pv_sum_add(0, ip, (size_t)(ip[0] & 15) * 4));
        ip[10] = (uint8_t)(sum >> 8);
        ip[11] = (uint8_t)sum;
    }
    pv_net_send(out->end, copy, n);
}

static bool answer_send(struct router_if *in, const struct pv_answerer *a, const uint8_t *frame, size_t n)
{
    cleanup_free uint8_t *reply = pv_xmalloc(n + REPLY_MORE);
    size_t size = pv_answer(a, frame, n, reply, n + REPLY_MORE);

    if (size)
        pv_net_send(in->end, reply, size);
    return size > 0;
}

/* To one of the router's addresses. */
static void packet_take(struct router_if *in, const struct router_if *own, const struct packet *p)
{
    struct pv_answerer a = in->answerer;

    a.ip = own->to.ip;
    if (!answer_send(in, &a, p->frame, p->n) && p->protocol == IPPROTO_UDP)
        router_tell(in, ROUTER_NO_PORT, 0, p->frame, p->n);
}

static void packet_route(struct router_if *in, const struct packet *p)
{
    struct router_if *out = own_find(in->router, &p->to);

    if (out) {
        packet_take(in, out, p);
        return;
    }
    out = route_find(in->router, &p->to);
    if (!out)
        router_tell(in, ROUTER_NO_ROUTE, 0, p->frame, p->n);
    else if (p->ttl <= 1)
        router_tell(in, ROUTER_EXPIRED, 0, p->frame, p->n);
    else if (p->size > out->to.mtu)
        router_tell(in, ROUTER_TOO_BIG, out->to.mtu, p->frame, p->n);
    else
        router_send(in, out, &p->to, p->frame, p->n);
}

/* ---- the door: frames of guests ---- */

static bool packet_read4(const uint8_t *frame, size_t n, struct packet *p)
{
    const uint8_t *ip = frame + ROUTER_ETHER;
    size_t head, size;

    if (n < ROUTER_ETHER + HEAD4 || ip[0] >> 4 != 4)
        return false;
    head = (size_t)(ip[0] & 15) * 4;
    size = (size_t)ip[2] << 8 | ip[3];
    if (head < HEAD4 || size < head || ROUTER_ETHER + size > n || pv_sum_end(pv_sum_add(0, ip, head)) != 0 ||
        ip[16] == 0 || ip[16] == 127 || ip[16] >= 224)
        return false;
    *p = (struct packet){.frame = frame,
                         .n = ROUTER_ETHER + size,
                         .to = {.n = 4},
                         .ttl = ip[TTL4],
                         .size = (unsigned)size,
                         .protocol = ip[9]};
    memcpy(p->to.addr, ip + 16, 4);
    return true;
}

static bool packet_read6(const uint8_t *frame, size_t n, struct packet *p)
{
    const uint8_t *ip = frame + ROUTER_ETHER;
    size_t size;

    if (n < ROUTER_ETHER + HEAD6 || ip[0] >> 4 != 6)
        return false;
    size = HEAD6 + ((size_t)ip[4] << 8 | ip[5]);
    if (ROUTER_ETHER + size > n || ip[24] == 0xff || (ip[24] == 0xfe && (ip[25] & 0xc0) == 0x80) ||
        (ip[8] == 0xfe && (ip[9] & 0xc0) == 0x80))
        return false; /* groups and link-local addresses stay on their network */
    *p = (struct packet){.frame = frame,
                         .n = ROUTER_ETHER + size,
                         .to = {.n = 16},
                         .ttl = ip[TTL6],
                         .size = (unsigned)size,
                         .protocol = ip[6]};
    memcpy(p->to.addr, ip + 24, 16);
    return true;
}

static void if_deliver(void *arg, const uint8_t *frame, size_t n)
{
    struct router_if *in = arg;
    unsigned type = (unsigned)frame[12] << 8 | frame[13];
    struct packet p;

    router_learn(in, frame, n);
    if (answer_send(in, &in->answerer, frame, n) || memcmp(frame, in->to.mac, 6) != 0)
        return;
    if (type == ETHERTYPE_IP ? packet_read4(frame, n, &p)
                             : type == ETHERTYPE_IPV6 && packet_read6(frame, n, &p))
        packet_route(in, &p);
}

/* ---- its life ---- */

struct pv_router *pv_router_new(const char *name)
{
    struct pv_router *r = pv_xcalloc(1, sizeof(*r));

    r->name = pv_xstrdup(name);
    return r;
}

void pv_router_free(struct pv_router *r)
{
    if (!r)
        return;
    for (struct router_if *i = r->first; i; i = i->next)
        router_forget(i);
    while (r->first) {
        struct router_if *i = r->first;

        r->first = i->next;
        pv_net_detach(i->end);
        free(i);
    }
    free(r->name);
    free(r);
}

struct pv_net_end *pv_router_add(struct pv_router *r, const struct pv_router_if *to, struct pv_err *err)
{
    struct router_if *i = pv_xcalloc(1, sizeof(*i)), **at = &r->first;
    uint8_t frame[PV_ANNOUNCE_MAX];

    *i = (struct router_if){.router = r, .to = *to, .answerer = {.ip = to->ip}};
    i->answerer.local = pv_ip_link_local(to->mac);
    memcpy(i->answerer.mac, to->mac, 6);
    i->end = pv_net_attach(to->net, r->name, to->mac, if_deliver, i, err);
    if (!i->end) {
        free(i);
        return NULL;
    }
    while (*at)
        at = &(*at)->next;
    *at = i;
    pv_net_send(i->end, frame, pv_announce(&i->answerer, frame));
    return i->end;
}
