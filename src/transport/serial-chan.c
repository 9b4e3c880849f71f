/* SPDX-License-Identifier: MIT */
/*
 * Credit: each side may send PV_MUX_WINDOW bytes on a channel and more as CREDIT grants it.  We grant what
 * the owner has taken, in pieces of PV_MUX_GRANT, so the ring can never run over unless the guest cheats.
 *
 * A record lives until both its number is free (state CHAN_OVER) and its owner has closed it.
 */
#include <errno.h>
#include <string.h>

#include "transport/serial-dev.h"
#include "util/err.h"

static const struct pv_stream_ops chan_ops;

_Static_assert((int)PV_INBOX_SIZE >= (int)PV_MUX_WINDOW, "a whole window must find room");

static struct chan *chan_of(struct pv_stream *s)
{
    return PV_CONTAINER_OF(s, struct chan, s);
}

struct chan *pv_chan_new(struct serial *d, unsigned port)
{
    struct chan *c;
    uint16_t number = 1;

    while (number <= PV_MUX_CHANNELS && d->chan[number])
        number++;
    if (number > PV_MUX_CHANNELS)
        return NULL;
    c = pv_xcalloc(1, sizeof(*c));
    c->s.ops = &chan_ops;
    c->s.connecting = true;
    c->d = d;
    c->number = number;
    c->granted = c->credit = PV_MUX_WINDOW;
    d->chan[number] = c;
    c->next = d->all;
    d->all = c;
    pv_serial_packet(d, PV_MUX_OPEN, number, port);
    return c;
}

void pv_chan_free(struct chan *c)
{
    pv_inbox_fini(&c->in);
    free(c);
}

static void chan_wake(struct chan *c)
{
    c->event = true;
    pv_serial_later(c->d);
}

/* The number is free. */
static void chan_over(struct chan *c)
{
    c->state = CHAN_OVER;
    if (c->d->chan[c->number] == c)
        c->d->chan[c->number] = NULL;
    if (c->closed)
        c->d->sweep = true;
}

void pv_chan_break(struct chan *c, int error)
{
    pv_inbox_break(&c->in, &c->s, error);
    if (!c->closed)
        chan_wake(c);
}

void pv_chan_reset(struct chan *c)
{
    if (c->state != CHAN_OVER && !c->in.broken)
        pv_chan_break(c, ECONNRESET);
    chan_over(c);
}

bool pv_chan_writable(const struct chan *c)
{
    return c->in.broken || c->in.eof ||
           (c->state <= CHAN_OPEN && !c->no_write && c->credit && pv_serial_has_room(c->d));
}

void pv_chan_orphan(struct chan *c)
{
    c->d = NULL;
    c->state = CHAN_OVER;
    pv_inbox_break(&c->in, &c->s, ECONNRESET);
    if (c->closed)
        pv_chan_free(c);
}

/* ---- from the guest ---- */

static const char *chan_on_data(struct chan *c, const uint8_t *data, uint32_t n)
{
    uint8_t *to;
    uint32_t first;

    if (n > c->granted)
        return "more DATA than it was granted";
    c->granted -= n;
    if (c->state == CHAN_CLOSING)
        return NULL;
    /* granted + fill + taken is the window: there is room */
    first = pv_inbox_add(&c->in, n, &to);
    memcpy(to, data, first);
    memcpy(c->in.data, data + first, n - first);
    chan_wake(c);
    return NULL;
}

static const char *chan_on_close(struct chan *c)
{
    if (c->state == CHAN_OPEN) {
        c->in.eof = true;
        chan_wake(c);
        pv_serial_packet(c->d, PV_MUX_CLOSE, c->number, 0);
    }
    chan_over(c);
    return NULL;
}

const char *pv_chan_packet(struct chan *c, const struct pv_mux_header *h, const uint8_t *payload)
{
    /* One that we closed while it was opening is not OPENED yet for the guest. */
    bool opening = c->s.connecting;
    uint32_t word = h->length == 4 ? pv_mux_u32(payload) : 0;

    if (opening != (h->type == PV_MUX_OPENED || h->type == PV_MUX_REFUSED))
        return opening ? "a packet on a channel that it has not opened yet" : "an answer to no OPEN";
    switch (h->type) {
    case PV_MUX_OPENED:
        c->s.connecting = false;
        if (c->state == CHAN_OPENING) {
            c->state = CHAN_OPEN;
            chan_wake(c);
        }
        return NULL;
    case PV_MUX_REFUSED:
        if (word == 0 || word > 4095)
            return "a REFUSED without a reason";
        if (!c->closed)
            pv_chan_break(c, ECONNREFUSED);
        chan_over(c);
        return NULL;
    case PV_MUX_DATA:
        return chan_on_data(c, payload, h->length);
    case PV_MUX_CREDIT:
        if (word == 0 || word > PV_MUX_WINDOW - c->credit)
            return "CREDIT for more than was sent";
        c->credit += word;
        if (c->want_write)
            chan_wake(c);
        return NULL;
    case PV_MUX_CLOSE:
        return chan_on_close(c);
    default:
        return "a packet that only the host may send";
    }
}

/* ---- the stream ---- */

/* Grants the room that reading made, when it is enough to be worth a packet. */
static void chan_grant(struct chan *c)
{
    if (!c->d || c->state != CHAN_OPEN || c->taken < PV_MUX_GRANT)
        return;
    c->granted += c->taken;
    pv_serial_packet(c->d, PV_MUX_CREDIT, c->number, c->taken);
    c->taken = 0;
}

static ssize_t chan_read(struct pv_stream *s, void *buf, size_t n)
{
    struct chan *c = chan_of(s);
    ssize_t r = pv_inbox_read(&c->in, s, buf, n);

    if (r > 0) {
        c->taken += (uint32_t)r;
        chan_grant(c);
    }
    return r;
}

/* As much as credit and the socket allow; also before the answer to the OPEN, which is not waited for. */
static ssize_t chan_write(struct pv_stream *s, const void *buf, size_t n)
{
    struct chan *c = chan_of(s);
    size_t done = 0;

    if (c->in.broken)
        return -c->in.broken;
    if (c->no_write || c->in.eof)
        return -EPIPE;
    while (done < n && c->credit && pv_serial_has_room(c->d)) {
        uint32_t piece = c->credit < PV_MUX_MAX ? c->credit : PV_MUX_MAX;

        if (piece > n - done)
            piece = (uint32_t)(n - done);
        pv_serial_data(c->d, c->number, (const uint8_t *)buf + done, piece);
        c->credit -= piece;
        done += piece;
    }
    return done ? (ssize_t)done : -EAGAIN;
}

static void chan_want_write(struct pv_stream *s, bool on)
{
    struct chan *c = chan_of(s);

    c->want_write = on;
    if (on && c->d && pv_chan_writable(c))
        chan_wake(c);
}

/* The protocol has no half-close, so no packet is sent. */
static void chan_shutdown_write(struct pv_stream *s)
{
    chan_of(s)->no_write = true;
}

static void chan_close(struct pv_stream *s)
{
    struct chan *c = chan_of(s);
    struct serial *d = c->d;

    if (!d) {
        pv_chan_free(c);
        return;
    }
    pv_serial_enter(d);
    c->closed = true;
    c->event = c->want_write = false;
    if (c->state == CHAN_OVER || d->c.error) {
        chan_over(c);
    } else {
        pv_serial_packet(d, PV_MUX_CLOSE, c->number, 0);
        c->state = CHAN_CLOSING;
    }
    pv_serial_leave(d); /* may free c */
}

static const struct pv_stream_ops chan_ops = {
    .read = chan_read,
    .write = chan_write,
    .want_write = chan_want_write,
    .shutdown_write = chan_shutdown_write,
    .close = chan_close,
};
