/* SPDX-License-Identifier: MIT */
/* A network and its ends: sockets, forwarding, learning. */
#include "net/network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/address.h"
#include "net/internal.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/sock.h"

enum { FRAMES_A_ROUND = 64, PENDING_MAX = 4096 };

struct pv_net *pv_net_new(struct pv_loop *loop, const struct pv_net_opts *o)
{
    struct pv_net *net = pv_xcalloc(1, sizeof *net);
    net->loop = loop;
    net->seed = o->seed;
    net->pending_end = &net->pending;
    snprintf(net->name, sizeof net->name, "%s", o->name);
    return net;
}

static void end_free(struct pv_net_end *e)
{
    for (unsigned i = 0; i < e->n_to; i++)
        free(e->to[i]);
    free(e->to);
    free(e);
}

void pv_net_free(struct pv_net *net)
{
    if (!net)
        return;
    net_ports_free(net);
    for (struct pv_net_end *e = net->ends; e; e = e->next)
        pv_net_detach(e);
    while (net->ends) {
        struct pv_net_end *e = net->ends;
        net->ends = e->next;
        end_free(e);
    }
    while (net->pending) {
        struct net_sent *s = net->pending;
        net->pending = s->next;
        free(s);
    }
    net_rules_drop(net, NULL);
    net_ring_free(net->ring);
    free(net);
}

const char *pv_net_name(const struct pv_net *net)
{
    return net->name;
}

struct pv_loop *pv_net_loop(const struct pv_net *net)
{
    return net->loop;
}

struct pv_net *pv_net_of(const struct pv_net_end *end)
{
    return end->net;
}

const char *pv_net_end_name(const struct pv_net_end *end)
{
    return end->name;
}

void pv_net_rename(struct pv_net_end *end, const char *name)
{
    snprintf(end->name, sizeof end->name, "%s", name);
}

const uint8_t *pv_net_end_mac(const struct pv_net_end *end)
{
    return end->mac;
}

/* ---- forwarding ---- */

static struct net_learned *learned_slot(struct pv_net *net, const uint8_t *mac)
{
    unsigned h = 0;
    for (unsigned i = 0; i < 6; i++)
        h = h * 31 + mac[i];
    return &net->learned[h % LEARNED];
}

struct pv_net_end *pv_net_end_with(const struct pv_net *net, const uint8_t mac[static 6])
{
    struct pv_net_end *e = net->ends;
    while (e && (e->ended || memcmp(e->mac, mac, sizeof e->mac) != 0))
        e = e->next;
    return e;
}

/* The end that has the MAC, by itself or by what it has sent; NULL: unknown. */
static struct pv_net_end *end_of_mac(struct pv_net *net, const uint8_t *mac)
{
    struct pv_net_end *own = pv_net_end_with(net, mac);
    const struct net_learned *l = learned_slot(net, mac);
    if (own)
        return own;
    return l->end && memcmp(l->mac, mac, 6) == 0 ? l->end : NULL;
}

/* A bridge or another address behind an end becomes known; an end's own MAC is never taken over. */
static void mac_learn(struct pv_net *net, const uint8_t *mac, struct pv_net_end *from)
{
    if (mac[0] & 1 || pv_net_end_with(net, mac))
        return;
    struct net_learned *l = learned_slot(net, mac);
    memcpy(l->mac, mac, 6);
    l->end = from;
}

/* full: there is no room for it, so it is dropped. */
static void frame_forward(struct pv_net_end *from, const uint8_t *frame, size_t n, bool full)
{
    struct pv_net *net = from->net;
    cleanup_buf struct pv_buf comment = {0};
    mac_learn(net, frame + 6, from);
    struct pv_net_end *to = frame[0] & 1 ? NULL : end_of_mac(net, frame);
    if (to && to != from) {
        net_direction_send(net_direction(from, to), frame, n, full, &comment);
    } else if (!to) {
        for (struct pv_net_end *e = net->ends; e; e = e->next)
            if (e != from && !e->ended && !e->down && (e->deliver || e->fd >= 0))
                net_direction_send(net_direction(from, e), frame, n, full, &comment);
            else if (e != from && !e->ended)
                net_direction(from, e)->number++; /* how far a boot is must not change later fates */
    }
    if (!comment.len)
        pv_buf_adds(&comment, "dropped, no end takes it");
    net_captures_add(net, frame, n, &comment);
}

/* Forwards a frame, then those that ends of code have sent meanwhile, so that their calls do not nest. */
static void frame_enter(struct pv_net_end *from, const uint8_t *frame, size_t n)
{
    struct pv_net *net = from->net;
    net->forwarding = true;
    frame_forward(from, frame, n, false);
    while (net->pending) {
        struct net_sent *s = net->pending;
        net->pending = s->next;
        if (!net->pending)
            net->pending_end = &net->pending;
        net->n_pending--;
        net->queued -= sizeof *s + s->n;
        if (!s->from->ended)
            frame_forward(s->from, s->data, s->n, false);
        free(s);
    }
    net->forwarding = false;
}

void pv_net_send(struct pv_net_end *end, const void *frame, size_t n)
{
    struct pv_net *net = end->net;
    if (n < PV_ETHER_MIN || n > PV_ETHER_MAX || end->down || end->ended)
        return;
    if (!net->forwarding) {
        frame_enter(end, frame, n);
        return;
    }
    if (net->n_pending == PENDING_MAX || net->queued + n > PV_NET_QUEUED) {
        frame_forward(end, frame, n, true);
        return;
    }
    struct net_sent *s = pv_xmalloc(sizeof *s + n);
    *s = (struct net_sent){.from = end, .n = n};
    memcpy(s->data, frame, n);
    *net->pending_end = s;
    net->pending_end = &s->next;
    net->n_pending++;
    net->queued += sizeof *s + n;
}

/* ---- sockets ---- */

static void end_readable(struct pv_watch *w, uint32_t events)
{
    struct pv_net_end *end = PV_CONTAINER_OF(w, struct pv_net_end, watch);
    static uint8_t frame[PV_ETHER_MAX + 1];
    if (events & EPOLLOUT)
        net_end_flush(end);
    for (unsigned i = 0; i < FRAMES_A_ROUND && end->fd >= 0; i++) {
        ssize_t n = pv_recv(end->fd, frame, sizeof frame);
        if (n < 0 && errno != EAGAIN)
            pv_net_connect(end, -1, NULL); /* QEMU has ended */
        if (n < 0)
            return;
        if (n >= PV_ETHER_MIN && n <= PV_ETHER_MAX && !end->down)
            frame_enter(end, frame, (size_t)n);
        else if (n == 0 && (events & (EPOLLHUP | EPOLLERR)))
            pv_net_connect(end, -1, NULL);
    }
}

int pv_net_connect(struct pv_net_end *end, int fd, struct pv_err *err)
{
    pv_loop_del(end->net->loop, &end->watch);
    pv_close(&end->fd);
    if (fd < 0)
        return 0;
    end->fd = fd;
    end->watch.fn = end_readable;
    if (pv_loop_add(end->net->loop, &end->watch, fd, EPOLLIN, err) < 0) {
        pv_close(&end->fd);
        return pv_err_wrap(err, "cannot connect '%s' to network '%s'", end->name, end->net->name);
    }
    return 0;
}

void pv_net_carrier(struct pv_net_end *end, bool up)
{
    end->down = !up;
}

/* Frees the oldest ended end with its statistics; false: none has ended. */
static bool ended_forget(struct pv_net *net, unsigned *slot)
{
    struct pv_net_end **at = &net->ends, *e;
    while (*at && !(*at)->ended)
        at = &(*at)->next;
    e = *at;
    if (!e)
        return false;
    *at = e->next;
    *slot = e->slot;
    net->n_listed--;
    for (struct pv_net_end *from = net->ends; from; from = from->next)
        if (e->slot < from->n_to) {
            free(from->to[e->slot]);
            from->to[e->slot] = NULL;
        }
    end_free(e);
    return true;
}

struct pv_net_end *pv_net_attach(struct pv_net *net, const char *name, const uint8_t mac[static 6],
                                 pv_net_deliver *deliver, void *arg, struct pv_err *err)
{
    unsigned slot = net->n_listed;
    const struct pv_net_end *other = pv_net_end_with(net, mac);
    if (other) {
        char text[PV_MAC_TEXT];

        pv_err_set(err, PV_E_USAGE, "mac %s is taken on network '%s', by '%s'", pv_mac_text(mac, text),
                   net->name, other->name);
        return NULL;
    }
    if (slot == PV_NET_ENDS_MAX && !ended_forget(net, &slot)) {
        pv_err_set(err, PV_E_USAGE, "network '%s' has %d ends, NICs and ports together; it takes no more",
                   net->name, PV_NET_ENDS_MAX);
        return NULL;
    }
    struct pv_net_end *e = pv_xcalloc(1, sizeof *e), **at = &net->ends;
    e->net = net;
    e->number = net->n_ends++;
    e->slot = slot;
    net->n_listed++;
    e->deliver = deliver;
    e->arg = arg;
    e->fd = -1;
    e->watch.fd = -1;
    memcpy(e->mac, mac, sizeof e->mac);
    snprintf(e->name, sizeof e->name, "%s", name);
    while (*at)
        at = &(*at)->next;
    *at = e;
    return e;
}

void pv_net_detach(struct pv_net_end *end)
{
    if (!end || end->ended)
        return;
    struct pv_net *net = end->net;
    pv_net_connect(end, -1, NULL);
    end->ended = true;
    net_rules_drop(net, end);
    for (unsigned i = 0; i < LEARNED; i++)
        if (net->learned[i].end == end)
            net->learned[i].end = NULL;
    for (struct pv_net_end *from = net->ends; from; from = from->next)
        for (unsigned i = 0; i < from->n_to; i++)
            if (from->to[i] && (from == end || from->to[i]->to == end))
                net_direction_empty(from->to[i]);
}

void pv_net_each(const struct pv_net *net,
                 void (*fn)(void *arg, const char *from, const char *to, const struct pv_net_stats *s),
                 void *arg)
{
    for (const struct pv_net_end *from = net->ends; from; from = from->next)
        for (unsigned i = 0; i < from->n_to; i++)
            if (from->to[i] && from->to[i]->stats.sent)
                fn(arg, from->name, from->to[i]->to->name, &from->to[i]->stats);
}
