/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "wire/sum.h"

static uint64_t sum_of(const void *data, size_t n)
{
    struct pv_wire_sum s;

    pv_wire_sum_init(&s);
    pv_wire_sum_add(&s, data, n);
    return pv_wire_sum_end(&s);
}

static void pieces_do_not_matter(void **state)
{
    uint8_t data[300];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + i / 3);
    for (size_t step = 1; step < 80; step++) {
        struct pv_wire_sum s;

        pv_wire_sum_init(&s);
        for (size_t at = 0; at < sizeof(data); at += step)
            pv_wire_sum_add(&s, data + at, sizeof(data) - at < step ? sizeof(data) - at : step);
        assert_true(pv_wire_sum_end(&s) == sum_of(data, sizeof(data)));
        assert_true(pv_wire_sum_end(&s) == pv_wire_sum_end(&s));
    }
}

/* Each single changed bit, each shorter length, and zeros of each length give digests of their own. */
static void changes_show(void **state)
{
    uint8_t data[100], zeros[100] = {0};
    uint64_t whole;

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(200 - i);
    whole = sum_of(data, sizeof(data));
    for (size_t bit = 0; bit < 8 * sizeof(data); bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(sum_of(data, sizeof(data)) != whole);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t n = 0; n < sizeof(data); n++) {
        assert_true(sum_of(data, n) != whole);
        for (size_t m = 0; m < n; m++)
            assert_true(sum_of(zeros, n) != sum_of(zeros, m));
    }
}

/* Host and guest init are built apart: the digest is fixed. */
static void digest_is_fixed(void **state)
{
    (void)state;
    assert_true(sum_of("", 0) == UINT64_C(0xa513aaee6c48a62b));
    assert_true(sum_of("provium", 7) == UINT64_C(0x23c073670f569858));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_do_not_matter),
        cmocka_unit_test(changes_show),
        cmocka_unit_test(digest_is_fixed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
