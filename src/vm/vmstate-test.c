/* SPDX-License-Identifier: MIT */
/* The reader of QEMU's migration stream, on a stream in QEMU 7.2's format and on damaged ones. */
#include <string.h>

#include "util/mem.h"
#include "util/test.h"
#include "vm/vmstate.h"

static void put_be(struct pv_buf *b, uint64_t v, unsigned bytes)
{
    while (bytes--)
        pv_buf_addc(b, (char)(v >> 8 * bytes));
}

static void put_name(struct pv_buf *b, const char *s)
{
    put_be(b, strlen(s), 1);
    pv_buf_adds(b, s);
}

/* The stream of a machine with one shared RAM block, and one ROM of two pages of which one is zero. */
static size_t make_stream(struct pv_buf *b)
{
    char page[4096];
    size_t head;

    memset(page, 0x55, sizeof(page));
    put_be(b, 0x5145564d, 4);
    put_be(b, 3, 4);
    put_be(b, 7, 1);
    put_be(b, 6, 4);
    pv_buf_adds(b, "pc-q35");
    put_be(b, 5, 1);
    put_name(b, "configuration/capabilities");
    put_be(b, 1, 4);
    put_be(b, 1, 4);
    put_name(b, "x-ignore-shared");
    put_be(b, 1, 1);
    put_be(b, 2, 4);
    put_name(b, "ram");
    put_be(b, 0, 4);
    put_be(b, 4, 4);
    put_be(b, (0x20000000 + 0x2000) | 4, 8);
    put_name(b, "mem");
    put_be(b, 0x20000000, 8);
    put_be(b, 0, 8);
    put_name(b, "pc.bios");
    put_be(b, 0x2000, 8);
    put_be(b, 0xfffc0000, 8);
    put_be(b, 0x10, 8);
    put_be(b, 0x7e, 1);
    put_be(b, 2, 4);
    put_be(b, 3, 1);
    put_be(b, 2, 4);
    put_be(b, 0 | 8, 8);
    put_name(b, "pc.bios");
    pv_buf_add(b, page, sizeof(page));
    put_be(b, 0x1000 | 2 | 0x20, 8);
    put_be(b, 0, 1);
    put_be(b, 0x10, 8);
    put_be(b, 0x7e, 1);
    put_be(b, 2, 4);
    head = b->len;
    put_be(b, 4, 1);
    put_be(b, 0, 4);
    put_name(b, "timer");
    return head;
}

static void whole_stream(void **state)
{
    cleanup_buf struct pv_buf b = {0};
    size_t head = make_stream(&b);

    (void)state;
    assert_int_equal(pv_vmstate_head(b.data, b.len), head);
}

static void cut_stream(void **state)
{
    cleanup_buf struct pv_buf b = {0};
    size_t head = make_stream(&b);

    (void)state;
    for (size_t n = 0; n <= head; n++) {
        char *copy = pv_xmalloc(n + 1); /* an allocation of its own: ASan sees a read beyond it */

        memcpy(copy, b.data, n);
        assert_int_equal(pv_vmstate_head(copy, n), 0);
        free(copy);
    }
}

/* With any bit flipped, the head never extends beyond the stream. */
static void flipped_bits(void **state)
{
    cleanup_buf struct pv_buf b = {0};

    (void)state;
    make_stream(&b);
    for (size_t i = 0; i < b.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            b.data[i] ^= (char)(1 << bit);
            assert_true(pv_vmstate_head(b.data, b.len) < b.len);
            b.data[i] ^= (char)(1 << bit);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_stream),
        cmocka_unit_test(cut_stream),
        cmocka_unit_test(flipped_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
