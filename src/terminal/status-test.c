/* SPDX-License-Identifier: MIT */
/* The status lines, the full status and the estimate against golden texts; the tails of logs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "childproto/event.h"
#include "terminal/status.h"
#include "child/tail.h"
#include "util/clock.h"
#include "util/path.h"

#define S PV_NSEC_PER_SEC

static const struct pv_format_style plain = {0}, colored = {.color = true};
static char dir[] = "/tmp/pv-status-test.XXXXXX";

static void report_say(struct pv_file_report *f, enum pv_event_type type, uint32_t id, const char *name,
                       const char *text)
{
    pv_report_event(f, &(struct pv_event){.type = type,
                                          .id = id,
                                          .name = name,
                                          .text = text,
                                          .name_len = strlen(name),
                                          .text_len = strlen(text)});
}

static void test_doing(void **state)
{
    struct pv_file_report f = {.name = "a.lua"};
    cleanup_buf struct pv_buf out = {0};

    (void)state;
    pv_status_doing(&out, &f);
    pv_buf_addc(&out, '\n');
    report_say(&f, PV_EV_PHASE, 0, "", "booting vm1 (starting QEMU)");
    pv_status_doing(&out, &f);
    pv_buf_addc(&out, '\n');
    report_say(&f, PV_EV_TEST_BEGIN, 0, "outer", "");
    report_say(&f, PV_EV_TEST_BEGIN, 1, "inner", "");
    report_say(&f, PV_EV_PHASE, 0, "", "");
    pv_status_doing(&out, &f);
    pv_buf_addc(&out, '\n');
    report_say(&f, PV_EV_TEST_END, 1, "", "");
    report_say(&f, PV_EV_PHASE, 0, "", "running 'ls' in vm1");
    pv_status_doing(&out, &f);
    assert_string_equal(out.data, "running\n"
                                  "booting vm1 (starting QEMU)\n"
                                  "in test \"inner\"\n"
                                  "in test \"outer\": running 'ls' in vm1");
    pv_file_report_fini(&f);
}

static void test_screen(void **state)
{
    struct pv_file_report f[3] = {{.name = "short.lua"}, {.name = "sub/longer-name.lua"}, {.name = "c.lua"}};
    struct pv_doing d[3] = {{&f[0], 1 * S, -1}, {&f[1], 62 * S, -1}, {&f[2], 70 * S, -1}};
    struct pv_progress p = {.total = 12, .passed = 5, .failed = 1, .elapsed_ns = 72 * S, .left_ns = 130 * S};
    cleanup_buf struct pv_buf out = {0};

    (void)state;
    report_say(&f[0], PV_EV_PHASE, 0, "", "waiting for memory\033[2J");
    report_say(&f[1], PV_EV_TEST_BEGIN, 0,
               "a name that is much too long for what a terminal of this width has", "");
    pv_status_screen(&out, d, 3, &p, 73 * S, 60, 24, &plain);
    assert_string_equal(out.data,
                        "  short.lua            1m12s  waiting for memory\\x1b[2J\n"
                        "  sub/longer-name.lua    11s  in test \"a name that is much \xe2\x80\xa6\n"
                        "  c.lua                   3s  running\n"
                        "  [============>           ] 6/12 files: 5 passed, 1 failed\xe2\x80\xa6\n");
    pv_buf_free(&out);
    pv_status_screen(&out, d, 3, &p, 73 * S, 100, 4, &plain); /* too few rows for all */
    assert_string_equal(
        out.data, "  short.lua  1m12s  waiting for memory\\x1b[2J\n"
                  "  ... and 2 more\n"
                  "  [============>           ] 6/12 files: 5 passed, 1 failed, 1m12s, about 2m10s left\n");
    pv_buf_free(&out);
    pv_status_screen(&out, d, 3, &p, 73 * S, 30, 1, &plain);
    assert_int_equal(out.len, 0);
    p = (struct pv_progress){
        .total = 3, .passed = 1, .skipped = 1, .flaky = 1, .left_ns = -1, .stopping = true};
    pv_status_bar(&out, &p, 200, &colored);
    assert_string_equal(out.data, "  [\033[32m========================\033[0m] 3/3 files: 1 passed, "
                                  "\033[33m1 skipped\033[0m, \033[33m1 flaky\033[0m, 0s"
                                  "\033[33m, stopping\033[0m\n");
    for (int i = 0; i < 3; i++)
        pv_file_report_fini(&f[i]);
}

/* For every terminal size and name: no line is wider than the terminal, and no screen higher. */
static void test_screen_fits(void **state)
{
    struct pv_file_report f[40];
    struct pv_doing d[40];
    struct pv_progress p = {.total = SIZE_MAX, .passed = SIZE_MAX / 3, .failed = 1, .skipped = 1};

    (void)state;
    memset(f, 0, sizeof(f));
    for (size_t i = 0; i < 40; i++) {
        f[i].name = i % 2 ? "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e.lua"
                          : "n\tame\xff.lua";
        report_say(&f[i], PV_EV_PHASE, 0, "",
                   "an\xcc\x81 \xf0\x9f\x98\x80 of \xe2\x86\x92 everything at once");
        d[i] = (struct pv_doing){&f[i], 0, -1};
    }
    for (unsigned cols = 0; cols < 120; cols++)
        for (unsigned rows = 0; rows < 50; rows++) {
            cleanup_buf struct pv_buf out = {0};
            unsigned lines = 0, points = 0;

            pv_status_screen(&out, d, 40, &p, 5000 * S, cols, rows, &plain);
            for (size_t i = 0; i < out.len; i++) {
                if (out.data[i] == '\n') {
                    assert_true(points <= cols);
                    lines++;
                    points = 0;
                } else if ((out.data[i] & 0xc0) != 0x80) {
                    points++;
                }
            }
            assert_true(lines < rows || lines == 0);
        }
    for (size_t i = 0; i < 40; i++)
        pv_file_report_fini(&f[i]);
}

static int fake_tail(const char *path, unsigned lines, struct pv_buf *out, int64_t *age_ns)
{
    assert_int_equal(lines, 1);
    *age_ns = 3 * S / 2;
    if (!strcmp(path, "gone"))
        return -1;
    if (strcmp(path, "empty") != 0)
        pv_buf_adds(out, path);
    return 0;
}

static void test_full(void **state)
{
    struct pv_file_report f = {.name = "a.lua", .base_ns = 10 * S}, g = {.name = "b.lua"};
    struct pv_doing d[2] = {{&f, 12 * S, -1}, {&g, 13 * S, -1}};
    struct pv_progress p = {.total = 5, .passed = 1, .failed = 1, .elapsed_ns = 33 * S};
    cleanup_buf struct pv_buf out = {0};

    (void)state;
    pv_report_event(
        &f, &(struct pv_event){
                .type = PV_EV_TEST_BEGIN, .name = "x\ny", .name_len = 3, .text = "", .time_ns = 15 * S});
    report_say(&f, PV_EV_PHASE, 0, "", "running 'ls' in vm2");
    f.phase_since = 17 * S;
    report_say(&f, PV_EV_VM, 0, "vm1 (default)", "booting");
    report_say(&f, PV_EV_VM, 0, "vm2 (other)", "running");
    report_say(&f, PV_EV_VM, 0, "vm3 (other)", "dead");
    report_say(&f, PV_EV_VM, 0, "vm1 (default)", "running");
    assert_int_equal(f.n_vms, 3);
    for (int i = 0; i < 3; i++)
        f.vms[i].since = (16 + i) * S;
    report_say(&f, PV_EV_LOG, 0, "vm1", "[ 1.0] last line\033[31m");
    report_say(&f, PV_EV_LOG, 0, "vm2", "empty");
    report_say(&f, PV_EV_LOG, 0, "vm3", "gone");
    pv_status_full(&out, d, 2, &p, 20 * S, fake_tail);
    assert_string_equal(out.data, "--- status after 33.0 s: 2 of 5 files ended (1 failed), 2 running ---\n"
                                  "  a.lua: runs for 8.0 s\n"
                                  "    in test \"x\\ny\" for 5.0 s\n"
                                  "    running 'ls' in vm2 for 3.0 s\n"
                                  "    vm1 (default): running for 4.0 s\n"
                                  "      console, 1.5 s ago: [ 1.0] last line\\x1b[31m\n"
                                  "    vm2 (other): running for 3.0 s\n"
                                  "      console: nothing yet\n"
                                  "    vm3 (other): dead for 2.0 s\n"
                                  "  b.lua: runs for 7.0 s\n"
                                  "---\n");
    pv_file_report_fini(&f);
}

static void test_left(void **state)
{
    struct pv_doing d[2] = {{NULL, 0, 10 * S}, {NULL, 0, -1}};
    struct pv_backlog b = {.known_ns = 20 * S, .mean_ns = -1, .jobs = 2};

    (void)state;
    assert_int_equal(pv_status_left(d, 1, &b, 4 * S), 13 * S); /* (20 + 6) / 2 */
    assert_int_equal(pv_status_left(d, 1, &b, 40 * S), 10 * S);
    assert_int_equal(pv_status_left(d, 2, &b, 4 * S), -1);
    b.mean_ns = 8 * S;
    assert_int_equal(pv_status_left(d, 2, &b, 4 * S), 15 * S);
    b.unknown = 2;
    assert_int_equal(pv_status_left(d, 2, &b, 4 * S), 23 * S);
    b = (struct pv_backlog){.mean_ns = -1, .jobs = 8};
    assert_int_equal(pv_status_left(d, 1, &b, 4 * S), 6 * S); /* not less than the longest file */
    assert_int_equal(pv_status_left(d, 0, &b, 4 * S), 0);
}

static void test_time(void **state)
{
    char buf[32];

    (void)state;
    assert_string_equal(pv_status_time(-5, buf), "0s");
    assert_string_equal(pv_status_time(59999 * PV_NSEC_PER_MSEC, buf), "59s");
    assert_string_equal(pv_status_time(65 * S, buf), "1m05s");
    assert_string_equal(pv_status_time(7384 * S, buf), "2h03m");
}

static void check_tail(const void *data, size_t n, unsigned lines, const char *want)
{
    cleanup_free char *path = pv_xasprintf("%s/log", dir);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cleanup_buf struct pv_buf out = {0};
    int64_t age = -1;

    assert_int_equal(pv_write_all(fd, data, n), 0);
    assert_int_equal(pv_tail_of_log(path, lines, &out, &age), 0);
    assert_true(age >= 0 && age < 60 * S);
    assert_string_equal(out.data ? out.data : "", want);
}

#define TAIL(data, lines, want) check_tail(data, sizeof(data) - 1, lines, want)

static void test_tail(void **state)
{
    cleanup_free char *fifo = pv_xasprintf("%s/fifo", dir), *link = pv_xasprintf("%s/link", dir);
    cleanup_buf struct pv_buf out = {0}, big = {0};

    (void)state;
    TAIL("", 3, "");
    TAIL("\n\r\n\0", 3, "");
    TAIL("one", 1, "one");
    TAIL("one\r\ntwo\r\n\r\n", 1, "two");
    TAIL("one\ntwo\nthree", 2, "two\nthree");
    TAIL("\033[31mred\033[0m \033]0;title\a\033(Bend\n", 1, "red end");
    TAIL("\033]0;never ends\nnext\033\\ \033P1\033\\2", 2, "\nnext 2");
    for (int i = 0; i < 20000; i++)
        pv_buf_addf(&big, "line %d\n", i);
    check_tail(big.data, big.len, 2, "line 19998\nline 19999");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink("log", link), 0);
    assert_int_equal(pv_tail_of_log(fifo, 1, &out, NULL), -1);
    assert_int_equal(pv_tail_of_log(link, 1, &out, NULL), -1);
    assert_int_equal(pv_tail_of_log("/nonexistent/log", 1, &out, NULL), -1);
    assert_int_equal(out.len, 0);
}

static void test_same(void **state)
{
    (void)state;
    assert_true(pv_tail_same("", ""));
    assert_true(pv_tail_same("a\nb\n", "a\r\nb"));
    assert_true(pv_tail_same("a?b??\n", "a\x07"
                                        "b\xc2\x9b\xff"));
    assert_true(pv_tail_same("why?", "why?"));
    assert_false(pv_tail_same("a\n", "a\nb"));
    assert_false(pv_tail_same("a\nb\n", "a"));
    assert_false(pv_tail_same("a", "b"));
}

static int set_up(void **state)
{
    (void)state;
    return !mkdtemp(dir);
}

static int tear_down(void **state)
{
    (void)state;
    return pv_rm_rf(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doing), cmocka_unit_test(test_screen), cmocka_unit_test(test_screen_fits),
        cmocka_unit_test(test_full),  cmocka_unit_test(test_left),   cmocka_unit_test(test_time),
        cmocka_unit_test(test_tail),  cmocka_unit_test(test_same),
    };

    return cmocka_run_group_tests_name("runner-status", tests, set_up, tear_down);
}
