/* SPDX-License-Identifier: MIT */
/* Private to the room: the parts of a network. */
#ifndef PV_NET_INTERNAL_H
#define PV_NET_INTERNAL_H

#include "loop/loop.h"
#include "net/network.h"

struct pv_buf;

/* A frame in a queue. */
struct net_frame {
    struct net_frame *next;
    int64_t due; /* a pv_now() time */
    size_t n;
    uint8_t data[];
};

/* From one end to another: its rule state, its queue in the order of delivery, and its counts. */
struct net_direction {
    struct pv_net_end *from, *to;
    struct pv_timer
        timer; /* armed for the first frame of the queue, unless that is due and `to` takes none */
    struct net_frame *first, *last;
    unsigned queued;
    int64_t free_at; /* when the rate admits the next frame */
    uint64_t number; /* of the next frame */
    struct pv_net_stats stats;
};

struct pv_net_end {
    struct pv_net *net;
    struct pv_net_end *next; /* in the order in which they came */
    unsigned number;         /* how many came before it: part of its directions' fates */
    unsigned slot;           /* its place in `to` of others; free again when it is forgotten */
    char name[PV_NET_NAME_MAX + 1];
    uint8_t mac[6];
    pv_net_deliver *deliver;
    void *arg;
    struct pv_watch watch;
    int fd; /* ours; -1 */
    bool down, ended;
    struct net_direction **to; /* by the slot of the receiver; NULL until a frame was sent */
    unsigned n_to;
};

/* A partition, or an impairment. */
struct net_rule {
    struct net_rule *next;
    struct pv_net_end *from, *to; /* NULL: any */
    struct pv_impair impair;
};

/* An address that was learned, beside those that the ends have themselves. */
enum { LEARNED = 1024 };
struct net_learned {
    uint8_t mac[6];
    struct pv_net_end *end;
};

struct pv_net {
    struct pv_loop *loop;
    char name[PV_NET_NAME_MAX + 1];
    uint64_t seed;
    struct pv_net_end *ends;
    unsigned n_ends, n_listed; /* that ever came; in the list */
    struct net_rule *partitions, *impairs;
    struct net_learned learned[LEARNED];     /* by a hash of the MAC, the newest wins */
    size_t queued;                           /* bytes of all queues, and of `pending` */
    struct net_sent *pending, **pending_end; /* sent by ends of code while a frame is being forwarded */
    unsigned n_pending;
    bool forwarding;
    struct pv_net_capture *captures;
    struct net_ring *ring;
    struct pv_port *ports;
};

/* A frame on its way through the switch; its comment grows with each receiver. */
struct net_sent {
    struct net_sent *next;
    struct pv_net_end *from;
    size_t n;
    uint8_t data[];
};

/* ---- rules.c ---- */
bool net_is_partitioned(const struct pv_net *net, const struct pv_net_end *from, const struct pv_net_end *to);
const struct pv_impair *net_impairment(const struct pv_net *net, const struct pv_net_end *from,
                                       const struct pv_net_end *to);
/* Frees the rules of an end; NULL: all. */
void net_rules_drop(struct pv_net *net, const struct pv_net_end *end);

/* ---- queue.c ---- */
/* The direction, made when it is needed. */
struct net_direction *net_direction(struct pv_net_end *from, struct pv_net_end *to);
void net_direction_empty(struct net_direction *d);
/*
 * Decides about a frame, counts it, delivers or queues it, and adds "WORD to NAME" to comment.  full: the switch has no room
 * for it, so it is dropped.
 */
void net_direction_send(struct net_direction *d, const uint8_t *frame, size_t n, bool full,
                        struct pv_buf *comment);
/* Delivers the frames that are due to an end whose socket takes some again. */
void net_end_flush(struct pv_net_end *to);

/* ---- capture.c ---- */
/* Passes a frame and its comment to all captures and to the ring. */
void net_captures_add(struct pv_net *net, const uint8_t *frame, size_t n, const struct pv_buf *comment);
void net_ring_free(struct net_ring *r);

/* ---- port.c ---- */
void net_ports_free(struct pv_net *net);

#endif
