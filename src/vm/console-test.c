/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "util/mem.h"
#include "vm/console.h"

#define MARK "provium: fatal: "

static struct pv_console *console_fed(const char *data, size_t n, size_t piece)
{
    struct pv_console *c = pv_console_new(NULL, MARK);

    for (size_t at = 0; at < n; at += piece)
        pv_console_feed(c, data + at, n - at < piece ? n - at : piece);
    return c;
}

/* The lines of the line assembler do not depend on the pieces that the bytes come in. */
static const struct {
    const char *in, *out;
} cases[] = {
    {"hello\n", "hello\n"},
    {"a\r\nb\r\n", "a\nb\n"},
    {"a\r\r\nb", "a\nb\n"},
    {"10%\r20%\r30%\n", "10%\n20%\n30%\n"},
    {"\n\nx\n", "\n\nx\n"},
    {"a\r\n\r\nb\n", "a\n\nb\n"},
    {"tab\there\n", "tab here\n"},
    {"bell\a back\b del\x7f\n", "bell? back? del?\n"},
    {"\033[1;31mred\033[0m\n", "red\n"},
    {"\033[2J\033[H\033[?25lx\n", "x\n"},
    {"\033]0;title\007x\n", "x\n"},
    {"\033]52;c;aGk=\033\\x\n", "x\n"},
    {"\033P1$r0m\033\\x\n", "x\n"},
    {"\033_apc\033\\x\033^pm\033\\y\n", "xy\n"},
    {"\033(Bx\033cy\0337z\n", "xyz\n"},
    {"\033]0;never ended\nnext\n", "\nnext\n"},
    {"\033[12\nnext\n", "\nnext\n"},
    {"\033\033[1mx\n", "x\n"},
    {"\033[\033[1mx\n", "x\n"},
    {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7\n",
     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7\n"},
    {"\xff\xfe\n", "??\n"},
    {"\xc3(\n", "?(\n"},
    {"\xc3\xc3\xbc\n", "?\xc3\xbc\n"},
    {"\xe2\x82\n", "?\n"},
    {"\xe2\033[1mx\n", "?x\n"},
    {"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf\n", "????\n"},
    {"\xed\xa0\x80\n", "?\n"},
    {"\xf4\x90\x80\x80\n", "?\n"},
    {"c1 \xc2\x9b"
     "31m\n",
     "c1 ?31m\n"},
    {"bidi \xe2\x80\xae"
     "x\n",
     "bidi ?x\n"},
};

static void test_sanitising(void **state)
{
    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++)
        for (size_t piece = 1; piece <= 64; piece *= 4) {
            struct pv_console *c = console_fed(cases[i].in, strlen(cases[i].in), piece);
            struct pv_buf out = {0};

            pv_console_tail(c, 64, &out);
            if (!strcmp(cases[i].in, "\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf\n")) {
                /* overlong forms: any number of marks is fine, a slash is not */
                assert_null(strchr(out.data, '/'));
            } else if (!out.data || strcmp(out.data, cases[i].out) != 0) {
                fail_msg("case %zu: expected \"%s\", got \"%s\"", i, cases[i].out, out.data);
            }
            pv_buf_free(&out);
            pv_console_free(c);
        }
}

/* Random bytes make lines that are harmless for a terminal and bounded. */
static void test_random_bytes(void **state)
{
    (void)state;
    srandom(4711);
    for (int round = 0; round < 200; round++) {
        struct pv_buf out = {0};
        char in[2000];
        struct pv_console *c;

        for (size_t i = 0; i < sizeof(in); i++)
            in[i] = (char)(round % 2 ? random() : random() % 64 ? random() % 128 : 0x1b);
        c = console_fed(in, sizeof(in), 17);
        pv_console_tail(c, 64, &out);
        assert_true(out.len <= 64 * 516);
        for (size_t i = 0; i < out.len; i++) {
            unsigned char b = (unsigned char)out.data[i];

            assert_true(b == '\n' || (b >= 0x20 && b != 0x7f));
            if (b == 0xc2 && i + 1 < out.len)
                assert_true((unsigned char)out.data[i + 1] >= 0xa0);
        }
        pv_buf_free(&out);
        pv_console_free(c);
    }
}

static void test_bounds(void **state)
{
    struct pv_console *c = pv_console_new(NULL, MARK);
    struct pv_buf out = {0};
    char line[3000];

    (void)state;
    pv_console_tail(c, 20, &out);
    assert_int_equal(out.len, 0);
    for (int i = 0; i < 200; i++) {
        int n = snprintf(line, sizeof(line), "line %d\n", i);

        pv_console_feed(c, line, (size_t)n);
    }
    pv_console_tail(c, 3, &out);
    assert_string_equal(out.data, "line 197\nline 198\nline 199\n");
    pv_buf_free(&out);
    pv_console_tail(c, 1000, &out);
    assert_non_null(strstr(out.data, "line 136\n"));
    assert_null(strstr(out.data, "line 135\n"));
    pv_buf_free(&out);

    memset(line, 'x', sizeof(line));
    pv_console_feed(c, line, sizeof(line));
    pv_console_tail(c, 1, &out);
    assert_true(out.len > 500 && out.len < 520);
    assert_string_equal(out.data + out.len - 4, "...\n");
    pv_buf_free(&out);
    pv_console_tail(c, 0, &out);
    assert_int_equal(out.len, 0);
    pv_console_free(c);
}

static const struct {
    const char *in, *panic, *fatal;
    bool over;
} messages[] = {
    {"[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n", "VFS: Unable to mount root fs"},
    {"[   12.345678][    T1] Kernel panic - not syncing: x\r\n", "x"},
    {"Kernel panic - not syncing: no stamp\n", "no stamp"},
    {"/ # [    9.1] Kernel panic - not syncing: after a prompt\n", "after a prompt"},
    {"\033[31m[    9.1] Kernel panic - not syncing: \033[1mred\n", "red"},
    {"[ 1.2] Kernel panic - not syncing: first\n[ 1.3] Kernel panic - not syncing: second\n", "first"},
    {"[ 1.2] Kernel panic - not syncing: a\n[ 1.3] ---[ end Kernel panic - not syncing: a ]---\n", "a", NULL,
     true},
    {"[ 1.2] Kernel panic - not syncing: a\n[ 1.3] Rebooting in 10 seconds..\n", "a", NULL, true},
    {"[ 1.3] ---[ end Kernel panic - not syncing: a ]---\n", NULL},
    {"echo 'Kernel panic - not syncing: quoted'\n", NULL},
    {"[ 1.2] Kernel panic - not syncing: unfinished", NULL},
    {"[ 1.2] Kernel panic - not syncing: \n", "(no text)"},
    {MARK "no init: /sbin/init\r\n", NULL, "no init: /sbin/init"},
    {"[ 1.2] " MARK "b\n", NULL, "b"},
    {"provium: fatal error\n", NULL, NULL},
};

static void test_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(messages); i++) {
        struct pv_console *c = console_fed(messages[i].in, strlen(messages[i].in), 7);
        const char *panic = pv_console_panic(c), *fatal = pv_console_fatal(c);

        if (strcmp(panic ? panic : "-", messages[i].panic ? messages[i].panic : "-") != 0 ||
            strcmp(fatal ? fatal : "-", messages[i].fatal ? messages[i].fatal : "-") != 0 ||
            pv_console_panic_over(c) != messages[i].over)
            fail_msg("%s: got panic %s, fatal %s, over %d", messages[i].in, panic, fatal,
                     pv_console_panic_over(c));
        pv_console_forget(c);
        assert_null(pv_console_panic(c));
        assert_null(pv_console_fatal(c));
        pv_console_free(c);
    }
}

/* The end of input ends an unfinished line. */
static void test_finish(void **state)
{
    static const char text[] = "[ 1.2] Kernel panic - not syncing: cut off";
    struct pv_console *c = console_fed(text, strlen(text), 100);

    (void)state;
    assert_null(pv_console_panic(c));
    pv_console_finish(c);
    assert_string_equal(pv_console_panic(c), "cut off");
    pv_console_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sanitising), cmocka_unit_test(test_random_bytes), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_messages),   cmocka_unit_test(test_finish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
