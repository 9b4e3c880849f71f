/* SPDX-License-Identifier: MIT */
/*
 * Packets are parsed in place in `in`.  DATA goes to the channel's socket at once; bytes that the socket
 * does not take wait in the channel's ring, which holds all that the host has credit for.  Output is
 * gathered in `out` and written in large pieces, because each write to a port costs an interrupt.  A packet
 * is handled only while `out` has room for its reply, so nothing is dropped and nothing grows.
 */
#include "mux.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_ROUNDS = 32, PORT_PIECE = 4096 /* the most that a read from a port returns */ };

static uint8_t *map_buffer(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    madvise(p, n, MADV_DONTFORK);
    return p;
}

bool ag_mux_init(struct ag_mux *m, int port_fd)
{
    m->port_fd = port_fd;
    m->lost = true; /* until the first HELLO */
    m->in = map_buffer(AG_MUX_IN);
    m->out = map_buffer(AG_MUX_OUT);
    m->ring = map_buffer((size_t)(PV_MUX_CHANNELS + 1) * PV_MUX_WINDOW);
    for (size_t i = 0; i <= PV_MUX_CHANNELS; i++)
        m->ch[i].fd = -1;
    return m->in && m->out && m->ring;
}

bool ag_mux_drained(const struct ag_mux *m)
{
    return m->out_head == m->out_tail;
}

static uint8_t *ring_of(struct ag_mux *m, const struct ag_channel *c)
{
    return m->ring + (size_t)(c - m->ch) * PV_MUX_WINDOW;
}

/* ---- output ---- */

/* Bytes free at the tail of `out`. */
static size_t out_room(struct ag_mux *m)
{
    if (m->out_head == m->out_tail)
        m->out_head = m->out_tail = 0;
    if (m->out_head && AG_MUX_OUT - m->out_tail < PV_MUX_HEADER + PV_MUX_MAX) {
        memmove(m->out, m->out + m->out_head, m->out_tail - m->out_head);
        m->out_tail -= m->out_head;
        m->out_head = 0;
    }
    return AG_MUX_OUT - m->out_tail;
}

/* Queues a packet with a payload of at most 28 bytes; callers have checked out_room(). */
static void put_packet(struct ag_mux *m, unsigned type, const struct ag_channel *c, const void *payload,
                       size_t n)
{
    uint8_t *p = m->out + m->out_tail;

    if (out_room(m) < PV_MUX_HEADER + n)
        return; /* never: see above */
    p = m->out + m->out_tail;
    pv_mux_put_header(p, type, c ? (uint16_t)(c - m->ch) : 0, (uint32_t)n);
    if (n)
        memcpy(p + PV_MUX_HEADER, payload, n);
    m->out_tail += PV_MUX_HEADER + n;
}

/* Queues a packet with a u32 as payload. */
static void put_word(struct ag_mux *m, unsigned type, const struct ag_channel *c, uint32_t word)
{
    uint8_t p[4];

    pv_mux_put_u32(p, word);
    put_packet(m, type, c, p, sizeof(p));
}

static void write_out(struct ag_mux *m)
{
    m->stuck = false;
    while (m->out_head < m->out_tail) {
        ssize_t n = write(m->port_fd, m->out + m->out_head, m->out_tail - m->out_head);

        /* The kernel copies the data and may find memory for a page, but not for all of it. */
        if (n < 0 && (errno == ENOMEM || errno == ENOSPC) && m->out_tail - m->out_head > 4096)
            n = write(m->port_fd, m->out + m->out_head, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            m->stuck = n == 0 || errno != EAGAIN;
            return;
        }
        m->out_head += (size_t)n;
    }
}

/* ---- channels ---- */

static void channel_close(struct ag_mux *m, struct ag_channel *c, int state)
{
    if (c->fd >= 0)
        close(c->fd);
    if (c->touched)
        madvise(ring_of(m, c), PV_MUX_WINDOW, MADV_DONTNEED);
    *c = (struct ag_channel){.fd = -1, .state = state, .granted = c->granted};
}

/* Sends CREDIT once PV_MUX_GRANT bytes were taken and `out` has room; else a later turn does. */
static void grant_credit(struct ag_mux *m, struct ag_channel *c)
{
    if (c->state != AG_CH_OPEN || c->taken < PV_MUX_GRANT || m->resting ||
        out_room(m) < AG_MUX_SMALL + PV_MUX_HEADER + 4)
        return;
    put_word(m, PV_MUX_CREDIT, c, c->taken);
    c->granted += c->taken;
    c->taken = 0;
}

/* Sends to the channel's socket; returns the bytes that it took.  A socket that has failed takes all. */
static size_t deliver_data(struct ag_channel *c, const uint8_t *p, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r = send(c->fd, p + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 && (errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS))
            break;
        if (r < 0)
            return n;
        done += (size_t)r;
    }
    return done;
}

static void drain_ring(struct ag_mux *m, struct ag_channel *c)
{
    while (c->fill) {
        uint32_t piece = PV_MUX_WINDOW - c->at < c->fill ? PV_MUX_WINDOW - c->at : c->fill;
        size_t n = deliver_data(c, ring_of(m, c) + c->at, piece);

        c->at = (uint32_t)(c->at + n) % PV_MUX_WINDOW;
        c->fill -= (uint32_t)n;
        c->taken += (uint32_t)n;
        if (n < piece)
            break;
    }
    grant_credit(m, c);
}

static bool take_data(struct ag_mux *m, struct ag_channel *c, const uint8_t *p, uint32_t n)
{
    if (c->state == AG_CH_FREE)
        return true; /* the channel was refused */
    if (n > c->granted)
        return false;
    c->granted -= n;
    if (c->state == AG_CH_ENDED)
        return true;
    size_t done = c->fill ? 0 : deliver_data(c, p, n);

    c->taken += (uint32_t)done;
    for (; done < n;) { /* the ring has room: n was granted */
        uint32_t tail = (c->at + c->fill) % PV_MUX_WINDOW;
        uint32_t piece = PV_MUX_WINDOW - tail < n - done ? PV_MUX_WINDOW - tail : (uint32_t)(n - done);

        memcpy(ring_of(m, c) + tail, p + done, piece);
        c->touched = true;
        c->fill += piece;
        done += piece;
    }
    grant_credit(m, c);
    return true;
}

static bool take_open(struct ag_mux *m, struct ag_channel *c, uint32_t port)
{
    if (c->state != AG_CH_FREE)
        return false;
    int fd = m->open(m->arg, port);

    if (fd < 0) {
        put_word(m, PV_MUX_REFUSED, c, (uint32_t)errno);
        return true;
    }
    if (m->top < (unsigned)(c - m->ch))
        m->top = (unsigned)(c - m->ch);
    *c =
        (struct ag_channel){.state = AG_CH_OPEN, .fd = fd, .credit = PV_MUX_WINDOW, .granted = PV_MUX_WINDOW};
    put_packet(m, PV_MUX_OPENED, c, NULL, 0);
    return true;
}

static void take_close(struct ag_mux *m, struct ag_channel *c)
{
    if (c->state == AG_CH_OPEN)
        put_packet(m, PV_MUX_CLOSE, c, NULL, 0);
    channel_close(m, c, AG_CH_FREE);
}

/* Queues output of the session, at most one packet. */
static void take_output(struct ag_mux *m, struct ag_channel *c)
{
    size_t room = out_room(m), want = c->credit < PV_MUX_MAX ? c->credit : PV_MUX_MAX;

    if (room < 2 * AG_MUX_SMALL + PV_MUX_HEADER + 1 || !want)
        return;
    if (want > room - 2 * AG_MUX_SMALL - PV_MUX_HEADER)
        want = room - 2 * AG_MUX_SMALL - PV_MUX_HEADER;
    uint8_t *p = m->out + m->out_tail;
    ssize_t n = recv(c->fd, p + PV_MUX_HEADER, want, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        put_packet(m, PV_MUX_CLOSE, c, NULL, 0);
        channel_close(m, c, AG_CH_ENDED);
        return;
    }
    pv_mux_put_header(p, PV_MUX_DATA, (uint16_t)(c - m->ch), (uint32_t)n);
    m->out_tail += PV_MUX_HEADER + (size_t)n;
    c->credit -= (uint32_t)n;
}

/* ---- input ---- */

static void take_hello(struct ag_mux *m, const uint8_t *payload)
{
    uint8_t reply[PV_MUX_NONCE + 4];

    for (size_t i = 1; i <= PV_MUX_CHANNELS; i++)
        if (m->ch[i].state != AG_CH_FREE)
            channel_close(m, &m->ch[i], AG_CH_FREE);
    m->out_head = m->out_tail = m->top = 0;
    m->lost = m->quiesce = m->resting = false;
    if (m->reset)
        m->reset(m->arg);
    memcpy(reply, payload, PV_MUX_NONCE);
    pv_mux_put_u32(reply + PV_MUX_NONCE, PV_MUX_VERSION);
    put_packet(m, PV_MUX_HELLO, NULL, reply, sizeof(reply));
}

/* False: the packet is a fault. */
static bool take_packet(struct ag_mux *m, const struct pv_mux_header *h, const uint8_t *payload)
{
    struct ag_channel *c = &m->ch[h->channel];
    uint32_t word = h->length >= 4 ? pv_mux_u32(payload) : 0;

    if (m->quiesce && h->type != PV_MUX_WAKE && h->type != PV_MUX_HELLO)
        return false;
    switch (h->type) {
    case PV_MUX_HELLO:
        take_hello(m, payload);
        return true;
    case PV_MUX_OPEN:
        return take_open(m, c, word);
    case PV_MUX_DATA:
        return take_data(m, c, payload, h->length);
    case PV_MUX_CREDIT:
        if (c->state == AG_CH_OPEN) {
            if (word > PV_MUX_WINDOW - c->credit)
                return false;
            c->credit += word;
        }
        return true;
    case PV_MUX_CLOSE:
        take_close(m, c);
        return true;
    case PV_MUX_QUIESCE:
        m->quiesce = true;
        m->idle = word & PV_MUX_IDLE;
        m->quiesce_number = pv_mux_u32(payload + 4);
        return true;
    case PV_MUX_WAKE:
        m->quiesce = m->resting = false;
        return true;
    default:
        return false;
    }
}

/*
 * After a malformed packet, or one cut off where the machine was saved: closes all channels, waits for
 * HELLO.
 */
static void enter_fault(struct ag_mux *m)
{
    static const uint8_t nothing[PV_MUX_HEADER]; /* not a packet: tells the host of the fault */

    for (size_t i = 1; i <= PV_MUX_CHANNELS; i++)
        channel_close(m, &m->ch[i], AG_CH_FREE);
    m->lost = true;
    m->quiesce = m->resting = false;
    m->out_head = m->out_tail = 0;
    memcpy(m->out, nothing, sizeof(nothing));
    m->out_tail = sizeof(nothing);
}

/* The next offset at which a HELLO may begin. */
static size_t find_hello(const struct ag_mux *m, size_t off)
{
    uint8_t want[PV_MUX_HEADER];

    pv_mux_put_header(want, PV_MUX_HELLO, 0, PV_MUX_NONCE + 4);
    while (m->in_len - off >= sizeof(want) && memcmp(m->in + off, want, sizeof(want)))
        off++;
    return off;
}

/* Handles all complete packets while `out` has room for replies.  True when it had not. */
static bool take_packets(struct ag_mux *m)
{
    size_t off = 0;
    bool full = false;

    for (;;) {
        struct pv_mux_header h;

        if (m->lost)
            off = find_hello(m, off);
        if (m->in_len - off < PV_MUX_HEADER)
            break;
        full = out_room(m) < AG_MUX_SMALL;
        if (full)
            break;
        const char *bad = pv_mux_header(m->in + off, &h);

        if (!bad && m->in_len - off - PV_MUX_HEADER < h.length)
            break;
        if (bad || !take_packet(m, &h, m->in + off + PV_MUX_HEADER)) {
            enter_fault(m);
            off++; /* find_hello() must not find it again */
            continue;
        }
        off += PV_MUX_HEADER + h.length;
    }
    if (off) {
        memmove(m->in, m->in + off, m->in_len - off);
        m->in_len -= off;
    }
    return full;
}

static void read_port(struct ag_mux *m)
{
    for (int i = 0; i < READ_ROUNDS && m->in_len < AG_MUX_IN; i++) {
        ssize_t n = read(m->port_fd, m->in + m->in_len, AG_MUX_IN - m->in_len);

        if (n < 0 && errno == EINTR)
            continue;
        m->off = n == 0 || (n < 0 && errno != EAGAIN);
        if (n <= 0)
            break;
        m->in_len += (size_t)n;
        if (n < PORT_PIECE) /* probably all; poll() reports the rest */
            break;
    }
    take_packets(m);
}

/* ---- one turn ---- */

size_t ag_mux_poll(struct ag_mux *m, struct pollfd *p, uint16_t *channels)
{
    bool out = !ag_mux_drained(m), room = out_room(m) >= 2 * AG_MUX_SMALL + PV_MUX_HEADER + 4096;
    size_t n = 1;

    p[0] = (struct pollfd){.fd = m->off ? -1 : m->port_fd,
                           .events =
                               (short)((m->in_len < AG_MUX_IN && out_room(m) >= AG_MUX_SMALL ? POLLIN : 0) |
                                       (out && !m->stuck ? POLLOUT : 0))};
    for (size_t i = 1; i <= m->top; i++) {
        const struct ag_channel *c = &m->ch[i];
        int events = (!m->quiesce && room && c->credit ? POLLIN : 0) | (c->fill ? POLLOUT : 0);

        if (c->state != AG_CH_OPEN || !events)
            continue;
        channels[n] = (uint16_t)i;
        p[n++] = (struct pollfd){.fd = c->fd, .events = (short)events};
    }
    return n;
}

void ag_mux_turn(struct ag_mux *m, const struct pollfd *p, const uint16_t *channels, size_t n)
{
    size_t first = n > 1 ? m->turn++ % (n - 1) : 0;

    if (m->off || p[0].revents & ~POLLOUT)
        read_port(m);
    for (size_t i = 0; i + 1 < n; i++) { /* starts with another channel in each turn */
        size_t k = 1 + (first + i) % (n - 1);
        struct ag_channel *c = &m->ch[channels[k]];

        if (!p[k].revents || c->state != AG_CH_OPEN || c->fd != p[k].fd)
            continue;
        if (c->fill)
            drain_ring(m, c);
        if (p[k].events & POLLIN && !m->quiesce)
            take_output(m, c);
    }
    write_out(m);
    if (take_packets(m)) /* waited for room in `out` */
        return;
    for (size_t i = 1; i <= m->top; i++)
        grant_credit(m, &m->ch[i]);
    write_out(m);
}

void ag_mux_quiesced(struct ag_mux *m)
{
    put_word(m, PV_MUX_QUIESCED, NULL, m->quiesce_number);
    m->resting = true;
    write_out(m);
}

void ag_mux_forget(struct ag_mux *m)
{
    close(m->port_fd);
    for (size_t i = 1; i <= PV_MUX_CHANNELS; i++)
        if (m->ch[i].fd >= 0)
            close(m->ch[i].fd);
}
