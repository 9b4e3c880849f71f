/* SPDX-License-Identifier: MIT */
/*
 * An Ethernet: a switch in the process's loop, whose ends are sockets of QEMU's NICs or code of the harness.
 *
 * An *end* is a place on the network with a MAC: a VM's NIC, a port, a router, an uplink.  A *direction* is an
 * ordered pair of ends.  Each direction has a queue, and what becomes of the n-th frame of a direction is decided by
 * the network's seed, the direction and n (fate.h), never by time.  A frame to a MAC that no end has, and every
 * broadcast and multicast, goes to all ends but its sender's.
 *
 * The frames of an end are bytes of a guest: those below 14 or above PV_ETHER_MAX bytes are ignored, each end gets
 * at most 64 frames a round of the loop, a full queue drops the newest frame and counts it, and the queues of one
 * network hold at most PV_NET_QUEUED bytes.  Nothing here blocks.  Not for use by several threads.
 */
#ifndef PV_NET_NETWORK_H
#define PV_NET_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_loop;
struct pv_net;
struct pv_net_end;

enum {
    PV_ETHER_MIN = 14,           /* an Ethernet header (IEEE 802.3, 3.1.1); no FCS, no padding */
    PV_ETHER_MAX = 65535 + 18,   /* the largest MTU, header and an 802.1Q tag */
    PV_NET_ENDS_MAX = 1024,      /* of a network; the oldest ended ones are forgotten beyond it */
    PV_NET_QUEUE_DEFAULT = 1000, /* frames */
    PV_NET_QUEUED = 64 << 20,
    PV_NET_NAME_MAX = 63,
};

struct pv_net_opts {
    const char *name; /* copied, cut to PV_NET_NAME_MAX bytes */
    uint64_t seed;
};

struct pv_net *pv_net_new(struct pv_loop *loop, const struct pv_net_opts *o);
/* Ends all ends, with their sockets, and all ports.  NULL is fine. */
void pv_net_free(struct pv_net *net);
const char *pv_net_name(const struct pv_net *net);
struct pv_loop *pv_net_loop(const struct pv_net *net);

/* ---- ends ---- */

/*
 * An end of code: deliver(arg, frame, n) is called for each frame that arrives, in the loop or within pv_net_send.  It
 * must not block or call Lua; it may send.
 */
typedef void pv_net_deliver(void *arg, const uint8_t *frame, size_t n);

/*
 * A new end; without `deliver` its frames come from and go to the socket of pv_net_connect.  name: for statistics and
 * comments, copied.  NULL: PV_NET_ENDS_MAX ends are in use, or another end has the MAC, class usage.
 */
struct pv_net_end *pv_net_attach(struct pv_net *net, const char *name, const uint8_t mac[static 6],
                                 pv_net_deliver *deliver, void *arg, struct pv_err *err);
/*
 * Ends it, its queues and its partitions; the others keep their number and so their directions' fates.  Its statistics
 * stay until it is forgotten, so no pointer to it may be used afterwards.
 */
void pv_net_detach(struct pv_net_end *end); /* NULL is fine */
/*
 * fd, a non-blocking SOCK_DGRAM socket of one frame a datagram, becomes the end's (the previous one is closed); -1: it
 * has none any more, and frames to it are dropped.  Class host.
 */
int pv_net_connect(struct pv_net_end *end, int fd, struct pv_err *err);
/* Without carrier an end neither gets nor sends frames; it has one at first. */
void pv_net_carrier(struct pv_net_end *end, bool up);
/* A frame from an end of code; of a size that no frame has: ignored. */
void pv_net_send(struct pv_net_end *end, const void *frame, size_t n);
struct pv_net *pv_net_of(const struct pv_net_end *end);
const char *pv_net_end_name(const struct pv_net_end *end);
void pv_net_rename(struct pv_net_end *end, const char *name);
const uint8_t *pv_net_end_mac(const struct pv_net_end *end);
/* The end that has this MAC as its own, not one that has sent with it; NULL: none. */
struct pv_net_end *pv_net_end_with(const struct pv_net *net, const uint8_t mac[static 6]);

/* ---- partitions and impairments; an end that is NULL stands for any ---- */

/* No frame passes from `from` to `to`. */
void pv_net_partition(struct pv_net *net, struct pv_net_end *from, struct pv_net_end *to);
/* Takes back the partitions that were made with the same ends. */
void pv_net_heal(struct pv_net *net, struct pv_net_end *from, struct pv_net_end *to);
void pv_net_heal_all(struct pv_net *net);

struct pv_impair {
    int64_t latency, jitter;                  /* ns, one way */
    double loss, duplicate, reorder, corrupt; /* chances, 0 to 1 */
    uint64_t rate;                            /* bits a second; 0: no limit */
    unsigned queue;                           /* frames; 0: PV_NET_QUEUE_DEFAULT */
};

/*
 * Holds for the frames that are sent from now on; replaces an earlier one with the same ends.  For a direction holds
 * the rule with both its ends, else the one with its `from`, else the one with its `to`, else the one for all.
 */
void pv_net_impair(struct pv_net *net, struct pv_net_end *from, struct pv_net_end *to,
                   const struct pv_impair *i);
/* Takes back the impairment that was made with the same ends; all: every one. */
void pv_net_clear(struct pv_net *net, struct pv_net_end *from, struct pv_net_end *to);
void pv_net_clear_all(struct pv_net *net);

/* ---- statistics ---- */

/*
 * Frames.  sent counts each frame once, duplicated the second copies, each of which is delivered or dropped too.  So delivered,
 * lost, partitioned, dropped and the frames that wait in the queue are as many as sent and duplicated.
 */
struct pv_net_stats {
    uint64_t sent, delivered, lost, partitioned, dropped, duplicated, reordered, corrupted;
};

/* Calls fn for each direction that carried a frame, by `from`, then `to`, in the order in which the ends came. */
void pv_net_each(const struct pv_net *net,
                 void (*fn)(void *arg, const char *from, const char *to, const struct pv_net_stats *s),
                 void *arg);

/* ---- captures ---- */

struct pv_net_capture;

/*
 * Passes pcapng bytes (capture.h) to write(arg, data, n): the header at once, then a block for each frame at the
 * moment when it is sent, with its fate as comment.  write must not block or call Lua.
 */
struct pv_net_capture *pv_net_capture_start(struct pv_net *net,
                                            void (*write)(void *arg, const void *data, size_t n), void *arg);
void pv_net_capture_stop(struct pv_net_capture *c); /* NULL is fine; to be called before pv_net_free */

#endif
