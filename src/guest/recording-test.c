/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "guest/recording.h"
#include "util/mem.h"
#include "util/spool.h"

static void check_spool(struct pv_spool *s, const char *want)
{
    struct pv_reader r = {.spool = s};
    cleanup_buf struct pv_buf out = {0};

    pv_reader_take(&r, pv_spool_end(s), &out);
    assert_string_equal(out.data, want);
}

/* Every way to cut the input into three pieces gives the same. */
static void test_cr_lf(void **state)
{
    static const char in[] = "\r\na\r\nb\rc\r\r\nd\n\re\r";
    size_t n = strlen(in);

    (void)state;
    for (size_t a = 0; a <= n; a++)
        for (size_t b = a; b <= n; b++) {
            struct pv_recording *r = pv_recording_new(NULL);

            pv_recording_add(r, in, a);
            pv_recording_add(r, in + a, b - a);
            pv_recording_add(r, in + b, n - b);
            check_spool(pv_recording_text(r), "\na\nb\rc\nd\n\re");
            pv_recording_flush(r);
            check_spool(pv_recording_text(r), "\na\nb\rc\nd\n\re\r");
            check_spool(pv_recording_raw(r), in);
            pv_recording_free(r);
        }
}

static void test_marks(void **state)
{
    struct pv_recording *r = pv_recording_new(NULL);

    (void)state;
    pv_recording_mark(r, "one");
    pv_recording_add(r, "half", 4);
    pv_recording_mark(r, "two");
    check_spool(pv_recording_text(r), "[provium: one]\nhalf\n[provium: two]\n");
    pv_recording_free(r);
}

static void test_append(void **state)
{
    struct pv_recording *a = pv_recording_new(NULL), *b = pv_recording_new(NULL);

    (void)state;
    pv_recording_add(a, "a\r", 2);
    pv_recording_add(b, "b\r\n", 3);
    pv_recording_append(a, b);
    pv_recording_free(b);
    check_spool(pv_recording_text(a), "a\rb\n");
    check_spool(pv_recording_raw(a), "a\rb\r\n");
    pv_recording_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cr_lf),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_append),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
