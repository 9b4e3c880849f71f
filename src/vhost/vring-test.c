/* SPDX-License-Identifier: MIT */
/* vring.c alone, on hand-made rings in two adjacent regions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_ring.h>

#include <cmocka.h>

#include "vhost/vring.h"

enum { REGION = 0x10000, NUM = 16, GPA = 0x4000, DESC = 0, AVAIL = 0x1000, USED = 0x2000 };
#define UVA UINT64_C(0x7f0000000000)

struct bench {
    struct pv_vmem mem;
    struct pv_vring r;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    const char *why;

    for (unsigned i = 0; i < 2; i++)
        b->mem.r[i] = (struct pv_vmem_region){
            .gpa = GPA + i * REGION, .size = REGION, .uva = UVA + i * REGION, .at = calloc(1, REGION)};
    b->mem.n = 2;
    b->desc = (void *)(b->mem.r[0].at + DESC);
    b->avail = (void *)(b->mem.r[0].at + AVAIL);
    b->used = (void *)(b->mem.r[0].at + USED);
    b->r = (struct pv_vring){
        .num = NUM, .desc_uva = UVA + DESC, .avail_uva = UVA + AVAIL, .used_uva = UVA + USED};
    assert_int_equal(pv_vring_map(&b->r, &b->mem, &why), 0);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    free(b->mem.r[0].at);
    free(b->mem.r[1].at);
    free(b);
    return 0;
}

static void offer(struct bench *b, uint16_t head)
{
    b->avail->ring[b->avail->idx % NUM] = head;
    b->avail->idx++;
}

static int pop(struct bench *b, bool writable, struct pv_vchain *c, const char *text)
{
    const char *why = "";
    int r = pv_vring_pop(&b->r, &b->mem, writable, c, &why);

    if (text) {
        assert_int_equal(r, -1);
        assert_non_null(strstr(why, text));
    }
    return r;
}

static void chains(void **state)
{
    static struct pv_vchain c;
    struct bench *b = *state;
    char text[64] = "";

    assert_int_equal(pop(b, false, &c, NULL), 0);
    assert_false(pv_vring_more(&b->r));
    memcpy(b->mem.r[0].at + 0x5000, "first ", 6);
    memcpy(b->mem.r[1].at + 0x10, "second", 6);
    b->desc[3] = (struct vring_desc){GPA + 0x5000, 6, VRING_DESC_F_NEXT, 9};
    b->desc[9] = (struct vring_desc){GPA, 0, VRING_DESC_F_NEXT, 0}; /* empty: some drivers send such */
    b->desc[0] = (struct vring_desc){GPA + REGION + 0x10, 6, 0, 9};
    offer(b, 3);
    assert_true(pv_vring_more(&b->r));
    assert_int_equal(pop(b, false, &c, NULL), 1);
    assert_int_equal(c.head, 3);
    assert_int_equal(c.len, 12);
    assert_int_equal(pv_vchain_read(&c, 0, text, sizeof(text)), 12);
    assert_string_equal(text, "first second");
    assert_int_equal(pv_vchain_read(&c, 4, text, 4), 4);
    assert_memory_equal(text, "t se", 4);
    assert_int_equal(pv_vchain_read(&c, 12, text, 4), 0);
    assert_int_equal(pv_vchain_read(&c, 1000, text, 4), 0);
    pv_vring_push(&b->r, c.head, 7);
    assert_int_equal(b->used->idx, 0); /* not published yet */
    assert_true(pv_vring_publish(&b->r));
    assert_false(pv_vring_publish(&b->r));
    assert_int_equal(b->used->idx, 1);
    assert_int_equal(b->used->ring[0].id, 3);
    assert_int_equal(b->used->ring[0].len, 7);
}

/* A buffer across the border of two regions, which are mapped apart. */
static void across_regions(void **state)
{
    static struct pv_vchain c;
    struct bench *b = *state;

    b->desc[0] = (struct vring_desc){GPA + REGION - 3, 8, VRING_DESC_F_WRITE, 0};
    offer(b, 0);
    assert_int_equal(pop(b, true, &c, NULL), 1);
    assert_int_equal(c.n, 2);
    assert_int_equal(pv_vchain_write(&c, 1, "abcdefghij", 10), 7);
    assert_memory_equal(b->mem.r[0].at + REGION - 2, "ab", 2);
    assert_memory_equal(b->mem.r[1].at, "cdefg", 5);
    b->desc[1] = (struct vring_desc){GPA + 2 * REGION - 3, 4, VRING_DESC_F_WRITE, 0};
    offer(b, 1);
    pop(b, true, &c, "outside its memory");
}

static void hostile(void **state)
{
    static const struct {
        struct vring_desc d;
        const char *text;
    } cases[] = {
        {{GPA, 1, VRING_DESC_F_NEXT, 1}, "loops"},
        {{GPA, 1, VRING_DESC_F_NEXT, NUM}, "index outside the ring"},
        {{GPA, 1, VRING_DESC_F_NEXT, 0xffff}, "index outside the ring"},
        {{GPA, 16, VRING_DESC_F_INDIRECT, 0}, "indirect"},
        {{GPA, 1, VRING_DESC_F_WRITE, 0}, "transmit ring"},
        {{GPA - 1, 1, 0, 0}, "outside its memory"},
        {{GPA, 0xffffffff, 0, 0}, "outside its memory"},
        {{0xffffffffffffffff, 2, 0, 0}, "outside its memory"},
        {{0xffffffffffffffff, 1, 0, 0}, "outside its memory"},
    };
    static struct pv_vchain c;
    struct bench *b = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        b->desc[1] = cases[i].d;
        b->avail->idx = b->r.last_avail;
        offer(b, 1);
        pop(b, false, &c, cases[i].text);
        pop(b, false, &c, cases[i].text); /* an error does not advance last_avail */
    }
    b->avail->idx = b->r.last_avail;
    offer(b, NUM);
    pop(b, false, &c, "index is outside");
    b->avail->idx = (uint16_t)(b->r.last_avail + NUM + 1);
    pop(b, false, &c, "more than the ring's size");
    b->avail->idx = (uint16_t)(b->r.last_avail - 1);
    pop(b, false, &c, "more than the ring's size");
    /* A loop through every descriptor. */
    for (unsigned i = 0; i < NUM; i++)
        b->desc[i] = (struct vring_desc){GPA, 1, VRING_DESC_F_NEXT, (uint16_t)((i + 1) % NUM)};
    b->avail->idx = b->r.last_avail;
    offer(b, 0);
    pop(b, false, &c, "loops");
    b->desc[NUM - 1].flags = 0; /* the longest legal chain */
    assert_int_equal(pop(b, false, &c, NULL), 1);
    assert_int_equal(c.len, NUM);
}

static void wraps(void **state)
{
    static struct pv_vchain c;
    struct bench *b = *state;

    for (unsigned i = 0; i < 200000; i++) {
        uint16_t head = (uint16_t)(i % NUM);

        b->desc[head] = (struct vring_desc){GPA + 0x8000 + head, 1, 0, 0};
        offer(b, head);
        assert_int_equal(pop(b, false, &c, NULL), 1);
        assert_int_equal(c.head, head);
        assert_int_equal(pop(b, false, &c, NULL), 0);
        pv_vring_push(&b->r, c.head, i);
        pv_vring_publish(&b->r);
        assert_int_equal(b->used->idx, (uint16_t)(i + 1));
        assert_int_equal(b->used->ring[i % NUM].len, i);
    }
}

static void hints(void **state)
{
    struct bench *b = *state;

    assert_true(pv_vring_wants_signal(&b->r));
    b->avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    assert_false(pv_vring_wants_signal(&b->r));
    pv_vring_kicks(&b->r, false);
    assert_int_equal(b->used->flags, VRING_USED_F_NO_NOTIFY);
    pv_vring_kicks(&b->r, true);
    assert_int_equal(b->used->flags, 0);
}

static void unmapped(void **state)
{
    static struct pv_vchain c;
    struct bench *b = *state;

    pv_vring_unmap(&b->r);
    assert_int_equal(pop(b, false, &c, NULL), 0);
    assert_false(pv_vring_more(&b->r));
    pv_vring_push(&b->r, 0, 0);
    assert_false(pv_vring_publish(&b->r));
    assert_false(pv_vring_wants_signal(&b->r));
    pv_vring_kicks(&b->r, true);
}

static void sizes(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= PV_VRING_MAX; n *= 2)
        assert_true(pv_vring_num_ok(n));
    assert_false(pv_vring_num_ok(0));
    assert_false(pv_vring_num_ok(48));
    assert_false(pv_vring_num_ok(2 * PV_VRING_MAX));
    assert_false(pv_vring_num_ok(UINT64_C(1) << 32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chains, setup, teardown),
        cmocka_unit_test_setup_teardown(across_regions, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(wraps, setup, teardown),
        cmocka_unit_test_setup_teardown(hints, setup, teardown),
        cmocka_unit_test_setup_teardown(unmapped, setup, teardown),
        cmocka_unit_test(sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
