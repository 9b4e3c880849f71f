/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include "runner/plan.h"
#include "util/mem.h"

static void assert_order(const int64_t *ns, size_t n, const size_t *want)
{
    size_t got[8];

    pv_plan_order(ns, n, got);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(got[i], want[i]);
}

static void longest_first(void **state)
{
    (void)state;
    assert_order(NULL, 0, NULL);
    assert_order((int64_t[]){5, 9, 1}, 3, (size_t[]){1, 0, 2});
    assert_order((int64_t[]){-1, -1, -1}, 3, (size_t[]){0, 1, 2});
    /* A file without a duration counts as 6. */
    assert_order((int64_t[]){-1, 2, 10, -1, 6}, 5, (size_t[]){2, 0, 3, 4, 1});
    assert_order((int64_t[]){7, INT64_MAX, INT64_MAX, -1}, 4, (size_t[]){1, 2, 3, 0});
}

static void side_by_side(void **state)
{
    static const struct {
        struct pv_plan_limits l;
        unsigned want;
    } cases[] = {
        {{.cpus = 1, .files = 300, .descriptors = 1024}, 2},
        {{.cpus = 2, .files = 300, .descriptors = 1024}, 2},
        {{.cpus = 9, .files = 300, .descriptors = 1024}, 4},
        {{.cpus = 64, .files = 300, .descriptors = 1024}, 32},
        {{.cpus = 64, .files = 3, .descriptors = 1024}, 3},
        {{.cpus = 2, .budget = true, .files = 40, .descriptors = 1024}, 40},
        {{.cpus = 2, .budget = true, .files = 300, .descriptors = 1024}, 128},
        {{.cpus = 2, .budget = true, .files = 300, .descriptors = 256}, 32},
        {{.cpus = 2, .budget = true, .files = 300, .descriptors = 20}, 1},
        {{.cpus = 1000, .files = 10000, .descriptors = UINT64_MAX}, 128},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++)
        assert_int_equal(pv_plan_jobs(&cases[i].l), cases[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(longest_first), cmocka_unit_test(side_by_side)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
