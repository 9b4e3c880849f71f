/* SPDX-License-Identifier: MIT */
/*
 * Inside of the virtio-vsock device, shared by its parts: vsock.c (the device: its life and its turns),
 * vsock-packet.c (what goes over the rings) and vsock-conn.c (a connection: the stream that the owner holds).
 * Not for other rooms; see vhost.h.
 *
 * Callbacks into owners (on_event, accept, on_change) are made from one place only, vsock.c's settle(),
 * from within the loop, and never from within a call that an owner makes.  Owners may do anything in them:
 * `busy` keeps the device and dead connections in memory until the outermost frame is left.
 */
#ifndef PV_VHOST_VSOCK_H
#define PV_VHOST_VSOCK_H

#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"
#include "transport/inbox.h"
#include "vhost/vhost.h"
#include "vhost/vu.h"

enum {
    PV_VSOCK_CONNS = 256,         /* connections of one guest, both directions together */
    PV_VSOCK_BUF = PV_INBOX_SIZE, /* receive buffer of each, and the window we advertise */
    PV_VSOCK_FROM_GUEST = 128,    /* of them, at most so many that the guest made: it can not lock us out */
    PV_VSOCK_LISTENERS = 8,
    PV_VSOCK_RSTS = 64,             /* resets for packets that belong to no connection */
    PV_VSOCK_HEADER = 44,           /* sizeof(struct virtio_vsock_hdr), which is packed */
    PV_VSOCK_CHAINS_PER_CALL = 256, /* chains taken from the guest before others get their turn */
    PV_VSOCK_CONNECT_MS = 2000,     /* as long as the kernel's AF_VSOCK waits */
};

enum { RING_RX = 0, RING_TX = 1 }; /* the guest's receive and transmit ring */

/* Control packets that a connection owes the guest; sent in this order. */
enum {
    OWE_REQUEST = 1,
    OWE_RESPONSE = 2,
    OWE_SHUTDOWN = 4, /* our half, or both after close */
    OWE_RST = 8,
    OWE_CREDIT = 16,
    OWE_ASK = 32, /* CREDIT_REQUEST */
};

enum conn_state {
    CONN_CONNECTING, /* REQUEST owed or sent */
    CONN_OPEN,
    CONN_OVER, /* nothing more is exchanged, but for an owed RST; the owner may still read what came */
};

struct vsock_dev;

struct vsock_conn {
    struct pv_stream s;
    struct vsock_dev *d; /* NULL once the device is gone */
    enum conn_state state;
    uint32_t host_port, guest_port;
    struct pv_timer timeout; /* while connecting */

    /* From the guest. */
    struct pv_inbox in;
    uint32_t fwd;      /* bytes that the owner took, ever (mod 2^32) */
    uint32_t fwd_told; /* `fwd` in the last header sent */

    /* To the guest. */
    uint32_t sent;                 /* bytes, ever (mod 2^32) */
    uint32_t peer_alloc, peer_fwd; /* from the last header received */
    bool asked;                    /* a CREDIT_REQUEST is out */
    bool no_write;                 /* we shut our half, or the guest will receive no more */
    bool want_write;

    unsigned owed;
    uint32_t shut;   /* flags of the SHUTDOWN that is owed */
    bool from_guest; /* the guest made it */
    bool accepted;   /* ... and it was not handed to its listener yet */
    bool event;      /* on_event is due */
    bool closed;     /* by its owner */
};

struct vsock_listener {
    unsigned port;
    void (*accept)(struct pv_vsock_device *v, struct pv_stream *s, unsigned guest_port, void *arg);
    void *arg;
};

/* A reset for a packet that belongs to no connection. */
struct vsock_rst {
    uint32_t host_port, guest_port;
    uint16_t type;
};

struct vsock_dev {
    struct pv_vsock_device v;
    struct pv_loop *loop;
    struct pv_vu vu;
    struct pv_watch vu_watch;
    struct {
        struct pv_watch w;
        struct vsock_dev *d;
    } kick[PV_VU_QUEUES];
    struct pv_timer again; /* more to do, after the others had their turn */

    struct vsock_conn *conn[PV_VSOCK_CONNS]; /* dense; entries move only in reap() */
    unsigned n_conns;
    struct vsock_conn *last; /* the one that the last packet was for */
    unsigned turn;           /* who is first to get room */
    uint32_t next_port;
    struct vsock_listener listener[PV_VSOCK_LISTENERS];
    unsigned n_listeners;
    struct vsock_rst rst[PV_VSOCK_RSTS];
    unsigned n_rsts;

    struct pv_vchain chain; /* the one in hand */
    unsigned busy;          /* frames of ours on the stack */
    bool driver_up;         /* receive buffers were seen */
    bool rx_empty;          /* somebody found no receive buffer; the guest's kick is awaited */
    bool signal_rx, signal_tx;
    bool change; /* on_change is due */
    bool freed;
};

static inline struct pv_vring *pv_vsock_ring(struct vsock_dev *d, unsigned i)
{
    return &d->vu.q[i].ring;
}

static inline bool pv_vsock_rings_run(const struct vsock_dev *d)
{
    return !d->v.error && d->vu.q[RING_RX].running && d->vu.q[RING_TX].running;
}

/* ---- vsock.c ---- */

/* Around everything that touches the rings: leave() sends signals and frees what died meanwhile. */
void pv_vsock_enter(struct vsock_dev *d);
void pv_vsock_leave(struct vsock_dev *d);
/* Has settle() run soon, from the loop. */
void pv_vsock_later(struct vsock_dev *d);
/* The device is done for; everybody is told later, QEMU and memory are let go in the outermost leave(). */
void pv_vsock_break(struct vsock_dev *d, int error, const char *text);

/* ---- vsock-packet.c ---- */

/* False when nothing can be sent for want of receive buffers. */
bool pv_vsock_has_room(struct vsock_dev *d);
/* One data packet, at most n bytes: bytes sent, or 0 when there is no receive buffer. */
uint32_t pv_vsock_send_data(struct vsock_dev *d, struct vsock_conn *c, const uint8_t *data, uint32_t n);
/* Sends what is owed, as far as there are receive buffers; false when there are not enough. */
bool pv_vsock_flush(struct vsock_dev *d, struct vsock_conn *c);
/* The same for all connections, and resets for none. */
void pv_vsock_flush_all(struct vsock_dev *d);
/* Takes what the guest sent, a bounded number; true when there may be more. */
bool pv_vsock_take_packets(struct vsock_dev *d);
/* The live connection between these ports, or NULL. */
struct vsock_conn *pv_vsock_find(struct vsock_dev *d, uint32_t host_port, uint32_t guest_port);
struct vsock_listener *pv_vsock_listener(struct vsock_dev *d, uint32_t port);

/* ---- vsock-conn.c ---- */

struct vsock_conn *pv_vsock_conn_new(struct vsock_dev *d, uint32_t host_port, uint32_t guest_port,
                                     enum conn_state state);
/* What the guest sent to this connection; `data` is in d->chain behind the header. */
void pv_vsock_conn_packet(struct vsock_conn *c, const struct virtio_vsock_hdr *h);
/* Ends it with an errno; the owner is told. */
void pv_vsock_conn_break(struct vsock_conn *c, int error);
/* Bytes that the guest's window has room for. */
uint32_t pv_vsock_conn_credit(const struct vsock_conn *c);
/* True when a write would take something, or fail. */
bool pv_vsock_conn_writable(const struct vsock_conn *c);
void pv_vsock_conn_free(struct vsock_conn *c);

#endif
