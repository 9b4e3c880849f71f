/* SPDX-License-Identifier: MIT */
/* For tests: the owner's end of a stream, next to the guest's end in front.h. */
#ifndef PV_VHOST_END_H
#define PV_VHOST_END_H

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "util/err.h"
#include "vhost/front.h"

enum {
    REQUEST = VIRTIO_VSOCK_OP_REQUEST,
    RESPONSE = VIRTIO_VSOCK_OP_RESPONSE,
    RST = VIRTIO_VSOCK_OP_RST,
    SHUTDOWN = VIRTIO_VSOCK_OP_SHUTDOWN,
    RW = VIRTIO_VSOCK_OP_RW,
    CREDIT_UPDATE = VIRTIO_VSOCK_OP_CREDIT_UPDATE,
    CREDIT_REQUEST = VIRTIO_VSOCK_OP_CREDIT_REQUEST,
};

/* A stream and its ports. */
struct end {
    struct pv_stream *s;
    uint32_t host_port, guest_port;
    unsigned events; /* calls of on_event since the last wait_event */
    bool close_in_event;
    struct front *free_in_event;
};

static inline void on_event(struct pv_stream *s, void *arg)
{
    struct end *e = arg;

    assert_ptr_equal(s, e->s);
    e->events++;
    if (e->free_in_event) {
        pv_vsock_device_free(e->free_in_event->v);
        e->free_in_event->v = NULL;
    }
    if (e->close_in_event) {
        pv_stream_close(s);
        e->s = NULL;
    }
}

static inline bool has_event(void *arg)
{
    return ((struct end *)arg)->events > 0;
}

static inline void wait_event(struct front *f, struct end *e)
{
    front_run(f, has_event, e);
    e->events = 0;
}

static inline void end_watch(struct end *e, struct pv_stream *s)
{
    e->s = s;
    s->on_event = on_event;
    s->arg = e;
}

/* Connects to guest_port and takes the request from the guest's ring. */
static inline void end_request(struct front *f, struct end *e, uint32_t guest_port)
{
    struct front_packet p;
    struct pv_err err = PV_ERR_INIT;
    struct pv_stream *s = pv_vsock_device_connect(f->v, guest_port, &err);

    memset(e, 0, sizeof(*e));
    assert_non_null(s);
    end_watch(e, s);
    front_expect(f, REQUEST, &p);
    assert_int_equal(p.h.dst_port, guest_port);
    assert_int_equal(p.h.type, VIRTIO_VSOCK_TYPE_STREAM);
    assert_int_equal(p.h.buf_alloc, 512 * 1024);
    assert_int_equal(p.len, 0);
    e->host_port = p.h.src_port;
    e->guest_port = guest_port;
    assert_true(s->connecting);
}

/* Sends a packet from the guest on e's connection. */
static inline void from_guest(struct front *f, struct end *e, unsigned op, const void *bytes, uint32_t n)
{
    front_send(f, op, e->guest_port, e->host_port, bytes, n);
}

static inline void from_guest_flags(struct front *f, struct end *e, unsigned op, uint32_t flags,
                                    uint32_t buf_alloc, uint32_t fwd)
{
    struct virtio_vsock_hdr h = {.op = (uint16_t)op,
                                 .src_port = e->guest_port,
                                 .dst_port = e->host_port,
                                 .flags = flags,
                                 .buf_alloc = buf_alloc,
                                 .fwd_cnt = fwd};

    assert_true(front_put(f, h, NULL, 0));
    front_kick(f, 1);
}

static inline void end_connected(struct front *f, struct end *e, uint32_t guest_port)
{
    end_request(f, e, guest_port);
    from_guest(f, e, RESPONSE, NULL, 0);
    wait_event(f, e);
    assert_false(e->s->connecting);
    assert_int_equal(e->s->error, 0);
}

static inline void start_device(struct front *f)
{
    front_init(f, 128);
    front_start(f);
    assert_true(pv_vsock_device_ready(f->v));
}

static inline void expect_nothing(struct front *f)
{
    struct front_packet p;

    front_sync(f);
    assert_false(front_take(f, &p));
}

#endif
