/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "util/text.h"
#include "util/mem.h"

static void check_clean(const char *in, size_t n, const char *indent, const char *want)
{
    cleanup_buf struct pv_buf out = {0};

    pv_text_clean(&out, in, n, indent);
    assert_string_equal(out.data ? out.data : "", want);
}

#define CHECK(in, indent, want) check_clean(in, sizeof(in) - 1, indent, want)

static void test_clean(void **state)
{
    (void)state;
    CHECK("plain", NULL, "plain");
    CHECK("a\tb", NULL, "a\tb");
    CHECK("\033[31mred\033]0;title\a", NULL, "\\x1b[31mred\\x1b]0;title\\x07");
    CHECK("a\0b", NULL, "a\\x00b");
    CHECK("\x7f", NULL, "\\x7f");
    CHECK("a\nb", NULL, "a\\nb");
    CHECK("a\nb\n", "  ", "a\n  b");
    CHECK("a\r\nb\r\n\n", "  ", "a\n  b");
    CHECK("over\rwrite", "  ", "over\\x0dwrite");
    CHECK("gr\xc3\xbc\xc3\x9f \xe2\x86\x92 \xf0\x9f\x98\x80", NULL,
          "gr\xc3\xbc\xc3\x9f \xe2\x86\x92 \xf0\x9f\x98\x80");
}

static void test_bad_utf8(void **state)
{
    (void)state;
    CHECK("\xff\xfe", NULL, "\\xff\\xfe");
    CHECK("\xc3", NULL, "\\xc3");                            /* truncated */
    CHECK("\xc0\xaf", NULL, "\\xc0\\xaf");                   /* overlong */
    CHECK("\xe0\x80\x80", NULL, "\\xe0\\x80\\x80");          /* overlong */
    CHECK("\xed\xa0\x80", NULL, "\\xed\\xa0\\x80");          /* surrogate */
    CHECK("\xf4\x90\x80\x80", NULL, "\\xf4\\x90\\x80\\x80"); /* beyond Unicode */
    CHECK("\xc2\x9b"
          "31m",
          NULL, "\\u{9b}31m");                /* CSI as a C1 control */
    CHECK("\xe2\x80\xae", NULL, "\\u{202e}"); /* right-to-left override */
}

static void test_clip(void **state)
{
    (void)state;
    assert_int_equal(pv_text_clip("abc", 3, 5), 3);
    assert_int_equal(pv_text_clip("abcdef", 6, 4), 4);
    assert_int_equal(pv_text_clip("ab\xe2\x86\x92", 5, 3), 2);
    assert_int_equal(pv_text_clip("ab\xe2\x86\x92", 5, 4), 2);
    assert_int_equal(pv_text_clip("ab\xe2\x86\x92x", 6, 5), 5);
    assert_int_equal(pv_text_clip("\x80\x80\x80\x80\x80\x80\x80\x80", 8, 6), 6); /* invalid UTF-8 */
}

static void check_fit(const char *in, unsigned cols, unsigned used, const char *want)
{
    cleanup_buf struct pv_buf out = {0};

    assert_int_equal(pv_text_fit(&out, in, strlen(in), cols), used);
    assert_string_equal(out.data ? out.data : "", want);
}

static void test_fit(void **state)
{
    (void)state;
    check_fit("abc", 5, 3, "abc");
    check_fit("abc", 3, 3, "abc");
    check_fit("abcd", 3, 3, "ab\xe2\x80\xa6");
    check_fit("abcd", 1, 1, "\xe2\x80\xa6");
    check_fit("abcd", 0, 0, "");
    check_fit("", 0, 0, "");
    check_fit("\xe6\x97\xa5\xe6\x9c\xac", 4, 4, "\xe6\x97\xa5\xe6\x9c\xac"); /* two columns each */
    check_fit("\xe6\x97\xa5\xe6\x9c\xac", 3, 3, "\xe6\x97\xa5\xe2\x80\xa6");
    check_fit("\xe6\x97\xa5\xe6\x9c\xac", 2, 1, "\xe2\x80\xa6");
    check_fit("a\nb\033[2J", 9, 9, "a\\nb\\x1b\xe2\x80\xa6");
}

static void shell(const char *in, const char *want)
{
    cleanup_buf struct pv_buf out = {0};

    pv_text_shell(&out, in);
    assert_string_equal(out.data, want);
}

static void test_shell(void **state)
{
    (void)state;
    shell("a/b-c.lua", "a/b-c.lua");
    shell("", "''");
    shell("a b", "'a b'");
    shell("it's", "'it'\\''s'");
    shell("$(x)`y`\"*~", "'$(x)`y`\"*~'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean), cmocka_unit_test(test_bad_utf8), cmocka_unit_test(test_clip),
        cmocka_unit_test(test_fit),   cmocka_unit_test(test_shell),
    };

    return cmocka_run_group_tests_name("runner-text", tests, NULL, NULL);
}
