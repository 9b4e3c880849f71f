/* SPDX-License-Identifier: MIT */
/*
 * Credit (virtio 1.2, 5.10.6.3): each side says in every header how large its receive buffer is (buf_alloc)
 * and how many bytes of the connection it has taken out of it (fwd_cnt); the other side sends no more
 * than buf_alloc - (sent - fwd_cnt).  All counters are modulo 2^32.
 *
 * We tell after a quarter of the smaller of both buffers: Linux caps what it believes of ours at its own
 * size and never asks.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "vhost/vsock.h"

static const struct pv_stream_ops conn_ops;

static struct vsock_conn *conn_of(struct pv_stream *s)
{
    return PV_CONTAINER_OF(s, struct vsock_conn, s);
}

static void on_timeout(struct pv_timer *t)
{
    struct vsock_conn *c = PV_CONTAINER_OF(t, struct vsock_conn, timeout);
    struct vsock_dev *d = c->d;

    pv_vsock_enter(d);
    pv_vsock_conn_break(c, ETIMEDOUT); /* an answer that still comes is for nobody, and is reset */
    pv_vsock_leave(d);
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
    c->timeout.fn = on_timeout;
    if (state == CONN_CONNECTING)
        pv_timer_arm(d->loop, &c->timeout, pv_deadline(PV_VSOCK_CONNECT_MS * PV_NSEC_PER_MSEC));
    d->conn[d->n_conns++] = c;
    return c;
}

void pv_vsock_conn_free(struct vsock_conn *c)
{
    pv_inbox_fini(&c->in);
    free(c);
}

static void wake(struct vsock_conn *c)
{
    c->event = true;
    pv_vsock_later(c->d);
}

void pv_vsock_conn_break(struct vsock_conn *c, int error)
{
    if (c->state == CONN_OVER)
        return;
    pv_timer_cancel(c->d->loop, &c->timeout);
    c->state = CONN_OVER;
    c->owed = 0;
    c->no_write = true;
    pv_inbox_break(&c->in, &c->s, error);
    wake(c);
}

/* The guest did what it must not: it is told, and so is the owner. */
static void reset(struct vsock_conn *c)
{
    pv_vsock_conn_break(c, ECONNRESET);
    c->owed = OWE_RST;
}

uint32_t pv_vsock_conn_credit(const struct vsock_conn *c)
{
    uint32_t out = c->sent - c->peer_fwd;

    return out < c->peer_alloc ? c->peer_alloc - out : 0;
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
        reset(c);
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
        /* It closed, and waits (8 s in Linux) for this. */
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
        break; /* every header is one */
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
        reset(c);
    }
}

void pv_vsock_conn_packet(struct vsock_conn *c, const struct virtio_vsock_hdr *h)
{
    c->peer_alloc = le32toh(h->buf_alloc);
    c->peer_fwd = le32toh(h->fwd_cnt);
    c->asked = false;
    if (c->state == CONN_OPEN) {
        open_packet(c, h);
        return;
    }
    switch (le16toh(h->op)) {
    case VIRTIO_VSOCK_OP_RESPONSE:
        pv_timer_cancel(c->d->loop, &c->timeout);
        c->state = CONN_OPEN;
        c->s.connecting = false;
        c->event = true;
        break;
    case VIRTIO_VSOCK_OP_RST:
        pv_vsock_conn_break(c, ECONNREFUSED);
        break;
    default:
        reset(c);
    }
}

/* ---- the stream ---- */

/* Tells the guest about the room that reading made, when it is enough to be worth a packet. */
static void tell_credit(struct vsock_conn *c)
{
    uint32_t window = c->peer_alloc < PV_VSOCK_BUF ? c->peer_alloc : PV_VSOCK_BUF;

    if (c->state != CONN_OPEN || c->in.eof || c->fwd - c->fwd_told < window / 4)
        return;
    c->owed |= OWE_CREDIT;
    if (c->d->busy)
        return; /* sent at the end of this turn */
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

/* As much as credit and receive buffers allow. */
static size_t push_data(struct vsock_conn *c, const uint8_t *data, size_t n)
{
    size_t done = 0;

    while (done < n) {
        uint32_t credit = pv_vsock_conn_credit(c), sent;

        if (credit == 0) {
            if (!c->asked)
                c->owed |= OWE_ASK;
            c->asked = true;
            break;
        }
        sent = pv_vsock_send_data(c->d, c, data + done, credit < n - done ? credit : (uint32_t)(n - done));
        if (sent == 0)
            break;
        c->sent += sent;
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
        pv_vsock_later(c->d);
}

/* `flags` of what we do not do any more. */
static void owe_shutdown(struct vsock_conn *c, uint32_t flags)
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
        owe_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
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
    pv_timer_cancel(d->loop, &c->timeout);
    c->closed = true;
    if (c->state == CONN_CONNECTING)
        c->owed = c->owed & OWE_REQUEST ? 0 : OWE_RST;
    else if (c->state == CONN_OPEN)
        owe_shutdown(c, VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND);
    /* The guest answers with RST; a late packet gets one from us, as for any unknown connection. */
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
