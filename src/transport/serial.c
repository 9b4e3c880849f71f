/* SPDX-License-Identifier: MIT */
/*
 * One socket to QEMU, which hands its bytes to the guest's port and back.  Input is cut into packets in
 * place, each checked before anything is done about it; a channel's DATA is copied into its ring, which the
 * guest can not run over because it was granted no more.  Output goes straight to the socket; what that does
 * not take waits in `out`: at most one packet of DATA, and PV_SERIAL_OUT_MAX bytes of small packets.
 */
#include "transport/serial.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "transport/serial-dev.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/sock.h"

enum { MAX_ROUNDS = 8, SOCKET_BUFFER = 1 << 20 };

static struct serial *serial_of(struct pv_channel *c)
{
    return PV_CONTAINER_OF(c, struct serial, c);
}

static size_t serial_queued(const struct serial *d)
{
    return d->out.len - d->out_off;
}

/* ---- its life ---- */

void pv_serial_enter(struct serial *d)
{
    d->busy++;
}

static void serial_destroy(struct serial *d)
{
    pv_timer_cancel(d->loop, &d->again);
    pv_loop_del(d->loop, &d->w);
    pv_close(&d->fd);
    pv_close(&d->c.qemu_fd);
    pv_buf_free(&d->out);
    free(d->in);
    free(d);
}

void pv_serial_leave(struct serial *d)
{
    if (--d->busy)
        return;
    for (struct chan **p = &d->all; d->sweep && *p;) {
        struct chan *c = *p;

        if (c->state != CHAN_OVER || !c->closed) {
            p = &c->next;
            continue;
        }
        *p = c->next;
        pv_chan_free(c);
    }
    d->sweep = false;
    if (d->freed)
        serial_destroy(d);
}

void pv_serial_later(struct serial *d)
{
    if (!d->freed)
        pv_timer_arm(d->loop, &d->again, pv_now());
}

/* Breaks the channel; its owners are told later, from the loop. */
static void serial_fail(struct serial *d, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void serial_fail(struct serial *d, int error, const char *fmt, ...)
{
    va_list ap;

    if (d->c.error)
        return;
    d->c.error = error;
    va_start(ap, fmt);
    vsnprintf(d->c.error_text, sizeof(d->c.error_text), fmt, ap);
    va_end(ap);
    pv_debug("serial", "broken: %s", d->c.error_text);
    pv_loop_del(d->loop, &d->w);
    if (!d->port_closed)
        pv_close(&d->fd);
    d->out.len = d->out_off = 0;
    for (size_t i = 1; i <= PV_MUX_CHANNELS; i++)
        if (d->chan[i])
            pv_chan_break(d->chan[i], error);
    d->change = true;
    pv_serial_later(d);
}

/* The only place that calls owners. */
static void serial_settle(struct serial *d)
{
    for (struct chan *c = d->all; c; c = c->next) {
        if (!c->event || c->closed)
            continue;
        c->event = false;
        if (c->s.on_event)
            c->s.on_event(&c->s, c->s.arg);
        if (d->freed) /* and c with it, maybe */
            return;
    }
    if (d->change) {
        d->change = false;
        if (d->c.on_change)
            d->c.on_change(&d->c, d->c.arg);
    }
}

/* ---- to the guest ---- */

/* Watches for room while output waits that is not held back. */
static void serial_watch_out(struct serial *d)
{
    bool waits = d->rest.held ? d->out_off < d->rest.out_end : serial_queued(d) > 0;
    uint32_t events = EPOLLIN | (waits ? (uint32_t)EPOLLOUT : 0U);

    if (d->w.fd >= 0 && d->w.events != events)
        pv_loop_set(d->loop, &d->w, events);
}

/* Writes the output that is not held back, as far as the socket takes it. */
static void serial_flush(struct serial *d)
{
    size_t end = d->rest.held ? d->rest.out_end : d->out.len;

    while (d->fd >= 0 && d->out_off < end) {
        ssize_t n = send(d->fd, d->out.data + d->out_off, end - d->out_off, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            serial_fail(d, errno, "QEMU closed the guest's serial port (%s)", strerror(errno));
        if (n <= 0)
            break;
        d->out_off += (size_t)n;
    }
    if (serial_queued(d) == 0) {
        d->out.len = d->out_off = d->rest.out_end = 0;
        for (struct chan *c = d->all; c && !d->rest.held; c = c->next)
            if (c->want_write && !c->closed && pv_chan_writable(c)) {
                c->event = true;
                pv_serial_later(d);
            }
    }
    serial_watch_out(d);
}

void pv_serial_packet(struct serial *d, unsigned type, uint16_t channel, uint32_t word)
{
    bool bare = type == PV_MUX_CLOSE || type == PV_MUX_WAKE;
    uint8_t p[PV_MUX_HEADER + 4];

    if (d->c.error)
        return;
    /* A packet of credit for each DATA that a guest sends, which reads none of them. */
    if (serial_queued(d) > PV_SERIAL_OUT_MAX) {
        serial_fail(d, EPROTO, "the guest sends and does not read: %zu bytes wait for it", serial_queued(d));
        return;
    }
    pv_mux_put_header(p, type, channel, bare ? 0 : 4);
    pv_mux_put_u32(p + PV_MUX_HEADER, word);
    pv_buf_add(&d->out, p, bare ? PV_MUX_HEADER : PV_MUX_HEADER + 4);
    serial_flush(d);
}

bool pv_serial_has_room(const struct serial *d)
{
    return !d->c.error && !d->rest.held && serial_queued(d) == 0;
}

void pv_serial_data(struct serial *d, uint16_t channel, const void *data, uint32_t n)
{
    uint8_t header[PV_MUX_HEADER];
    struct iovec iov[2] = {{header, sizeof(header)}, {(void *)data, n}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t r;

    pv_mux_put_header(header, PV_MUX_DATA, channel, n);
    do
        r = sendmsg(d->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    if (r == (ssize_t)(sizeof(header) + n))
        return;
    if (r < 0)
        r = 0; /* serial_flush() reports the error */
    if (r < (ssize_t)sizeof(header))
        pv_buf_add(&d->out, header + r, sizeof(header) - (size_t)r);
    r -= r < (ssize_t)sizeof(header) ? r : (ssize_t)sizeof(header);
    pv_buf_add(&d->out, (const uint8_t *)data + r, n - (size_t)r);
    serial_flush(d);
}

/* ---- from the guest ---- */

/* Drops bytes up to the reply to our HELLO. Returns how many, the reply included; then d->greeted is set. */
static size_t serial_find_hello(struct serial *d)
{
    size_t n = sizeof(d->hello), at = 0;

    while (d->in_len - at >= n) {
        uint8_t *p = memchr(d->in + at, d->hello[0], d->in_len - at - n + 1);

        if (!p) {
            at = d->in_len - n + 1;
            break;
        }
        at = (size_t)(p - d->in);
        if (!memcmp(p, d->hello, n)) {
            d->greeted = d->change = true;
            pv_serial_later(d);
            if (at || d->stale)
                pv_debug("serial", "%zu stale bytes dropped", d->stale + at);
            return at + n;
        }
        at++;
    }
    d->stale += at;
    if (d->stale > PV_SERIAL_STALE_MAX)
        serial_fail(d, EPROTO, "the guest sent %zu bytes and no answer to the greeting", d->stale);
    return at;
}

static const char *serial_on_quiesced(struct serial *d, uint32_t number)
{
    if (number <= d->rest.reached || number > d->rest.asked)
        return "an answer to no QUIESCE";
    d->rest.reached = number;
    if (number == d->rest.asked && d->rest.held) {
        d->change = true;
        pv_serial_later(d);
    }
    return NULL;
}

static bool serial_quiesced(const struct pv_channel *c)
{
    const struct serial *d = PV_CONTAINER_OF((struct pv_channel *)c, struct serial, c);

    return !c->error && d->rest.held && d->rest.reached == d->rest.asked;
}

/* NULL, or the fault as static text. */
static const char *serial_on_packet(struct serial *d, const struct pv_mux_header *h, const uint8_t *payload)
{
    if (serial_quiesced(&d->c))
        return "a packet while it was at rest";
    if (h->type == PV_MUX_QUIESCED)
        return serial_on_quiesced(d, pv_mux_u32(payload));
    if (h->type == PV_MUX_HELLO)
        return "a second greeting";
    if (h->channel == 0)
        return "a packet that only the host may send";
    if (!d->chan[h->channel])
        return "a packet for a channel that is not open";
    return pv_chan_packet(d->chan[h->channel], h, payload);
}

/* Handles complete packets; the rest of the input moves to the front. */
static void serial_cut_packets(struct serial *d)
{
    size_t off = d->greeted ? 0 : serial_find_hello(d);
    struct pv_mux_header h;

    while (d->greeted && !d->c.error && d->in_len - off >= PV_MUX_HEADER) {
        const char *why = pv_mux_header(d->in + off, &h);

        if (!why && d->in_len - off - PV_MUX_HEADER < h.length)
            break;
        if (!why)
            why = serial_on_packet(d, &h, d->in + off + PV_MUX_HEADER);
        if (why) {
            const char *name = pv_mux_name(h.type);

            serial_fail(d, EPROTO, "the guest sent %s (type 0x%02x %s, channel %u, %u bytes)", why, h.type,
                        name ? name : "unknown", h.channel, h.length);
            break;
        }
        off += PV_MUX_HEADER + h.length;
    }
    memmove(d->in, d->in + off, d->in_len - off);
    d->in_len -= off;
}

static void serial_read_input(struct serial *d)
{
    for (int rounds = 0; rounds < MAX_ROUNDS && !d->c.error; rounds++) {
        ssize_t n = pv_recv(d->fd, d->in + d->in_len, PV_SERIAL_IN - d->in_len);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            int e = n < 0 ? errno : ECONNRESET;

            serial_fail(d, e, "QEMU closed the guest's serial port (%s)", strerror(e));
            return;
        }
        d->in_len += (size_t)n;
        serial_cut_packets(d);
    }
}

static void serial_on_fd(struct pv_watch *w, uint32_t events)
{
    struct serial *d = PV_CONTAINER_OF(w, struct serial, w);

    pv_serial_enter(d);
    if (events & EPOLLOUT)
        serial_flush(d);
    if (events & ~(uint32_t)EPOLLOUT)
        serial_read_input(d);
    serial_settle(d);
    pv_serial_leave(d);
}

static void serial_on_again(struct pv_timer *t)
{
    struct serial *d = PV_CONTAINER_OF(t, struct serial, again);

    pv_serial_enter(d);
    serial_settle(d);
    pv_serial_leave(d);
}

/* ---- rest ---- */

static void serial_wake(struct pv_channel *c)
{
    struct serial *d = serial_of(c);
    cleanup_buf struct pv_buf rest = {0};

    if (!d->rest.held || c->error)
        return;
    /* WAKE is sent before the bytes that were held back. */
    pv_buf_add(&rest, d->out.data + d->rest.out_end, d->out.len - d->rest.out_end);
    d->out.len = d->rest.out_end;
    d->rest.held = false;
    pv_serial_packet(d, PV_MUX_WAKE, 0, 0);
    pv_buf_add(&d->out, rest.data, rest.len);
    serial_flush(d);
}

static void serial_quiesce(struct pv_channel *c, bool idle)
{
    struct serial *d = serial_of(c);
    uint8_t p[PV_MUX_HEADER + 8];

    if (c->error)
        return;
    for (struct chan *chan = d->all; chan && idle; chan = chan->next)
        assert(chan->closed || chan->state == CHAN_OVER);
    serial_wake(c);
    pv_mux_put_header(p, PV_MUX_QUIESCE, 0, 8);
    pv_mux_put_u32(p + PV_MUX_HEADER, idle ? PV_MUX_IDLE : 0);
    pv_mux_put_u32(p + PV_MUX_HEADER + 4, ++d->rest.asked);
    pv_buf_add(&d->out, p, sizeof(p));
    d->rest.held = true;
    d->rest.out_end = d->out.len;
    serial_flush(d);
}

void pv_serial_closed(void *arg)
{
    struct serial *d = serial_of(arg);

    /* QEMU delays this event by up to a second: it may tell of the agent before the restart. */
    if (d->c.error || (d->restarted && !d->greeted))
        return;
    d->port_closed = true;
    serial_fail(d, ECONNRESET, "the agent has closed its port: it is gone");
}

/* ---- as a channel ---- */

static struct pv_stream *serial_connect(struct pv_channel *c, unsigned port, struct pv_err *err)
{
    struct serial *d = serial_of(c);
    struct chan *chan;

    if (c->error) {
        pv_err_set(err, PV_E_PROTOCOL, "the guest's serial port broke: %s", c->error_text);
        return NULL;
    }
    chan = pv_chan_new(d, port);
    if (!chan) {
        pv_err_set(err, PV_E_HOST, "%d connections to a guest are open already", PV_MUX_CHANNELS);
        return NULL;
    }
    return &chan->s;
}

static bool serial_ready(struct pv_channel *c)
{
    return serial_of(c)->greeted && !c->error;
}

static const char *serial_describe(struct pv_channel *c)
{
    (void)c;
    return "nothing answers on its virtio-serial port";
}

static void serial_free(struct pv_channel *c)
{
    struct serial *d = serial_of(c);

    pv_serial_enter(d);
    d->freed = true;
    while (d->all) {
        struct chan *chan = d->all;

        d->all = chan->next;
        pv_chan_orphan(chan);
    }
    pv_timer_cancel(d->loop, &d->again);
    pv_serial_leave(d);
}

/* HELLO with a nonce that no older greeting can have had. */
static int serial_say_hello(struct serial *d, struct pv_err *err)
{
    uint8_t *nonce = d->hello + PV_MUX_HEADER;

    if (getrandom(nonce, PV_MUX_NONCE, 0) != PV_MUX_NONCE)
        return pv_err_sys(err, errno, "cannot get random bytes");
    pv_mux_put_header(d->hello, PV_MUX_HELLO, 0, PV_MUX_NONCE + 4);
    pv_mux_put_u32(nonce + PV_MUX_NONCE, PV_MUX_VERSION);
    pv_buf_add(&d->out, d->hello, sizeof(d->hello));
    serial_flush(d);
    return 0;
}

/*
 * Drops what the agents of before have sent, as far as it has come: more than the socket holds, so that a guest which
 * goes on sending does not keep the host here.  serial_find_hello skips what is left.
 */
static void serial_drop_input(struct serial *d)
{
    for (int i = 0; i < MAX_ROUNDS && pv_recv(d->fd, d->in, PV_SERIAL_IN) > 0; i++)
        ;
    d->in_len = 0;
}

int pv_serial_restart(struct pv_channel *c, struct pv_err *err)
{
    struct serial *d = serial_of(c);

    if (c->error && !d->port_closed)
        return pv_err_set(err, PV_E_PROTOCOL, "the guest's serial port broke before: %s", c->error_text);
    pv_serial_enter(d);
    c->error = 0;
    c->error_text[0] = '\0';
    d->port_closed = d->greeted = d->rest.held = false;
    d->restarted = true;
    d->stale = 0;
    for (struct chan *chan = d->all; chan; chan = chan->next)
        pv_chan_reset(chan);
    d->out.len = d->out_off = d->rest.out_end = 0;
    serial_drop_input(d);
    pv_serial_leave(d);
    if (d->w.fd < 0 && pv_loop_add(d->loop, &d->w, d->fd, EPOLLIN, err) < 0)
        return -1;
    return serial_say_hello(d, err);
}

struct pv_channel *pv_serial_new(struct pv_loop *loop, struct pv_err *err)
{
    static const struct pv_channel_ops ops = {
        .connect = serial_connect,
        .ready = serial_ready,
        .quiesce = serial_quiesce,
        .quiesced = serial_quiesced,
        .wake = serial_wake,
        .describe = serial_describe,
        .free = serial_free,
    };
    struct serial *d = pv_xcalloc(1, sizeof(*d));
    const int size = SOCKET_BUFFER;
    int fds[2] = {-1, -1};

    d->c.ops = &ops;
    d->c.kind = PV_CHANNEL_SERIAL;
    d->c.savable = true;
    d->loop = loop;
    d->again.fn = serial_on_again;
    d->w.fn = serial_on_fd;
    d->w.fd = -1;
    d->in = pv_xmalloc(PV_SERIAL_IN);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        pv_err_sys(err, errno, "cannot make a socket pair for the guest's serial port");
    d->fd = fds[0];
    d->c.qemu_fd = fds[1];
    /* Fewer turns of the loop for a large message; the kernel may grant less. */
    for (int i = 0; i < 2; i++)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    if (d->fd < 0 || pv_loop_add(loop, &d->w, d->fd, EPOLLIN, err) < 0 || serial_say_hello(d, err) < 0) {
        serial_destroy(d);
        return NULL;
    }
    return &d->c;
}
