/* SPDX-License-Identifier: MIT */
/* The device from both sides: the owner's streams and the guest's rings. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/clock.h"
#include "vhost/end.h"
#include "vhost/vhost.h"

static uint8_t data[600000], back[600000];

/* ---- regular use ---- */

static void both_ways(void **state)
{
    for (unsigned layout = FRONT_SPLIT; layout <= FRONT_SHREDS; layout++) {
        struct front f;
        struct front_packet p;
        struct end e;

        (void)state;
        front_init(&f, 128);
        assert_false(pv_vsock_device_ready(f.v));
        f.layout = (enum front_layout)layout;
        front_start(&f);
        assert_true(pv_vsock_device_ready(f.v));
        assert_int_equal(f.changes, 1);
        end_connected(&f, &e, 1234);
        assert_int_equal(pv_stream_read(e.s, back, 10), -EAGAIN);
        assert_int_equal(pv_stream_write(e.s, "hello", 5), 5);
        front_expect(&f, RW, &p);
        assert_int_equal(p.len, 5);
        assert_memory_equal(p.data, "hello", 5);
        /* A write larger than a receive buffer fills several. */
        assert_int_equal(pv_stream_write(e.s, data, 10000), 10000);
        for (uint32_t n = 0; n < 10000; n += p.len) {
            front_expect(&f, RW, &p);
            assert_int_equal(p.len, 10000 - n < FRONT_RX_DATA ? 10000 - n : FRONT_RX_DATA);
            assert_memory_equal(p.data, data + n, p.len);
        }
        from_guest(&f, &e, RW, data, 20000);
        wait_event(&f, &e);
        assert_int_equal(pv_stream_read(e.s, back, sizeof(back)), 20000);
        assert_memory_equal(back, data, 20000);
        assert_int_equal(pv_stream_read(e.s, back, 10), -EAGAIN);
        pv_stream_close(e.s);
        front_expect(&f, SHUTDOWN, &p);
        assert_int_equal(p.h.flags, 3);
        from_guest(&f, &e, RST, NULL, 0);
        expect_nothing(&f);
        front_fini(&f);
    }
}

static void refused(void **state)
{
    struct front f;
    struct front_packet p;
    struct end e;

    (void)state;
    start_device(&f);
    end_request(&f, &e, 99);
    from_guest(&f, &e, RST, NULL, 0);
    wait_event(&f, &e);
    assert_false(e.s->connecting);
    assert_int_equal(e.s->error, ECONNREFUSED);
    assert_int_equal(pv_stream_read(e.s, back, 1), -ECONNREFUSED);
    assert_int_equal(pv_stream_write(e.s, back, 1), -ECONNREFUSED);
    pv_stream_close(e.s);
    /* Closed before the RESPONSE: the guest gets a RST, and another one for a late RESPONSE. */
    end_request(&f, &e, 99);
    pv_stream_close(e.s);
    front_expect(&f, RST, &p);
    from_guest(&f, &e, RESPONSE, NULL, 0);
    front_expect(&f, RST, &p);
    expect_nothing(&f);
    front_fini(&f);
}

/* A guest that the host gives no CPU replies late; its process accepts one connection, once. */
static void waits_for_a_late_response(void **state)
{
    struct front f;
    struct end e;

    (void)state;
    start_device(&f);
    end_request(&f, &e, 99);
    assert_int_equal(pv_loop_run(f.loop, NULL, NULL, pv_deadline(3 * PV_NSEC_PER_SEC), NULL), 1);
    assert_true(e.s->connecting);
    from_guest(&f, &e, RESPONSE, NULL, 0);
    wait_event(&f, &e);
    assert_false(e.s->connecting);
    assert_int_equal(e.s->error, 0);
    pv_stream_close(e.s);
    front_fini(&f);
}

/* A REQUEST from before the driver is up is sent when it is. */
static void connects_early(void **state)
{
    struct front f;
    struct front_packet p;
    struct end e = {0};

    (void)state;
    front_init(&f, 128);
    end_watch(&e, pv_vsock_device_connect(f.v, 5, NULL));
    front_start(&f);
    front_expect(&f, REQUEST, &p);
    e.guest_port = 5;
    e.host_port = p.h.src_port;
    from_guest(&f, &e, RESPONSE, NULL, 0);
    wait_event(&f, &e);
    assert_int_equal(e.s->error, 0);
    pv_stream_close(e.s);
    front_fini(&f);
}

static void accept_one(struct pv_vsock_device *v, struct pv_stream *s, unsigned guest_port, void *arg)
{
    struct end *e = arg;

    (void)v;
    if (e->close_in_event) {
        pv_stream_close(s);
        e->events++;
        return;
    }
    end_watch(e, s);
    e->guest_port = guest_port;
    e->events++;
}

static void guest_connects(void **state)
{
    struct front f;
    struct front_packet p;
    struct end e = {.host_port = 2000, .guest_port = 777}, other = {.host_port = 2001, .guest_port = 778};

    (void)state;
    start_device(&f);
    assert_int_equal(pv_vsock_device_listen(f.v, 2000, accept_one, &e), 0);
    assert_int_equal(pv_vsock_device_listen(f.v, 2000, accept_one, &e), -1);
    from_guest(&f, &other, REQUEST, NULL, 0);
    front_expect(&f, RST, &p);
    assert_int_equal(p.h.dst_port, 778);
    assert_int_equal(p.h.src_port, 2001);
    from_guest(&f, &e, REQUEST, NULL, 0);
    wait_event(&f, &e);
    assert_int_equal(e.guest_port, 777);
    assert_false(e.s->connecting);
    assert_int_equal(pv_stream_write(e.s, "hi", 2), 2);
    front_expect(&f, RESPONSE, &p);
    assert_int_equal(p.h.src_port, 2000);
    assert_int_equal(p.h.dst_port, 777);
    front_expect(&f, RW, &p);
    assert_memory_equal(p.data, "hi", 2);
    pv_stream_close(e.s);
    front_expect(&f, SHUTDOWN, &p);
    /* The listener may close the stream at once. */
    e.close_in_event = true;
    e.guest_port = 779;
    from_guest(&f, &e, REQUEST, NULL, 0);
    wait_event(&f, &e);
    front_expect(&f, RESPONSE, &p);
    front_expect(&f, SHUTDOWN, &p);
    expect_nothing(&f);
    front_fini(&f);
}

static void credit_out(void **state)
{
    struct front f;
    struct front_packet p;
    struct end e;
    uint32_t got = 0;

    (void)state;
    start_device(&f);
    end_request(&f, &e, 7);
    from_guest_flags(&f, &e, RESPONSE, 0, 10000, 0);
    wait_event(&f, &e);
    assert_int_equal(pv_stream_write(e.s, data, 20000), 10000);
    assert_int_equal(pv_stream_write(e.s, data, 1), -EAGAIN);
    pv_stream_want_write(e.s, true);
    while (got < 10000) {
        front_expect(&f, RW, &p);
        got += p.len;
    }
    assert_int_equal(got, 10000);
    front_expect(&f, CREDIT_REQUEST, &p);
    expect_nothing(&f);
    assert_int_equal(e.events, 0);
    from_guest_flags(&f, &e, CREDIT_UPDATE, 0, 10000, 4000);
    wait_event(&f, &e);
    assert_int_equal(pv_stream_write(e.s, data, 20000), 4000);
    /* A guest that lowers its buf_alloc below the bytes in flight gives no credit. */
    from_guest_flags(&f, &e, CREDIT_UPDATE, 0, 10, 4000);
    from_guest_flags(&f, &e, CREDIT_UPDATE, 0, 10000, 0xfffffff0);
    front_sync(&f);
    assert_int_equal(pv_stream_write(e.s, data, 1), -EAGAIN);
    pv_stream_close(e.s);
    front_fini(&f);
}

static void credit_given(void **state)
{
    struct front f;
    struct front_packet p;
    struct end e;

    (void)state;
    start_device(&f);
    end_connected(&f, &e, 7);
    for (int i = 0; i < 4; i++)
        from_guest(&f, &e, RW, data, 65492);
    wait_event(&f, &e);
    front_sync(&f);
    expect_nothing(&f);
    assert_int_equal(pv_stream_read(e.s, back, 60000), 60000);
    expect_nothing(&f); /* less than a quarter of the window was read */
    assert_int_equal(pv_stream_read(e.s, back, 5536), 5536);
    front_expect(&f, CREDIT_UPDATE, &p);
    assert_int_equal(p.h.fwd_cnt, 65536);
    assert_int_equal(p.h.buf_alloc, 512 * 1024);
    from_guest(&f, &e, CREDIT_REQUEST, NULL, 0);
    front_expect(&f, CREDIT_UPDATE, &p);
    /* The buffer has 196432 bytes; 327856 more fill it, and one byte more is an error. */
    for (int i = 0; i < 5; i++)
        from_guest(&f, &e, RW, data, 65000);
    from_guest(&f, &e, RW, data, 2856);
    expect_nothing(&f);
    from_guest(&f, &e, RW, data, 1);
    front_expect(&f, RST, &p);
    for (size_t n = 524288; n > 0;) {
        ssize_t r = pv_stream_read(e.s, back, sizeof(back));

        assert_in_range(r, 1, n);
        n -= (size_t)r;
    }
    assert_int_equal(pv_stream_read(e.s, back, 1), -ECONNRESET);
    assert_int_equal(e.s->error, ECONNRESET);
    assert_int_equal(f.v->error, 0);
    pv_stream_close(e.s);
    front_fini(&f);
}

static void half_close(void **state)
{
    struct front f;
    struct front_packet p;
    struct end e;

    (void)state;
    start_device(&f);
    /* The host shuts down first. */
    end_connected(&f, &e, 7);
    pv_stream_shutdown_write(e.s);
    pv_stream_shutdown_write(e.s);
    front_expect(&f, SHUTDOWN, &p);
    assert_int_equal(p.h.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
    assert_int_equal(pv_stream_write(e.s, "x", 1), -EPIPE);
    from_guest(&f, &e, RW, "late", 4);
    from_guest_flags(&f, &e, SHUTDOWN, 3, 4096, 0);
    front_expect(&f, RST, &p); /* it closed */
    wait_event(&f, &e);
    assert_int_equal(pv_stream_read(e.s, back, 10), 4);
    assert_int_equal(pv_stream_read(e.s, back, 10), 0);
    assert_int_equal(pv_stream_read(e.s, back, 10), 0);
    assert_int_equal(e.s->error, 0);
    pv_stream_close(e.s);
    expect_nothing(&f);
    /* The guest shuts down first; the host can still send. */
    end_connected(&f, &e, 8);
    from_guest(&f, &e, RW, "bye", 3);
    from_guest_flags(&f, &e, SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND, 4096, 0);
    front_sync(&f);
    assert_int_equal(pv_stream_read(e.s, back, 10), 3);
    assert_int_equal(pv_stream_read(e.s, back, 10), 0);
    assert_int_equal(pv_stream_write(e.s, "still", 5), 5);
    front_expect(&f, RW, &p);
    /* The guest's second SHUTDOWN ends the other direction. */
    from_guest_flags(&f, &e, SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_RCV, 4096, 0);
    front_expect(&f, RST, &p);
    assert_int_equal(pv_stream_write(e.s, "x", 1), -EPIPE);
    assert_int_equal(pv_stream_read(e.s, back, 10), 0);
    pv_stream_close(e.s);
    /* Data after the guest's SHUTDOWN. */
    end_connected(&f, &e, 9);
    from_guest_flags(&f, &e, SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND, 4096, 0);
    from_guest(&f, &e, RW, "zombie", 6);
    front_expect(&f, RST, &p);
    pv_stream_close(e.s);
    front_fini(&f);
}

static void reset_by_guest(void **state)
{
    struct front f;
    struct end e;

    (void)state;
    start_device(&f);
    end_connected(&f, &e, 7);
    from_guest(&f, &e, RW, "last words", 10);
    from_guest(&f, &e, RST, NULL, 0);
    wait_event(&f, &e);
    assert_int_equal(pv_stream_write(e.s, "x", 1), -ECONNRESET);
    assert_int_equal(pv_stream_read(e.s, back, 100), 10);
    assert_int_equal(pv_stream_read(e.s, back, 100), -ECONNRESET);
    assert_int_equal(e.s->error, ECONNRESET);
    pv_stream_close(e.s);
    front_fini(&f);
}

/* The 16-bit indices of both rings overflow. */
static void indices_wrap(void **state)
{
    struct front f;
    struct front_packet p;
    struct end e;

    (void)state;
    front_init(&f, 8);
    front_start(&f);
    end_connected(&f, &e, 7);
    for (uint32_t i = 0; i < 140000; i++) {
        uint32_t v = i;
        struct virtio_vsock_hdr h = {.op = RW,
                                     .src_port = e.guest_port,
                                     .dst_port = e.host_port,
                                     .len = sizeof(v),
                                     .buf_alloc = 65536,
                                     .fwd_cnt = (uint32_t)(i * sizeof(v))};

        assert_true(front_put(&f, h, &v, sizeof(v)));
        front_kick(&f, 1);
        wait_event(&f, &e);
        assert_int_equal(pv_stream_read(e.s, &v, sizeof(v)), sizeof(v));
        assert_int_equal(v, i);
        assert_int_equal(pv_stream_write(e.s, &v, sizeof(v)), sizeof(v));
        do
            assert_true(front_take(&f, &p));
        while (p.h.op == CREDIT_UPDATE);
        assert_int_equal(p.h.op, RW);
        assert_memory_equal(p.data, &i, sizeof(i));
    }
    pv_stream_close(e.s);
    front_fini(&f);
}

static void many(void **state)
{
    static struct end e[257];
    struct front f;
    struct front_packet p;
    struct end in = {.host_port = 2000, .guest_port = 9};
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    start_device(&f);
    assert_int_equal(pv_vsock_device_listen(f.v, 2000, accept_one, &in), 0);
    for (unsigned i = 0; i < 256; i++)
        end_connected(&f, &e[i], 1000 + i % 7);
    assert_null(pv_vsock_device_connect(f.v, 1, &err));
    assert_non_null(strstr(err.text, "256"));
    from_guest(&f, &in, REQUEST, NULL, 0);
    front_expect(&f, RST, &p);
    for (unsigned i = 0; i < 256; i++) {
        from_guest(&f, &e[i], RW, &i, sizeof(i));
        front_sync(&f);
    }
    for (unsigned i = 256; i-- > 0;) {
        unsigned v;

        assert_int_equal(pv_stream_read(e[i].s, &v, sizeof(v)), sizeof(v));
        assert_int_equal(v, i);
        pv_stream_close(e[i].s);
        front_expect(&f, SHUTDOWN, &p);
        assert_int_equal(p.h.src_port, e[i].host_port);
    }
    end_connected(&f, &e[256], 1); /* below the limit again */
    pv_stream_close(e[256].s);
    front_fini(&f);
}

/* ---- full rings ---- */

static void full_receive_ring(void **state)
{
    struct front f;
    struct front_packet p;
    struct end e;
    uint32_t got = 0;
    ssize_t taken;

    (void)state;
    front_init(&f, 8); /* four receive buffers */
    front_start(&f);
    end_connected(&f, &e, 7);
    taken = pv_stream_write(e.s, data, 100000);
    assert_int_equal(taken, 4 * FRONT_RX_DATA);
    assert_int_equal(pv_stream_write(e.s, data, 1), -EAGAIN);
    pv_stream_want_write(e.s, true);
    front_sync(&f);
    assert_int_equal(e.events, 0);
    while (got < 100000) {
        front_expect(&f, RW, &p);
        assert_memory_equal(p.data, data + got, p.len);
        got += p.len;
        if (taken < 100000) {
            wait_event(&f, &e);
            taken += pv_stream_write(e.s, data + taken, 100000 - (size_t)taken);
        }
    }
    pv_stream_close(e.s);
    front_fini(&f);
}

/* ---- ends ---- */

static void guest_resets(void **state)
{
    struct front f;
    struct end e, other;

    (void)state;
    start_device(&f);
    for (int i = 0; i < 3; i++) {
        end_connected(&f, &e, 7);
        end_request(&f, &other, 8);
        from_guest(&f, &e, RW, "panic", 5);
        front_sync(&f);
        front_stop(&f);
        assert_false(pv_vsock_device_ready(f.v));
        assert_true(e.events > 0);
        assert_int_equal(pv_stream_read(e.s, back, 100), 5);
        assert_int_equal(pv_stream_read(e.s, back, 100), -ECONNRESET);
        assert_int_equal(other.s->error, ECONNRESET);
        pv_stream_close(e.s);
        pv_stream_close(other.s);
        front_start(&f);
        assert_true(pv_vsock_device_ready(f.v));
        assert_int_equal(f.changes, 2 + i);
    }
    end_connected(&f, &e, 7);
    pv_stream_close(e.s);
    front_fini(&f);
}

/* QEMU stops the rings of a paused machine, too. */
static void machine_pauses(void **state)
{
    struct front f;
    struct front_packet p;
    struct end e;

    (void)state;
    start_device(&f);
    end_connected(&f, &e, 7);
    pv_vsock_device_hold(f.v);
    front_pause(&f);
    assert_false(pv_vsock_device_ready(f.v));
    assert_int_equal(e.events, 0);
    assert_int_equal(pv_stream_write(e.s, "to the paused", 13), -EAGAIN);
    front_resume(&f);
    pv_vsock_device_release(f.v, false);
    front_sync(&f);
    assert_true(pv_vsock_device_ready(f.v));
    assert_int_equal(e.s->error, 0);
    from_guest(&f, &e, RW, "after", 5);
    front_sync(&f);
    assert_int_equal(pv_stream_read(e.s, back, 100), 5);
    assert_int_equal(pv_stream_write(e.s, "to the guest", 12), 12);
    front_expect(&f, RW, &p);
    assert_int_equal(p.len, 12);

    /* The machine is reset during a pause. */
    pv_vsock_device_hold(f.v);
    front_stop(&f);
    assert_int_equal(e.s->error, 0);
    pv_vsock_device_release(f.v, true);
    assert_int_equal(e.s->error, ECONNRESET);
    pv_stream_close(e.s);
    front_start(&f);
    end_connected(&f, &e, 7);
    pv_stream_close(e.s);
    front_fini(&f);
}

static void closes_in_event(void **state)
{
    struct front f;
    struct end e[3];

    (void)state;
    start_device(&f);
    for (unsigned i = 0; i < 3; i++)
        end_connected(&f, &e[i], 7);
    e[1].close_in_event = true;
    for (unsigned i = 0; i < 3; i++)
        from_guest(&f, &e[i], RW, "x", 1);
    front_sync(&f);
    assert_null(e[1].s);
    assert_int_equal(e[1].events, 1);
    assert_int_equal(e[0].events, 1);
    /* Freeing the device within on_event of a stream; the streams can still be closed. */
    e[0].events = e[2].events = 0;
    e[2].free_in_event = &f;
    e[2].close_in_event = true;
    for (unsigned i = 0; i < 3; i += 2)
        from_guest(&f, &e[i], RW, "x", 1);
    front_run(&f, has_event, &e[2]);
    assert_null(f.v);
    assert_null(e[2].s);
    while (pv_stream_read(e[0].s, back, 10) > 0)
        ;
    assert_int_equal(pv_stream_read(e[0].s, back, 10), -ECONNRESET);
    assert_int_equal(pv_stream_write(e[0].s, "x", 1), -ECONNRESET);
    pv_stream_want_write(e[0].s, true);
    pv_stream_shutdown_write(e[0].s);
    pv_stream_close(e[0].s);
    front_fini(&f);
}

static void qemu_dies(void **state)
{
    struct front f;
    struct end e;

    (void)state;
    start_device(&f);
    end_connected(&f, &e, 7);
    close(f.sock);
    f.sock = -1;
    wait_event(&f, &e);
    assert_int_equal(e.s->error, ECONNRESET);
    assert_int_equal(f.v->error, EIO);
    assert_string_equal(f.v->error_text, "QEMU closed the vhost-user connection");
    assert_int_equal(f.changes, 2);
    assert_null(pv_vsock_device_connect(f.v, 1, NULL));
    pv_stream_close(e.s);
    front_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),
        cmocka_unit_test(refused),
        cmocka_unit_test(waits_for_a_late_response),
        cmocka_unit_test(connects_early),
        cmocka_unit_test(guest_connects),
        cmocka_unit_test(credit_out),
        cmocka_unit_test(credit_given),
        cmocka_unit_test(half_close),
        cmocka_unit_test(reset_by_guest),
        cmocka_unit_test(indices_wrap),
        cmocka_unit_test(many),
        cmocka_unit_test(full_receive_ring),
        cmocka_unit_test(guest_resets),
        cmocka_unit_test(machine_pauses),
        cmocka_unit_test(closes_in_event),
        cmocka_unit_test(qemu_dies),
    };

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31 + i / 257);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
