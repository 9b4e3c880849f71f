/* SPDX-License-Identifier: MIT */
/* A direction: the fate of its frames, its queue, and delivery. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/fate.h"
#include "net/internal.h"
#include "util/clock.h"
#include "util/mem.h"

static void direction_due(struct pv_timer *t);

struct net_direction *net_direction(struct pv_net_end *from, struct pv_net_end *to)
{
    if (to->slot >= from->n_to) {
        unsigned n = to->slot + 16;
        from->to = pv_xrealloc(from->to, n * sizeof(struct net_direction *));
        memset(from->to + from->n_to, 0, (n - from->n_to) * sizeof(struct net_direction *));
        from->n_to = n;
    }
    struct net_direction **d = &from->to[to->slot];
    if (!*d) {
        *d = pv_xcalloc(1, sizeof **d);
        (*d)->from = from;
        (*d)->to = to;
        (*d)->timer.fn = direction_due;
    }
    return *d;
}

static struct net_frame *queue_pop(struct net_direction *d)
{
    struct net_frame *f = d->first;
    d->first = f->next;
    if (!d->first)
        d->last = NULL;
    d->queued--;
    d->from->net->queued -= sizeof *f + f->n;
    return f;
}

static void queue_put(struct net_direction *d, struct net_frame *f, bool front)
{
    if (front || !d->first) {
        f->next = d->first;
        d->first = f;
        d->last = d->last ? d->last : f;
    } else {
        d->last->next = f;
        d->last = f;
    }
    d->queued++;
    d->from->net->queued += sizeof *f + f->n;
}

void net_direction_empty(struct net_direction *d)
{
    d->stats.dropped += d->queued;
    while (d->first)
        free(queue_pop(d));
    pv_timer_cancel(d->from->net->loop, &d->timer);
}

static bool end_takes(const struct pv_net_end *e)
{
    return !e->down && !e->ended && (e->deliver || e->fd >= 0);
}

/* False: the socket is full. */
static bool frame_deliver(struct net_direction *d, const uint8_t *frame, size_t n)
{
    struct pv_net_end *to = d->to;
    if (!end_takes(to)) {
        d->stats.dropped++;
        return true;
    }
    if (to->deliver) {
        d->stats.delivered++;
        to->deliver(to->arg, frame, n);
        return true;
    }
    ssize_t r;
    do
        r = send(to->fd, frame, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    if (r < 0 && (errno == EAGAIN || errno == ENOBUFS))
        return false;
    if (r < 0)
        d->stats.dropped++; /* QEMU has ended, or a frame is larger than the socket takes */
    else
        d->stats.delivered++;
    return true;
}

/* Delivers what is due; then the timer or the receiver's socket calls again. */
static void direction_run(struct net_direction *d)
{
    struct pv_loop *loop = d->from->net->loop;
    int64_t now = pv_now();
    while (d->first && d->first->due <= now) {
        struct net_frame *f = queue_pop(d); /* before an end of code gets it, which may send */
        if (!frame_deliver(d, f->data, f->n)) {
            queue_put(d, f, true);
            pv_loop_set(loop, &d->to->watch, EPOLLIN | EPOLLOUT);
            return;
        }
        free(f);
    }
    if (d->first)
        pv_timer_arm(loop, &d->timer, d->first->due);
}

static void direction_due(struct pv_timer *t)
{
    direction_run(PV_CONTAINER_OF(t, struct net_direction, timer));
}

void net_end_flush(struct pv_net_end *to)
{
    struct pv_net *net = to->net;
    pv_loop_set(net->loop, &to->watch, EPOLLIN);
    for (struct pv_net_end *from = net->ends; from; from = from->next)
        if (to->slot < from->n_to && from->to[to->slot])
            direction_run(from->to[to->slot]);
}

/* When the rate admits a frame of n bytes, which uses up its share of it. */
static int64_t direction_admit(struct net_direction *d, size_t n, const struct pv_impair *i)
{
    int64_t now = pv_now(), due = d->free_at > now ? d->free_at : now;
    if (!i->rate)
        return now;
    d->free_at = due + (int64_t)((double)n * 8 * (double)PV_NSEC_PER_SEC / (double)i->rate);
    return due;
}

/* Queues a frame, or delivers it at once where nothing is in front of it. */
static void frame_enqueue(struct net_direction *d, const uint8_t *frame, size_t n, const struct pv_impair *i,
                          const struct pv_fate *fate)
{
    struct pv_net *net = d->from->net;
    int64_t due = direction_admit(d, n, i) + fate->delay, now = pv_now();
    bool front = fate->reordered && d->first;
    if (front) {
        due = d->first->due;
        d->stats.reordered++;
    } else if (d->last && d->last->due > due) {
        due = d->last->due;
    }
    if (!d->first && due <= now && frame_deliver(d, frame, n))
        return;
    struct net_frame *f = pv_xmalloc(sizeof *f + n);
    *f = (struct net_frame){.due = due, .n = n};
    memcpy(f->data, frame, n);
    queue_put(d, f, front);
    if (d->first == f && due > now)
        pv_timer_arm(net->loop, &d->timer, due);
    else if (d->first == f && d->to->fd >= 0)
        pv_loop_set(net->loop, &d->to->watch, EPOLLIN | EPOLLOUT);
}

/* The copies of a frame that is not lost; the words of its fate. */
static const char *frame_pass(struct net_direction *d, const uint8_t *frame, size_t n,
                              const struct pv_impair *i, const struct pv_fate *fate)
{
    cleanup_free uint8_t *changed = NULL;
    if (fate->corrupted) {
        changed = pv_xmalloc(n);
        memcpy(changed, frame, n);
        changed[PV_ETHER_MIN + fate->corrupt_bit / 8] ^= (uint8_t)(1u << fate->corrupt_bit % 8);
        frame = changed;
        d->stats.corrupted++;
    }
    static const char *const words[] = {"delivered", "duplicated", "corrupted", "corrupted and duplicated"};
    const char *word = words[(fate->corrupted ? 2 : 0) + (fate->duplicated ? 1 : 0)];
    for (unsigned copy = 0; copy < (fate->duplicated ? 2u : 1u); copy++) {
        d->stats.duplicated += copy;
        unsigned limit = i->queue ? i->queue : PV_NET_QUEUE_DEFAULT;
        if (d->queued >= limit || d->from->net->queued + n > PV_NET_QUEUED) {
            d->stats.dropped++;
            return copy ? word : "dropped";
        }
        frame_enqueue(d, frame, n, i, fate);
    }
    return word;
}

void net_direction_send(struct net_direction *d, const uint8_t *frame, size_t n, bool full,
                        struct pv_buf *comment)
{
    const struct pv_net *net = d->from->net;
    const struct pv_impair *i = net_impairment(net, d->from, d->to);
    struct pv_fate fate = pv_fate_of(net->seed, d->from->number, d->to->number, d->number++, n, i);
    const char *word;
    d->stats.sent++;
    if (full || !end_takes(d->to)) {
        d->stats.dropped++;
        word = "dropped";
    } else if (net_is_partitioned(net, d->from, d->to)) {
        d->stats.partitioned++;
        word = "partitioned";
    } else if (fate.lost) {
        direction_admit(d, n, i); /* it is lost on the wire, whose time it has used */
        d->stats.lost++;
        word = "lost";
    } else {
        word = frame_pass(d, frame, n, i, &fate);
    }
    pv_buf_addf(comment, "%s%s to %s", comment->len ? ", " : "", word, d->to->name);
}
