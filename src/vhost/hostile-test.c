/* SPDX-License-Identifier: MIT */
/* Hostile guests: flooding, invalid packets, invalid rings.  At most the connection or the device breaks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "util/mem.h"
#include "vhost/end.h"
#include "vhost/vhost.h"

static uint8_t data[1000];

/* The guest sends packets and posts no receive buffers: the device stalls, and goes on when it posts some. */
static void stalls_without_receive_buffers(void **state)
{
    struct front f;
    struct front_packet p;
    unsigned sent = 0, resets = 0;

    (void)state;
    front_init(&f, 8);
    f.hold = true;
    front_start(&f);
    for (int round = 0; round < 100; round++) {
        struct virtio_vsock_hdr h = {.op = RW, .src_port = sent, .dst_port = 4};

        while (front_put(&f, h, NULL, 0))
            h.src_port = ++sent;
        front_kick(&f, 1);
        front_sync(&f);
    }
    /* Four receive buffers, 64 queued resets, and a ring of 8 packets that are not taken. */
    assert_in_range(sent, 4 + 64, 4 + 64 + 8);
    while (resets < sent) {
        if (!front_take(&f, &p)) {
            front_fill_rx(&f);
            front_kick(&f, 0);
            front_expect(&f, RST, &p);
        }
        assert_int_equal(p.h.op, RST);
        assert_int_equal(p.h.dst_port, resets);
        resets++;
    }
    expect_nothing(&f);
    assert_int_equal(f.v->error, 0);
    front_fini(&f);
}

static void accept_and_keep(struct pv_vsock_device *v, struct pv_stream *s, unsigned guest_port, void *arg)
{
    struct pv_stream **kept = arg;

    (void)v;
    kept[guest_port] = s;
}

/* The guest's share of the connections is limited. */
static void guest_floods_connections(void **state)
{
    static struct pv_stream *kept[300];
    struct front f;
    struct front_packet p;
    struct end e;
    unsigned made = 0, refusals = 0;

    (void)state;
    start_device(&f);
    assert_int_equal(pv_vsock_device_listen(f.v, 2000, accept_and_keep, kept), 0);
    for (uint32_t port = 0; port < 300; port++) {
        front_send(&f, REQUEST, port, 2000, NULL, 0);
        front_sync(&f);
        assert_true(front_take(&f, &p));
        made += p.h.op == RESPONSE;
        refusals += p.h.op == RST;
    }
    assert_int_equal(made, 128);
    assert_int_equal(refusals, 300 - 128);
    end_connected(&f, &e, 7);
    pv_stream_close(e.s);
    for (unsigned i = 0; i < 128; i++)
        pv_stream_close(kept[i]);
    front_fini(&f);
}

static bool all_used(void *arg)
{
    return ((struct front *)arg)->ring[1].used->idx == 1000;
}

/* More packets than the device takes in one turn, and a single kick: all are handled. */
static void long_ring(void **state)
{
    struct front f;
    struct virtio_vsock_hdr h = {.src_cid = FRONT_CID, .dst_cid = 2, .type = 1, .op = RST};

    (void)state;
    front_init(&f, 1024);
    front_start(&f);
    memcpy(f.mem + 0x300000, &h, sizeof(h));
    f.ring[1].desc[0] = (struct vring_desc){FRONT_GPA + 0x300000, sizeof(h), 0, 0};
    memset(f.ring[1].avail->ring, 0, 1000 * sizeof(uint16_t));
    f.ring[1].avail->idx = 1000;
    front_kick(&f, 1);
    front_run(&f, all_used, &f);
    front_fini(&f);
}

/* ---- hostile packets: at most the connection ends ---- */

static void bad_packets(void **state)
{
    struct front f;
    struct front_packet p;
    struct end e;
    struct virtio_vsock_hdr h = {.op = RW, .buf_alloc = 4096};

    (void)state;
    start_device(&f);
    end_connected(&f, &e, 7);
    h.src_port = 7;
    h.dst_port = e.host_port;
    /* Wrong CIDs: dropped. */
    h.src_cid = FRONT_CID + 1;
    assert_true(front_put(&f, h, NULL, 0));
    h.src_cid = 0;
    h.dst_cid = 3;
    assert_true(front_put(&f, h, NULL, 0));
    front_kick(&f, 1);
    expect_nothing(&f);
    h.dst_cid = 0;
    /* Another type than stream. */
    h.type = 2;
    assert_true(front_put(&f, h, NULL, 0));
    front_kick(&f, 1);
    front_expect(&f, RST, &p);
    assert_int_equal(p.h.type, 2);
    h.type = 0;
    assert_int_equal(e.s->error, 0);
    /* A length beyond the chain. */
    h.len = 1000;
    assert_true(front_put(&f, h, data, 999));
    front_kick(&f, 1);
    front_expect(&f, RST, &p);
    assert_int_equal(p.h.dst_port, 7);
    wait_event(&f, &e);
    assert_int_equal(e.s->error, ECONNRESET);
    pv_stream_close(e.s);
    /* An unknown operation, and one that is illegal in this state. */
    end_connected(&f, &e, 7);
    from_guest(&f, &e, 99, NULL, 0);
    front_expect(&f, RST, &p);
    pv_stream_close(e.s);
    end_connected(&f, &e, 7);
    from_guest(&f, &e, REQUEST, NULL, 0);
    front_expect(&f, RST, &p);
    pv_stream_close(e.s);
    end_request(&f, &e, 7);
    from_guest(&f, &e, RW, "early", 5);
    front_expect(&f, RST, &p);
    wait_event(&f, &e);
    assert_int_equal(e.s->error, ECONNRESET);
    pv_stream_close(e.s);
    assert_int_equal(f.v->error, 0);
    front_fini(&f);
}

/* ---- hostile rings: the device breaks with a reason ---- */

static void breaks(struct front *f, struct end *e, unsigned ring, const char *text)
{
    front_kick(f, ring);
    wait_event(f, e);
    assert_int_equal(e->s->error, ECONNRESET);
    assert_int_equal(f->v->error, EIO);
    assert_non_null(strstr(f->v->error_text, text));
    assert_int_equal(f->changes, 2);
    assert_false(pv_vsock_device_ready(f->v));
    assert_int_equal(pv_stream_write(e->s, "x", 1), -ECONNRESET);
    pv_stream_close(e->s);
    front_fini(f);
}

static void make_tx(struct front *f, uint16_t head, struct vring_desc d)
{
    struct front_ring *r = &f->ring[1];

    if (head < r->num)
        r->desc[head] = d;
    r->avail->ring[r->avail_idx % r->num] = head;
    __atomic_store_n(&r->avail->idx, ++r->avail_idx, __ATOMIC_RELEASE);
}

static void bad_rings(void **state)
{
    static const struct {
        uint16_t head;
        struct vring_desc d;
        const char *text;
    } cases[] = {
        {128, {0}, "index is outside the ring"},
        {5, {FRONT_GPA, 44, VRING_DESC_F_NEXT, 5}, "loops"},
        {5, {FRONT_GPA, 44, VRING_DESC_F_NEXT, 128}, "index outside the ring"},
        {5, {0, 44, 0, 0}, "outside its memory"},
        {5, {FRONT_GPA + FRONT_MEM - 43, 44, 0, 0}, "outside its memory"},
        {5, {UINT64_MAX - 3, 44, 0, 0}, "outside its memory"},
        {5, {FRONT_GPA, UINT32_MAX, 0, 0}, "outside its memory"},
        {5, {FRONT_GPA, 44, VRING_DESC_F_WRITE, 0}, "write-only buffer"},
        {5, {FRONT_GPA, 64, VRING_DESC_F_INDIRECT, 0}, "indirect"},
        {5, {FRONT_GPA, 43, 0, 0}, "shorter than its header"},
        {5, {FRONT_GPA, 0, 0, 0}, "shorter than its header"},
    };
    struct front f;
    struct end e;

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
        start_device(&f);
        end_connected(&f, &e, 7);
        make_tx(&f, cases[i].head, cases[i].d);
        breaks(&f, &e, 1, cases[i].text);
    }
    start_device(&f);
    end_connected(&f, &e, 7);
    f.ring[1].avail->idx = (uint16_t)(f.ring[1].avail_idx + 129);
    breaks(&f, &e, 1, "more than the ring's size");
}

/* An invalid receive ring is found when the device sends: within a write of the owner. */
static void bad_receive_ring(void **state)
{
    static const struct {
        struct vring_desc d;
        const char *text;
    } cases[] = {
        {{FRONT_GPA, 4096, 0, 0}, "read-only buffer"},
        {{FRONT_GPA, 44, VRING_DESC_F_WRITE, 0}, "too small"},
        {{1, 4096, VRING_DESC_F_WRITE, 0}, "outside its memory"},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
        struct front f;
        struct end e;

        start_device(&f);
        end_connected(&f, &e, 7);
        for (unsigned j = 0; j < f.ring[0].num; j++)
            f.ring[0].desc[j] = cases[i].d;
        assert_int_equal(pv_stream_write(e.s, "x", 1), -ECONNRESET);
        assert_int_equal(e.events, 0); /* no callback within the write */
        e.events = 0;
        wait_event(&f, &e);
        assert_int_equal(f.v->error, EIO);
        assert_non_null(strstr(f.v->error_text, cases[i].text));
        pv_stream_close(e.s);
        front_fini(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stalls_without_receive_buffers),
        cmocka_unit_test(long_ring),
        cmocka_unit_test(guest_floods_connections),
        cmocka_unit_test(bad_packets),
        cmocka_unit_test(bad_rings),
        cmocka_unit_test(bad_receive_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
