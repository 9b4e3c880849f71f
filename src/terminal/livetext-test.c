/* SPDX-License-Identifier: MIT */
#include "terminal/livetext.h"

#include <stdarg.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "util/mem.h"

static void check(const char *text, const char *want)
{
    struct pv_livetext t = {.vm = "vm1", .kind = PV_LIVE_CONSOLE};
    cleanup_buf struct pv_buf out = {0};

    pv_livetext_add(&out, &t, text, strlen(text));
    assert_string_equal(out.data ? out.data : "", want);
}

static void test_lines(void **state)
{
    (void)state;
    check("", "");
    check("a\n", "vm1 | a\n");
    check("a", "vm1 | a\n");
    check("a\nb\n", "vm1 | a\nvm1 | b\n");
    check("a\n\nb\n", "vm1 | a\nvm1 | \nvm1 | b\n");
    check("a\r\r\nb\n", "vm1 | a\nvm1 | b\n");
    check("10%\r20%\n", "vm1 | 10%\nvm1 | 20%\n");
}

static void test_harmless(void **state)
{
    (void)state;
    check("\033[1;31mred\033[0m\n", "vm1 | red\n");
    check("\033]0;title\007x\n", "vm1 | x\n");
    check("\033]0;title\033\\x\n", "vm1 | x\n");
    check("\033(Bx\n", "vm1 | x\n");
    check("\033cx\n", "vm1 | x\n");
    check("\033", "vm1 | \n");
    check("\033[12\nx\n", "vm1 | \nvm1 | x\n");
    check("a\bb\n", "vm1 | a\\x08b\n");
    check("\xff\n", "vm1 | \\xff\n");
}

static void test_prefixes(void **state)
{
    struct pv_livetext t = {.file = "a\033.lua", .vm = "db", .kind = PV_LIVE_COMMAND};
    cleanup_buf struct pv_buf out = {0};

    (void)state;
    pv_livetext_add(&out, &t, "ls\n", 3);
    t = (struct pv_livetext){.vm = "db", .kind = PV_LIVE_STDOUT};
    pv_livetext_add(&out, &t, "f\n", 2);
    t.kind = PV_LIVE_STDERR;
    t.color = true;
    pv_livetext_add(&out, &t, "e\n", 2);
    t = (struct pv_livetext){.file = "a.lua"};
    pv_livetext_add(&out, &t, "own\n", 4);
    assert_string_equal(out.data, "a\\x1b.lua db $ ls\ndb > f\n\033[2mdb !\033[0m e\na.lua : own\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_harmless),
        cmocka_unit_test(test_prefixes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
