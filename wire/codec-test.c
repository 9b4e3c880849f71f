/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "wire/codec.h"
#include "wire/proto.h"

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(pv_msg_name(PV_MSG_EXEC), "EXEC");
    assert_string_equal(pv_msg_name(0x87), "EXIT");
    assert_null(pv_msg_name(0));
    assert_null(pv_msg_name(0xff));
    assert_null(pv_msg_name(0x101)); /* not cut to a byte */
}

static void test_header(void **state)
{
    uint8_t h[PV_FRAME_HEADER];
    unsigned type;
    uint32_t n;

    (void)state;
    pv_frame_put_header(h, PV_MSG_DATA, 0x00012345);
    assert_memory_equal(h, "\x84\x45\x23\x01\x00", 5);
    assert_true(pv_frame_header(h, &type, &n));
    assert_int_equal(type, PV_MSG_DATA);
    assert_int_equal(n, 0x12345);
    pv_frame_put_header(h, PV_MSG_DATA, PV_FRAME_MAX);
    assert_true(pv_frame_header(h, &type, &n));
    pv_frame_put_header(h, PV_MSG_DATA, PV_FRAME_MAX + 1);
    assert_false(pv_frame_header(h, &type, &n));
    pv_frame_put_header(h, PV_MSG_DATA, UINT32_MAX);
    assert_false(pv_frame_header(h, &type, &n));
    pv_frame_put_header(h, 0x7e, 0);
    assert_false(pv_frame_header(h, &type, &n));
}

static size_t make(uint8_t *buf, size_t cap)
{
    struct pv_enc e = {.p = buf, .cap = cap};

    pv_enc_begin(&e, PV_MSG_WRITE_FILE);
    pv_enc_u32(&e, 0xdeadbeef);
    pv_enc_u64(&e, UINT64_C(0x0123456789abcdef));
    pv_enc_bytes(&e, "/path", 5);
    pv_enc_bytes(&e, NULL, 0);
    return pv_enc_end(&e);
}

static void test_round_trip(void **state)
{
    uint8_t buf[64];
    char path[16];
    size_t n = make(buf, sizeof(buf)), len;

    (void)state;
    assert_int_equal(n, 5 + 4 + 8 + 9 + 4);
    struct pv_dec d = {.p = buf + PV_FRAME_HEADER, .n = n - PV_FRAME_HEADER};
    assert_int_equal(pv_dec_u32(&d), 0xdeadbeef);
    assert_true(pv_dec_u64(&d) == UINT64_C(0x0123456789abcdef));
    pv_dec_str(&d, path, sizeof(path));
    assert_string_equal(path, "/path");
    assert_false(pv_dec_done(&d)); /* something is left */
    pv_dec_bytes(&d, &len);
    assert_int_equal(len, 0);
    assert_true(pv_dec_done(&d));
}

/* Too little room, at every size: no frame, and nothing written behind the end. */
static void test_no_room(void **state)
{
    uint8_t buf[64];

    (void)state;
    for (size_t cap = 0; cap < 30; cap++) {
        memset(buf, 0xee, sizeof(buf));
        assert_int_equal(make(buf, cap), 0);
        for (size_t i = cap; i < sizeof(buf); i++)
            assert_int_equal(buf[i], 0xee);
    }
    assert_int_equal(make(buf, 30), 30);
}

/* Cut short, at every size: bad, and it stays so; nothing read behind the end (under ASan: heap). */
static void test_short(void **state)
{
    uint8_t buf[64];
    size_t whole = make(buf, sizeof(buf)) - PV_FRAME_HEADER, len;

    (void)state;
    for (size_t n = 0; n < whole; n++) {
        uint8_t *cut = malloc(n ? n : 1);
        char path[16];

        memcpy(cut, buf + PV_FRAME_HEADER, n);
        struct pv_dec d = {.p = cut, .n = n};
        pv_dec_u32(&d);
        pv_dec_u64(&d);
        pv_dec_str(&d, path, sizeof(path));
        assert_true(strlen(path) < sizeof(path));
        pv_dec_bytes(&d, &len);
        assert_false(pv_dec_done(&d));
        assert_int_equal(pv_dec_u32(&d), 0);
        assert_string_equal(pv_dec_bytes(&d, &len), "");
        assert_int_equal(len, 0);
        free(cut);
    }
}

static bool str_ok(const void *bytes, size_t n, uint32_t said, size_t cap)
{
    uint8_t buf[64];
    char dst[32];
    struct pv_dec d = {.p = buf, .n = n + 4};

    for (int i = 0; i < 4; i++)
        buf[i] = (uint8_t)(said >> (8 * i));
    memcpy(buf + 4, bytes, n);
    pv_dec_str(&d, dst, cap);
    assert_true(memchr(dst, '\0', cap) != NULL);
    return pv_dec_done(&d);
}

static void test_str(void **state)
{
    (void)state;
    assert_true(str_ok("abc", 3, 3, 4));
    assert_false(str_ok("abc", 3, 3, 3)); /* no room for its NUL */
    assert_false(str_ok("a\0c", 3, 3, 16));
    assert_false(str_ok("abc", 3, 4, 16));
    assert_false(str_ok("abc", 3, UINT32_MAX, 16));
    assert_false(str_ok("abc", 3, 2, 16)); /* left over */
    assert_true(str_ok("", 0, 0, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),   cmocka_unit_test(test_header), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_no_room), cmocka_unit_test(test_short),  cmocka_unit_test(test_str),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
