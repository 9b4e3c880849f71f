/* SPDX-License-Identifier: MIT */
/*
 * One turn of the device (work) is: send what is owed, take packets from the guest (a bounded number), tell
 * owners, send what they made us owe, and at the very end signal the guest, once per ring.
 *
 * Kicks are off on the transmit ring while packets are being taken, and on the receive ring except when
 * somebody waits for a buffer.  What does not fit on the receive ring is not queued: control packets are
 * flags of their connection, resets for unknown connections have a small queue, and when that is full the
 * transmit ring is left alone until the guest gives receive buffers.
 */
#include "vhost/vsock.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "vhost/vhost.h"

_Static_assert(sizeof(struct virtio_vsock_hdr) == PV_VSOCK_HEADER, "the header is packed");

static const struct pv_vsock_ops vsock_ops;

static struct pv_vring *ring_of(struct vsock_dev *d, unsigned i)
{
    return &d->vu.q[i].ring;
}

static bool rings_run(const struct vsock_dev *d)
{
    return !d->v.error && d->vu.q[RING_RX].running && d->vu.q[RING_TX].running;
}

/* ---- life and death ---- */

static void dev_break(struct vsock_dev *d, int error, const char *text)
{
    if (d->v.error)
        return;
    pv_debug("vsock", "device of CID %u is broken: %s", d->v.cid, text);
    d->v.error = error;
    snprintf(d->v.error_text, sizeof(d->v.error_text), "%s", text);
    d->driver_up = false;
    d->change = true;
    for (unsigned i = 0; i < d->n_conns; i++)
        pv_vsock_conn_break(d->conn[i], ECONNRESET);
    pv_vsock_later(d);
}

/* Lets go of QEMU and of the guest's memory. */
static void disconnect(struct vsock_dev *d)
{
    for (unsigned i = 0; i < PV_VU_QUEUES; i++)
        pv_loop_del(d->loop, &d->kick[i].w);
    pv_loop_del(d->loop, &d->vu_watch);
    pv_vu_fini(&d->vu);
}

static void signal_ring(struct vsock_dev *d, unsigned i)
{
    static const uint64_t one = 1;
    struct pv_vu_queue *q = &d->vu.q[i];

    if (q->running && q->call >= 0 && pv_vring_wants_signal(&q->ring)) {
        /* An eventfd that is full (EAGAIN) is signalled already. */
        if (write(q->call, &one, sizeof(one)) < 0 && errno != EAGAIN)
            dev_break(d, EIO, "cannot signal the guest through QEMU's eventfd");
    }
}

/* Frees connections that their owner closed and that owe nothing more. */
static void reap(struct vsock_dev *d)
{
    for (unsigned i = 0; i < d->n_conns;) {
        struct vsock_conn *c = d->conn[i];

        if (c->state == CONN_OVER && c->closed && (c->owed == 0 || d->v.error)) {
            d->conn[i] = d->conn[--d->n_conns];
            if (d->last == c)
                d->last = NULL;
            pv_vsock_conn_free(c);
        } else {
            i++;
        }
    }
}

void pv_vsock_enter(struct vsock_dev *d)
{
    d->busy++;
}

void pv_vsock_leave(struct vsock_dev *d)
{
    d->signal_rx |= pv_vring_publish(ring_of(d, RING_RX));
    d->signal_tx |= pv_vring_publish(ring_of(d, RING_TX));
    if (d->busy > 1) {
        d->busy--;
        return;
    }
    /* The receive ring first: somebody waits for that; the other only gives buffers back. */
    if (d->signal_rx)
        signal_ring(d, RING_RX);
    if (d->signal_tx)
        signal_ring(d, RING_TX);
    d->signal_rx = d->signal_tx = false;
    if (d->v.error && d->vu.fd >= 0)
        disconnect(d);
    reap(d);
    d->busy--;
    if (d->freed)
        free(d);
}

void pv_vsock_later(struct vsock_dev *d)
{
    if (d->again.due == 0)
        pv_timer_arm(d->loop, &d->again, pv_now());
}

/* ---- to the guest ---- */

bool pv_vsock_has_room(struct vsock_dev *d)
{
    struct pv_vring *r = ring_of(d, RING_RX);

    if (!rings_run(d))
        return false;
    if (pv_vring_more(r))
        return true;
    d->rx_empty = true;
    pv_vring_kicks(r, true);
    return pv_vring_more(r);
}

/* One packet: payload bytes sent, or -1 when there is no receive buffer (or no device any more). */
static int64_t send_packet(struct vsock_dev *d, struct virtio_vsock_hdr *h, const uint8_t *data, uint32_t n)
{
    struct pv_vring *r = ring_of(d, RING_RX);
    const char *why;
    int got;

    if (!pv_vsock_has_room(d))
        return -1;
    got = pv_vring_pop(r, &d->vu.mem, true, &d->chain, &why);
    if (got < 0)
        dev_break(d, EIO, why);
    if (got <= 0)
        return -1;
    if (d->chain.len < PV_VSOCK_HEADER + (n > 0 ? 1U : 0U)) {
        dev_break(d, EIO, "guest gave a receive buffer that is too small for a packet");
        return -1;
    }
    if (n > d->chain.len - PV_VSOCK_HEADER)
        n = (uint32_t)(d->chain.len - PV_VSOCK_HEADER);
    h->src_cid = htole64(2); /* the host */
    h->dst_cid = htole64(d->v.cid);
    h->len = htole32(n);
    pv_vchain_write(&d->chain, 0, h, PV_VSOCK_HEADER);
    if (n)
        pv_vchain_write(&d->chain, PV_VSOCK_HEADER, data, n);
    pv_vring_push(r, d->chain.head, PV_VSOCK_HEADER + n);
    return n;
}

static int64_t send_for(struct vsock_dev *d, struct vsock_conn *c, unsigned op, uint32_t flags,
                        const uint8_t *data, uint32_t n)
{
    struct virtio_vsock_hdr h = {.src_port = htole32(c->host_port),
                                 .dst_port = htole32(c->guest_port),
                                 .type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
                                 .op = htole16((uint16_t)op),
                                 .flags = htole32(flags),
                                 .buf_alloc = htole32(PV_VSOCK_BUF),
                                 .fwd_cnt = htole32(c->fwd)};
    int64_t r = send_packet(d, &h, data, n);

    if (r < 0)
        return -1;
    c->fwd_told = c->fwd;
    c->owed &= ~(unsigned)OWE_CREDIT; /* every header tells */
    return r;
}

uint32_t pv_vsock_send_data(struct vsock_dev *d, struct vsock_conn *c, const uint8_t *data, uint32_t n)
{
    int64_t r = send_for(d, c, VIRTIO_VSOCK_OP_RW, 0, data, n);

    return r > 0 ? (uint32_t)r : 0;
}

bool pv_vsock_flush(struct vsock_dev *d, struct vsock_conn *c)
{
    static const struct {
        unsigned bit, op;
    } order[] = {
        {OWE_REQUEST, VIRTIO_VSOCK_OP_REQUEST},    {OWE_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE},
        {OWE_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN},  {OWE_RST, VIRTIO_VSOCK_OP_RST},
        {OWE_ASK, VIRTIO_VSOCK_OP_CREDIT_REQUEST}, {OWE_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE},
    };

    for (size_t i = 0; i < PV_ARRAY_LEN(order) && c->owed; i++) {
        if (!(c->owed & order[i].bit))
            continue;
        if (send_for(d, c, order[i].op, order[i].bit == OWE_SHUTDOWN ? c->shut : 0, NULL, 0) < 0)
            return false;
        c->owed &= ~order[i].bit;
    }
    return true;
}

static bool flush_rsts(struct vsock_dev *d)
{
    unsigned done = 0;

    while (done < d->n_rsts) {
        struct vsock_rst *rst = &d->rst[done];
        struct virtio_vsock_hdr h = {.src_port = htole32(rst->host_port),
                                     .dst_port = htole32(rst->guest_port),
                                     .type = htole16(rst->type),
                                     .op = htole16(VIRTIO_VSOCK_OP_RST)};

        if (send_packet(d, &h, NULL, 0) < 0)
            break;
        done++;
    }
    if (d->v.error)
        return false;
    d->n_rsts -= done;
    memmove(d->rst, d->rst + done, d->n_rsts * sizeof(d->rst[0]));
    return d->n_rsts < PV_VSOCK_RSTS;
}

static void flush_all(struct vsock_dev *d)
{
    if (!rings_run(d))
        return;
    flush_rsts(d);
    for (unsigned i = 0; i < d->n_conns; i++)
        if (d->conn[i]->owed && !pv_vsock_flush(d, d->conn[i]))
            break;
}

/* ---- from the guest ---- */

static struct vsock_conn *find(struct vsock_dev *d, uint32_t host_port, uint32_t guest_port)
{
    struct vsock_conn *c = d->last;

    if (c && c->state != CONN_OVER && c->host_port == host_port && c->guest_port == guest_port)
        return c;
    for (unsigned i = 0; i < d->n_conns; i++) {
        c = d->conn[i];
        if (c->state != CONN_OVER && c->host_port == host_port && c->guest_port == guest_port)
            return d->last = c;
    }
    return NULL;
}

static struct vsock_listener *listener_of(struct vsock_dev *d, uint32_t port)
{
    for (unsigned i = 0; i < d->n_listeners; i++)
        if (d->listener[i].port == port)
            return &d->listener[i];
    return NULL;
}

static void refuse(struct vsock_dev *d, const struct virtio_vsock_hdr *h)
{
    if (le16toh(h->op) == VIRTIO_VSOCK_OP_RST)
        return;
    /* take_packets takes none unless there is room here. */
    if (d->n_rsts < PV_VSOCK_RSTS)
        d->rst[d->n_rsts++] = (struct vsock_rst){
            .host_port = le32toh(h->dst_port), .guest_port = le32toh(h->src_port), .type = le16toh(h->type)};
}

/* The guest connects to a port of ours. */
static void request(struct vsock_dev *d, const struct virtio_vsock_hdr *h)
{
    uint32_t host_port = le32toh(h->dst_port), guest_port = le32toh(h->src_port);
    struct vsock_conn *c;
    unsigned theirs = 0;

    for (unsigned i = 0; i < d->n_conns; i++)
        theirs += d->conn[i]->from_guest;
    if (!listener_of(d, host_port) || d->n_conns == PV_VSOCK_CONNS || theirs == PV_VSOCK_FROM_GUEST) {
        refuse(d, h);
        return;
    }
    /* A reset still owed to an old connection between the same ports would hit the new one. */
    for (unsigned i = 0; i < d->n_conns; i++)
        if (d->conn[i]->host_port == host_port && d->conn[i]->guest_port == guest_port)
            d->conn[i]->owed = 0;
    c = pv_vsock_conn_new(d, host_port, guest_port, CONN_OPEN);
    c->owed = OWE_RESPONSE;
    c->from_guest = true;
    c->accepted = true;
    c->peer_alloc = le32toh(h->buf_alloc);
    c->peer_fwd = le32toh(h->fwd_cnt);
}

/* The packet in d->chain. */
static void packet(struct vsock_dev *d)
{
    struct virtio_vsock_hdr h;
    struct vsock_conn *c;

    if (pv_vchain_read(&d->chain, 0, &h, sizeof(h)) < sizeof(h)) {
        dev_break(d, EIO, "guest sent a packet that is shorter than its header");
        return;
    }
    /* Not from this guest, or not for this host: dropped, as the kernel's vhost-vsock does. */
    if (le64toh(h.src_cid) != d->v.cid || le64toh(h.dst_cid) != 2)
        return;
    c = le16toh(h.type) == VIRTIO_VSOCK_TYPE_STREAM ? find(d, le32toh(h.dst_port), le32toh(h.src_port))
                                                    : NULL;
    if (c)
        pv_vsock_conn_packet(c, &h);
    else if (le16toh(h.op) == VIRTIO_VSOCK_OP_REQUEST && le16toh(h.type) == VIRTIO_VSOCK_TYPE_STREAM)
        request(d, &h);
    else
        refuse(d, &h);
}

/* True when the guest may have more and others should get their turn first. */
static bool take_packets(struct vsock_dev *d)
{
    struct pv_vring *r = ring_of(d, RING_TX);

    if (!rings_run(d))
        return false;
    pv_vring_kicks(r, false);
    for (unsigned n = 0; n < PV_VSOCK_CHAINS_PER_CALL; n++) {
        const char *why;
        int got;

        /* Stalled until there are receive buffers: no kick wanted here, the receive ring's will come. */
        if (d->n_rsts == PV_VSOCK_RSTS && !flush_rsts(d))
            return false;
        got = pv_vring_pop(r, &d->vu.mem, false, &d->chain, &why);
        if (got < 0) {
            dev_break(d, EIO, why);
            return false;
        }
        if (got == 0) {
            pv_vring_kicks(r, true);
            if (!pv_vring_more(r))
                return false;
            pv_vring_kicks(r, false);
            continue;
        }
        packet(d);
        if (d->v.error)
            return false;
        pv_vring_push(r, d->chain.head, 0);
    }
    return true;
}

/* ---- a turn ---- */

/* The only place from which owners are called. */
static void settle(struct vsock_dev *d)
{
    if (d->change) {
        d->change = false;
        if (d->v.on_change)
            d->v.on_change(&d->v, d->v.arg);
    }
    d->turn++;
    for (unsigned i = 0, n = d->n_conns; i < n && !d->freed; i++) {
        struct vsock_conn *c = d->conn[(i + d->turn) % n];

        if (c->accepted) {
            struct vsock_listener *l = listener_of(d, c->host_port);

            c->accepted = false;
            l->accept(&d->v, &c->s, c->guest_port, l->arg);
            if (d->freed)
                return;
        }
        if (c->closed || !(c->event || (c->want_write && pv_vsock_conn_writable(c))))
            continue;
        c->event = false;
        if (c->s.on_event)
            c->s.on_event(&c->s, c->s.arg);
        if (d->freed)
            return;
        if (!c->closed && c->want_write && pv_vsock_conn_writable(c))
            pv_vsock_later(d);
    }
}

/* The guest's driver is up once it gave receive buffers. */
static void look_at_rx(struct vsock_dev *d)
{
    struct pv_vring *r = ring_of(d, RING_RX);

    if (!rings_run(d) || !pv_vring_more(r))
        return;
    if (!d->driver_up) {
        d->driver_up = true;
        d->change = true;
    }
    d->rx_empty = false;
    pv_vring_kicks(r, false);
}

static void work(struct vsock_dev *d)
{
    bool more;

    look_at_rx(d);
    flush_all(d);
    more = take_packets(d);
    if (pv_vring_publish(ring_of(d, RING_TX)))
        d->signal_tx = true;
    settle(d);
    if (d->freed)
        return;
    flush_all(d);
    if (more)
        pv_vsock_later(d);
}

static void on_again(struct pv_timer *t)
{
    struct vsock_dev *d = PV_CONTAINER_OF(t, struct vsock_dev, again);

    pv_vsock_enter(d);
    work(d);
    pv_vsock_leave(d);
}

static void on_kick(struct pv_watch *w, uint32_t events)
{
    struct vsock_dev *d = ((__typeof__(&d->kick[0]))(void *)w)->d;
    uint64_t count;

    (void)events;
    pv_vsock_enter(d);
    /* Whatever QEMU gave us instead of an eventfd must not spin. */
    if (read(w->fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
        dev_break(d, EIO, "cannot read the eventfd of a ring: it is none");
    work(d);
    pv_vsock_leave(d);
}

static void on_vu(struct pv_watch *w, uint32_t events)
{
    struct vsock_dev *d = PV_CONTAINER_OF(w, struct vsock_dev, vu_watch);

    (void)events;
    pv_vsock_enter(d);
    if (pv_vu_read(&d->vu) < 0)
        dev_break(d, EIO, d->vu.error);
    work(d);
    pv_vsock_leave(d);
}

static void on_ring(struct pv_vu *vu, unsigned index, bool running)
{
    struct vsock_dev *d = PV_CONTAINER_OF(vu, struct vsock_dev, vu);

    if (running) {
        struct pv_err err = PV_ERR_INIT;

        pv_vring_kicks(&vu->q[index].ring, true);
        if (pv_loop_add(d->loop, &d->kick[index].w, vu->q[index].kick, EPOLLIN, &err) < 0)
            dev_break(d, EIO, "cannot watch the eventfd of a ring");
        return;
    }
    pv_loop_del(d->loop, &d->kick[index].w);
    d->driver_up = false;
    d->rx_empty = false;
    d->n_rsts = 0;
    for (unsigned i = 0; i < d->n_conns; i++) {
        pv_vsock_conn_break(d->conn[i], ECONNRESET);
        d->conn[i]->owed = 0; /* the guest that it was owed to is gone */
    }
}

/* ---- the interface ---- */

static struct pv_stream *dev_connect(struct pv_vsock *v, unsigned port, struct pv_err *err)
{
    struct vsock_dev *d = PV_CONTAINER_OF(v, struct vsock_dev, v);
    struct vsock_conn *c;

    if (v->error) {
        pv_err_set(err, PV_E_PROTOCOL, "the guest's vsock device is broken: %s", v->error_text);
        return NULL;
    }
    if (d->n_conns == PV_VSOCK_CONNS) {
        pv_err_set(err, PV_E_USAGE, "more than %d vsock connections with one guest", PV_VSOCK_CONNS);
        return NULL;
    }
    do
        d->next_port = d->next_port >= UINT32_C(0xfffffff0) ? 0x10000 : d->next_port + 1;
    while (find(d, d->next_port, port) || listener_of(d, d->next_port));
    pv_vsock_enter(d);
    c = pv_vsock_conn_new(d, d->next_port, port, CONN_CONNECTING);
    c->owed = OWE_REQUEST;
    pv_vsock_flush(d, c);
    pv_vsock_leave(d);
    return &c->s;
}

static bool dev_ready(struct pv_vsock *v)
{
    return PV_CONTAINER_OF(v, struct vsock_dev, v)->driver_up;
}

static void dev_free(struct pv_vsock *v)
{
    struct vsock_dev *d = PV_CONTAINER_OF(v, struct vsock_dev, v);

    if (d->freed)
        return;
    pv_vsock_enter(d);
    d->freed = true;
    disconnect(d);
    pv_timer_cancel(d->loop, &d->again);
    pv_close(&v->qemu_fd);
    for (unsigned i = 0; i < d->n_conns; i++) {
        struct vsock_conn *c = d->conn[i];

        pv_vsock_conn_break(c, ECONNRESET);
        c->d = NULL;
        if (c->closed || c->accepted)
            pv_vsock_conn_free(c);
    }
    d->n_conns = 0;
    pv_timer_cancel(d->loop, &d->again); /* conn_break asked for it */
    pv_vsock_leave(d);
}

static const struct pv_vsock_ops vsock_ops = {
    .connect = dev_connect,
    .ready = dev_ready,
    .free = dev_free,
};

static int set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

struct pv_vsock *pv_vhost_vsock_new(struct pv_loop *loop, unsigned cid, struct pv_err *err)
{
    struct vsock_dev *d;
    uint64_t config = htole64(cid);
    uint32_t random = 0;
    int sv[2];

    if (cid < 3 || cid == UINT32_MAX) {
        pv_err_set(err, PV_E_USAGE, "a guest can not have the vsock CID %u; expected 3 or more", cid);
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0) {
        pv_err_sys(err, errno, "cannot make a socket pair for vhost-user");
        return NULL;
    }
    d = pv_xcalloc(1, sizeof(*d));
    d->v = (struct pv_vsock){.ops = &vsock_ops, .cid = cid, .qemu_fd = sv[1], .kind = "vhost-user-vsock"};
    d->loop = loop;
    pv_vu_init(&d->vu, sv[0]);
    d->vu.on_ring = on_ring;
    memcpy(d->vu.config, &config, sizeof(config));
    d->vu_watch = (struct pv_watch){.fd = -1, .fn = on_vu};
    d->again.fn = on_again;
    for (unsigned i = 0; i < PV_VU_QUEUES; i++) {
        d->kick[i].w = (struct pv_watch){.fd = -1, .fn = on_kick};
        d->kick[i].d = d;
    }
    /* Ports from anywhere: a guest that outlives a connection must not meet its number again soon. */
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = (uint32_t)pv_now();
    d->next_port = 0x10000 + random % 0x7fff0000;
    if (set_nonblock(sv[0]) < 0) {
        pv_err_sys(err, errno, "cannot make the vhost-user socket non-blocking");
        dev_free(&d->v);
        return NULL;
    }
    if (pv_loop_add(loop, &d->vu_watch, sv[0], EPOLLIN, err) < 0) {
        dev_free(&d->v);
        return NULL;
    }
    return &d->v;
}

int pv_vhost_vsock_listen(struct pv_vsock *v, unsigned port,
                          void (*accept)(struct pv_vsock *v, struct pv_stream *s, unsigned guest_port,
                                         void *arg),
                          void *arg)
{
    struct vsock_dev *d = PV_CONTAINER_OF(v, struct vsock_dev, v);

    if (d->n_listeners == PV_VSOCK_LISTENERS || listener_of(d, port))
        return -1;
    d->listener[d->n_listeners++] = (struct vsock_listener){.port = port, .accept = accept, .arg = arg};
    return 0;
}
