/* SPDX-License-Identifier: MIT */
/*
 * A turn of the device (dev_turn): flush pending packets, handle packets of the guest (a bounded number),
 * call the owners, flush packets that their calls made pending; pv_vsock_leave then interrupts the guest once
 * per ring.
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
#include "util/sock.h"
#include "vhost/vhost.h"

/* ---- breaking and freeing ---- */

void pv_vsock_break(struct vsock_dev *d, int error, const char *text)
{
    if (d->v.error)
        return;
    pv_debug("vsock", "device of CID %u is broken: %s", d->v.cid, text);
    d->v.error = error;
    snprintf(d->v.error_text, sizeof(d->v.error_text), "%s", text);
    d->driver.up = false;
    d->change = true;
    for (unsigned i = 0; i < d->n_conns; i++)
        pv_vsock_conn_break(d->conn[i], ECONNRESET);
    pv_vsock_schedule(d);
}

/* Closes the vhost-user socket and unmaps the guest's memory. */
static void dev_disconnect(struct vsock_dev *d)
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
        /* EAGAIN: the eventfd's counter is full, so it is signalled already. */
        if (write(q->call, &one, sizeof(one)) < 0 && errno != EAGAIN)
            pv_vsock_break(d, EIO, "cannot signal the guest through QEMU's eventfd");
    }
}

/* Frees closed connections without pending packets. */
static void reap_conns(struct vsock_dev *d)
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
    for (unsigned i = 0; i < PV_VU_QUEUES; i++)
        d->signal[i] |= pv_vring_publish(pv_vsock_ring(d, i));
    if (d->busy > 1) {
        d->busy--;
        return;
    }
    /* RING_RX is first: the guest waits for its packets; RING_TX only returns buffers. */
    for (unsigned i = 0; i < PV_VU_QUEUES; i++) {
        if (d->signal[i])
            signal_ring(d, i);
        d->signal[i] = false;
    }
    if (d->v.error && d->vu.fd >= 0)
        dev_disconnect(d);
    reap_conns(d);
    d->busy--;
    if (d->freed)
        free(d);
}

void pv_vsock_schedule(struct vsock_dev *d)
{
    if (d->again.due == 0)
        pv_timer_arm(d->loop, &d->again, pv_now());
}

/* ---- a turn ---- */

/* The only function that runs the owners' callbacks. */
static void call_owners(struct vsock_dev *d)
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
            struct vsock_listener *l = pv_vsock_listener(d, c->host_port);

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
            pv_vsock_schedule(d);
    }
}

/* The guest's driver is up once it has posted receive buffers. */
static void check_rx(struct vsock_dev *d)
{
    struct pv_vring *r = pv_vsock_ring(d, RING_RX);

    if (!pv_vsock_rings_run(d) || !pv_vring_more(r))
        return;
    if (!d->driver.up) {
        d->driver.up = true;
        d->change = true;
    }
    d->rx_empty = false;
    pv_vring_kicks(r, false);
}

static void dev_turn(struct vsock_dev *d)
{
    bool more;

    check_rx(d);
    pv_vsock_flush_all(d);
    more = pv_vsock_take_packets(d);
    d->signal[RING_TX] |= pv_vring_publish(pv_vsock_ring(d, RING_TX));
    call_owners(d);
    if (d->freed)
        return;
    pv_vsock_flush_all(d);
    if (more)
        pv_vsock_schedule(d);
}

static void on_again(struct pv_timer *t)
{
    struct vsock_dev *d = PV_CONTAINER_OF(t, struct vsock_dev, again);

    pv_vsock_enter(d);
    dev_turn(d);
    pv_vsock_leave(d);
}

static void on_kick(struct pv_watch *w, uint32_t events)
{
    struct vsock_dev *d = ((__typeof__(&d->kick[0]))(void *)w)->d;
    uint64_t count;

    (void)events;
    pv_vsock_enter(d);
    /* A descriptor that is no eventfd must not make the loop spin. */
    if (read(w->fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
        pv_vsock_break(d, EIO, "cannot read the eventfd of a ring: it is none");
    dev_turn(d);
    pv_vsock_leave(d);
}

static void on_vu(struct pv_watch *w, uint32_t events)
{
    struct vsock_dev *d = PV_CONTAINER_OF(w, struct vsock_dev, vu_watch);

    (void)events;
    pv_vsock_enter(d);
    if (pv_vu_read(&d->vu) < 0)
        pv_vsock_break(d, EIO, d->vu.error);
    dev_turn(d);
    pv_vsock_leave(d);
}

/* The guest has reset its device. */
static void conns_reset(struct vsock_dev *d)
{
    d->rsts.n = 0;
    for (unsigned i = 0; i < d->n_conns; i++) {
        pv_vsock_conn_break(d->conn[i], ECONNRESET);
        d->conn[i]->owed = 0;
    }
}

static void on_ring(struct pv_vu *vu, unsigned index, bool running)
{
    struct vsock_dev *d = PV_CONTAINER_OF(vu, struct vsock_dev, vu);

    if (running) {
        struct pv_err err = PV_ERR_INIT;

        pv_vring_kicks(&vu->q[index].ring, true);
        if (pv_loop_add(d->loop, &d->kick[index].w, vu->q[index].kick, EPOLLIN, &err) < 0)
            pv_vsock_break(d, EIO, "cannot watch the eventfd of a ring");
        return;
    }
    pv_loop_del(d->loop, &d->kick[index].w);
    d->driver.up = false;
    d->rx_empty = false;
    if (!d->driver.held)
        conns_reset(d);
}

/* ---- the interface ---- */

struct pv_stream *pv_vsock_device_connect(struct pv_vsock_device *v, unsigned port, struct pv_err *err)
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
    while (pv_vsock_find(d, d->next_port, port) || pv_vsock_listener(d, d->next_port));
    pv_vsock_enter(d);
    c = pv_vsock_conn_new(d, d->next_port, port, CONN_CONNECTING);
    c->owed = OWE_REQUEST;
    pv_vsock_flush(d, c);
    pv_vsock_leave(d);
    return &c->s;
}

bool pv_vsock_device_ready(const struct pv_vsock_device *v)
{
    return PV_CONTAINER_OF((struct pv_vsock_device *)v, struct vsock_dev, v)->driver.up;
}

void pv_vsock_device_hold(struct pv_vsock_device *v)
{
    PV_CONTAINER_OF(v, struct vsock_dev, v)->driver.held = true;
}

void pv_vsock_device_release(struct pv_vsock_device *v, bool was_reset)
{
    struct vsock_dev *d = PV_CONTAINER_OF(v, struct vsock_dev, v);

    d->driver.held = false;
    if (!was_reset)
        return;
    pv_vsock_enter(d);
    conns_reset(d);
    pv_vsock_leave(d);
}

void pv_vsock_device_free(struct pv_vsock_device *v)
{
    struct vsock_dev *d = PV_CONTAINER_OF(v, struct vsock_dev, v);

    if (d->freed)
        return;
    pv_vsock_enter(d);
    d->freed = true;
    dev_disconnect(d);
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
    pv_timer_cancel(d->loop, &d->again); /* pv_vsock_conn_break has armed it */
    pv_vsock_leave(d);
}

struct pv_vsock_device *pv_vsock_device_new(struct pv_loop *loop, unsigned cid, struct pv_err *err)
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
    d->v = (struct pv_vsock_device){.cid = cid, .qemu_fd = sv[1]};
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
    /* A random first port: a restored guest may still know connections of an earlier device. */
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = (uint32_t)pv_now();
    d->next_port = 0x10000 + random % 0x7fff0000;
    if (pv_set_nonblocking(sv[0]) < 0) {
        pv_err_sys(err, errno, "cannot make the vhost-user socket non-blocking");
        pv_vsock_device_free(&d->v);
        return NULL;
    }
    if (pv_loop_add(loop, &d->vu_watch, sv[0], EPOLLIN, err) < 0) {
        pv_vsock_device_free(&d->v);
        return NULL;
    }
    return &d->v;
}

int pv_vsock_device_listen(struct pv_vsock_device *v, unsigned port,
                           void (*accept)(struct pv_vsock_device *v, struct pv_stream *s, unsigned guest_port,
                                          void *arg),
                           void *arg)
{
    struct vsock_dev *d = PV_CONTAINER_OF(v, struct vsock_dev, v);

    if (d->listeners.n == PV_VSOCK_LISTENERS || pv_vsock_listener(d, port))
        return -1;
    d->listeners.v[d->listeners.n++] = (struct vsock_listener){.port = port, .accept = accept, .arg = arg};
    return 0;
}
