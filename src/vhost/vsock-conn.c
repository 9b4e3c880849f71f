/* SPDX-License-Identifier: MIT */
/*
 * Credit (virtio 1.2, 5.10.6.3): every header carries the size of the sender's receive buffer (buf_alloc) and
 * the number of bytes that its reader has taken from it (fwd_cnt).  The peer sends at most
 * buf_alloc - (sent - fwd_cnt) bytes.  All counters are modulo 2^32.
 *
 * The device sends a CREDIT_UPDATE after a quarter of the smaller of both buffers: Linux limits its peer's
 * buf_alloc to its own buffer size, and never sends a CREDIT_REQUEST.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "util/err.h"
#include "util/mem.h"
#include "vhost/vsock.h"

static const struct pv_stream_ops conn_ops;

static struct vsock_conn *conn_of(struct pv_stream *s)
{
    return PV_CONTAINER_OF(s, struct vsock_conn, s);
}

struct vsock_conn *pv_vsock_conn_new(struct vsock_dev *d, uint32_t host_port, uint32_t guest_port,
                                     enum conn_state state)
{
    struct vsock_conn *c = pv_xcalloc(1, sizeof(*c));

    c->s.ops = &conn_ops;
    c->s.connecting = state == CONN_CONNECTING;
    c->d = d;
    c->state = state;
    c->host_port = host_port;
    c->guest_port = guest_port;
    d->conn[d->n_conns++] = c;
    return c;
}

void pv_vsock_conn_free(struct vsock_conn *c)
{
    pv_inbox_fini(&c->in);
    free(c);
}

static void conn_wake(struct vsock_conn *c)
{
    c->event = true;
    pv_vsock_schedule(c->d);
}

void pv_vsock_conn_break(struct vsock_conn *c, int error)
{
    if (c->state == CONN_OVER)
        return;
    c->state = CONN_OVER;
    c->owed = 0;
    c->no_write = true;
    pv_inbox_break(&c->in, &c->s, error);
    conn_wake(c);
}

/* Ends a connection on which the guest broke the protocol, with a RST. */
static void conn_reset(struct vsock_conn *c)
{
    pv_vsock_conn_break(c, ECONNRESET);
    c->owed = OWE_RST;
}

uint32_t pv_vsock_conn_credit(const struct vsock_conn *c)
{
    uint32_t out = c->tx.sent - c->tx.fwd;

    return out < c->tx.alloc ? c->tx.alloc - out : 0;
}

bool pv_vsock_conn_writable(const struct vsock_conn *c)
{
    return c->state == CONN_OPEN && !c->no_write && pv_vsock_conn_credit(c) > 0 && pv_vsock_has_room(c->d);
}

/* ---- from the guest ---- */

static void take_data(struct vsock_conn *c, const struct virtio_vsock_hdr *h)
{
    const struct pv_vchain *chain = &c->d->chain;
    uint32_t len = le32toh(h->len), first;
    uint8_t *to;

    if (c->in.eof || len > chain->len - PV_VSOCK_HEADER || len > PV_VSOCK_BUF - c->in.fill) {
        conn_reset(c);
        return;
    }
    if (len == 0)
        return;
    first = pv_inbox_add(&c->in, len, &to);
    pv_vchain_read(chain, PV_VSOCK_HEADER, to, first);
    pv_vchain_read(chain, PV_VSOCK_HEADER + first, c->in.data, len - first);
    c->event = true;
}

static void take_shutdown(struct vsock_conn *c, uint32_t flags)
{
    if (flags & VIRTIO_VSOCK_SHUTDOWN_RCV)
        c->no_write = true;
    if (flags & VIRTIO_VSOCK_SHUTDOWN_SEND)
        c->in.eof = true;
    c->event = true;
    if (c->no_write && c->in.eof && (flags & VIRTIO_VSOCK_SHUTDOWN_RCV)) {
        /* The guest closed; Linux waits 8 s for the RST. */
        c->state = CONN_OVER;
        c->owed = OWE_RST;
    }
}

static void open_packet(struct vsock_conn *c, const struct virtio_vsock_hdr *h)
{
    switch (le16toh(h->op)) {
    case VIRTIO_VSOCK_OP_RW:
        take_data(c, h);
        break;
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        break; /* pv_vsock_conn_packet has read the credit, which every header carries */
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        c->owed |= OWE_CREDIT;
        break;
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        take_shutdown(c, le32toh(h->flags));
        break;
    case VIRTIO_VSOCK_OP_RST:
        pv_vsock_conn_break(c, ECONNRESET);
        break;
    default:
        conn_reset(c);
    }
}

void pv_vsock_conn_packet(struct vsock_conn *c, const struct virtio_vsock_hdr *h)
{
    c->tx.alloc = le32toh(h->buf_alloc);
    c->tx.fwd = le32toh(h->fwd_cnt);
    c->tx.asked = false;
    if (c->state == CONN_OPEN) {
        open_packet(c, h);
        return;
    }
    switch (le16toh(h->op)) {
    case VIRTIO_VSOCK_OP_RESPONSE:
        c->state = CONN_OPEN;
        c->s.connecting = false;
        c->event = true;
        break;
    case VIRTIO_VSOCK_OP_RST:
        pv_vsock_conn_break(c, ECONNREFUSED);
        break;
    default:
        conn_reset(c);
    }
}

/* ---- the stream ---- */

/* Sends a CREDIT_UPDATE once reading has freed a quarter of the window. */
static void tell_credit(struct vsock_conn *c)
{
    uint32_t window = c->tx.alloc < PV_VSOCK_BUF ? c->tx.alloc : PV_VSOCK_BUF;

    if (c->state != CONN_OPEN || c->in.eof || c->fwd - c->fwd_told < window / 4)
        return;
    c->owed |= OWE_CREDIT;
    if (c->d->busy)
        return; /* flushed at the end of this turn */
    pv_vsock_enter(c->d);
    pv_vsock_flush(c->d, c);
    pv_vsock_leave(c->d);
}

static ssize_t conn_read(struct pv_stream *s, void *buf, size_t n)
{
    struct vsock_conn *c = conn_of(s);
    ssize_t r = pv_inbox_read(&c->in, s, buf, n);

    if (r > 0) {
        c->fwd += (uint32_t)r;
        if (c->d)
            tell_credit(c);
    }
    return r;
}

/* Sends as much as credit and receive buffers allow.  Returns the number of bytes. */
static size_t push_data(struct vsock_conn *c, const uint8_t *data, size_t n)
{
    size_t done = 0;

    while (done < n) {
        uint32_t credit = pv_vsock_conn_credit(c), sent;

        if (credit == 0) {
            if (!c->tx.asked)
                c->owed |= OWE_ASK;
            c->tx.asked = true;
            break;
        }
        sent = pv_vsock_send_data(c->d, c, data + done, credit < n - done ? credit : (uint32_t)(n - done));
        if (sent == 0)
            break;
        c->tx.sent += sent;
        done += sent;
    }
    return done;
}

static ssize_t conn_write(struct pv_stream *s, const void *buf, size_t n)
{
    struct vsock_conn *c = conn_of(s);
    struct vsock_dev *d = c->d;
    size_t done = 0;

    if (c->in.broken)
        return -c->in.broken;
    if (c->no_write)
        return -EPIPE;
    if (c->state != CONN_OPEN || n == 0)
        return -EAGAIN;
    pv_vsock_enter(d);
    if (pv_vsock_flush(d, c)) {
        done = push_data(c, buf, n);
        pv_vsock_flush(d, c);
    }
    pv_vsock_leave(d);
    if (done)
        return (ssize_t)done;
    return c->in.broken ? -c->in.broken : -EAGAIN;
}

static void conn_want_write(struct pv_stream *s, bool on)
{
    struct vsock_conn *c = conn_of(s);

    c->want_write = on;
    if (on && c->d)
        pv_vsock_schedule(c->d);
}

/* Sends a SHUTDOWN with these flags. */
static void send_shutdown(struct vsock_conn *c, uint32_t flags)
{
    struct vsock_dev *d = c->d;

    c->no_write = true;
    c->shut = flags;
    c->owed |= OWE_SHUTDOWN;
    pv_vsock_enter(d);
    pv_vsock_flush(d, c);
    pv_vsock_leave(d);
}

static void conn_shutdown_write(struct pv_stream *s)
{
    struct vsock_conn *c = conn_of(s);

    if (c->state == CONN_OPEN && !(c->shut & VIRTIO_VSOCK_SHUTDOWN_SEND))
        send_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
}

static void conn_close(struct pv_stream *s)
{
    struct vsock_conn *c = conn_of(s);
    struct vsock_dev *d = c->d;

    if (!d) {
        pv_vsock_conn_free(c);
        return;
    }
    pv_vsock_enter(d);
    c->closed = true;
    if (c->state == CONN_CONNECTING)
        c->owed = c->owed & OWE_REQUEST ? 0 : OWE_RST;
    else if (c->state == CONN_OPEN)
        send_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND);
    /* The guest replies with RST.  Its late packets get a RST, like all packets without a connection. */
    c->state = CONN_OVER;
    pv_vsock_flush(d, c);
    pv_vsock_leave(d); /* may free c */
}

static const struct pv_stream_ops conn_ops = {
    .read = conn_read,
    .write = conn_write,
    .want_write = conn_want_write,
    .shutdown_write = conn_shutdown_write,
    .close = conn_close,
};
