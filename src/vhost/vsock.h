/* SPDX-License-Identifier: MIT */
/*
 * Internals of the virtio-vsock device: vsock.c (the device and its turns), vsock-packet.c (packets on the
 * rings) and vsock-conn.c (a connection, the stream that its owner holds).  Other rooms use vhost.h.
 *
 * Only call_owners() of vsock.c runs the owners' callbacks (on_event, accept, on_change), from the loop and
 * never within a call of an owner.  A callback may do anything: `busy` keeps the device and closed
 * connections in memory until the outermost pv_vsock_leave.
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
    PV_VSOCK_CONNS = 256,         /* most connections of one guest, in both directions */
    PV_VSOCK_BUF = PV_INBOX_SIZE, /* receive buffer of a connection, and its advertised window */
    PV_VSOCK_FROM_GUEST = 128, /* most connections made by the guest, so that the host can always connect */
    PV_VSOCK_LISTENERS = 8,
    PV_VSOCK_RSTS = 64,             /* queued resets for packets without a connection */
    PV_VSOCK_HEADER = 44,           /* sizeof(struct virtio_vsock_hdr), which is packed */
    PV_VSOCK_CHAINS_PER_CALL = 256, /* chains taken from the guest in one turn */
};

enum { RING_RX = 0, RING_TX = 1 }; /* the guest's receive and transmit ring */

/* Pending control packets of a connection, sent in this order. */
enum {
    OWE_REQUEST = 1,
    OWE_RESPONSE = 2,
    OWE_SHUTDOWN = 4, /* of the host's half, or of both after close */
    OWE_RST = 8,
    OWE_CREDIT = 16,
    OWE_ASK = 32, /* CREDIT_REQUEST */
};

enum conn_state {
    CONN_CONNECTING, /* REQUEST owed or sent */
    CONN_OPEN,
    CONN_OVER, /* only a pending RST or SHUTDOWN is sent; the owner may still read received bytes */
};

struct vsock_dev;

struct vsock_conn {
    struct pv_stream s;
    struct vsock_dev *d; /* NULL once the device is freed */
    enum conn_state state;
    uint32_t host_port, guest_port;

    /* From the guest. */
    struct pv_inbox in;
    uint32_t fwd;      /* all bytes that the owner has read (mod 2^32) */
    uint32_t fwd_told; /* `fwd` in the last header sent */

    /* To the guest. */
    struct {
        uint32_t sent;       /* all bytes sent (mod 2^32) */
        uint32_t alloc, fwd; /* buf_alloc and fwd_cnt of the last header received */
        bool asked;          /* a CREDIT_REQUEST was sent */
    } tx;
    bool no_write; /* the host shut down its half, or the guest receives no more */
    bool want_write;

    unsigned owed;
    uint32_t shut;   /* flags of the pending SHUTDOWN */
    bool from_guest; /* the guest made the connection */
    bool accepted;   /* ... and its listener has not got it yet */
    bool event;      /* on_event is due */
    bool closed;     /* by its owner */
};

struct vsock_listener {
    unsigned port;
    void (*accept)(struct pv_vsock_device *v, struct pv_stream *s, unsigned guest_port, void *arg);
    void *arg;
};

/* A pending reset for a packet without a connection. */
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
    struct pv_timer again; /* the next turn */

    struct vsock_conn *conn[PV_VSOCK_CONNS]; /* dense; entries move only in reap_conns() */
    unsigned n_conns;
    struct vsock_conn *last; /* the connection of the last packet */
    unsigned turn;           /* rotates the order in which connections get receive buffers */
    uint32_t next_port;
    struct {
        struct vsock_listener v[PV_VSOCK_LISTENERS];
        unsigned n;
    } listeners;
    struct {
        struct vsock_rst v[PV_VSOCK_RSTS];
        unsigned n;
    } rsts;

    struct pv_vchain chain; /* the chain being handled */
    unsigned busy;          /* nested pv_vsock_enter calls */
    struct {
        bool up;   /* the guest has posted receive buffers */
        bool held; /* the machine is paused: rings that stop end no connection */
    } driver;
    bool rx_empty;             /* a sender found no receive buffer; kicks are enabled */
    bool signal[PV_VU_QUEUES]; /* chains were published; the guest gets an interrupt in pv_vsock_leave */
    bool change;               /* on_change is due */
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

/*
 * Bracket all code that uses the rings.  The outermost pv_vsock_leave interrupts the guest, disconnects a
 * broken device and frees closed connections.
 */
void pv_vsock_enter(struct vsock_dev *d);
void pv_vsock_leave(struct vsock_dev *d);
/* Schedules a turn of the device from the loop. */
void pv_vsock_schedule(struct vsock_dev *d);
/* Breaks the device: sets its error, ends its connections, and schedules the owners' callbacks. */
void pv_vsock_break(struct vsock_dev *d, int error, const char *text);

/* ---- vsock-packet.c ---- */

/* True if the guest has a free receive buffer; else enables its kicks. */
bool pv_vsock_has_room(struct vsock_dev *d);
/* Sends one data packet with at most n bytes.  Returns the bytes sent; 0: no receive buffer. */
uint32_t pv_vsock_send_data(struct vsock_dev *d, struct vsock_conn *c, const uint8_t *data, uint32_t n);
/* Sends the connection's pending control packets; false: receive buffers ran out. */
bool pv_vsock_flush(struct vsock_dev *d, struct vsock_conn *c);
/* Sends pending resets and the pending control packets of all connections. */
void pv_vsock_flush_all(struct vsock_dev *d);
/* Handles at most PV_VSOCK_CHAINS_PER_CALL packets of the guest; true: there may be more. */
bool pv_vsock_take_packets(struct vsock_dev *d);
/* The live connection between these ports, or NULL. */
struct vsock_conn *pv_vsock_find(struct vsock_dev *d, uint32_t host_port, uint32_t guest_port);
struct vsock_listener *pv_vsock_listener(struct vsock_dev *d, uint32_t port);

/* ---- vsock-conn.c ---- */

struct vsock_conn *pv_vsock_conn_new(struct vsock_dev *d, uint32_t host_port, uint32_t guest_port,
                                     enum conn_state state);
/* Handles a packet of the guest to this connection; its data is in d->chain behind the header. */
void pv_vsock_conn_packet(struct vsock_conn *c, const struct virtio_vsock_hdr *h);
/* Ends the connection with an errno; on_event is due. */
void pv_vsock_conn_break(struct vsock_conn *c, int error);
/* The free bytes of the guest's receive window. */
uint32_t pv_vsock_conn_credit(const struct vsock_conn *c);
/* True if a write would send at least a byte. */
bool pv_vsock_conn_writable(const struct vsock_conn *c);
void pv_vsock_conn_free(struct vsock_conn *c);

#endif
