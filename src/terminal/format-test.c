/* SPDX-License-Identifier: MIT */
/* Events pass the encoder and decoder into a report; the report's text equals a golden text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "childproto/event.h"
#include "terminal/format.h"
#include "util/clock.h"

static const struct pv_format_style plain = {0};

static void report_say(struct pv_file_report *f, struct pv_event ev)
{
    unsigned char buf[PV_EVENT_MAX];
    struct pv_event back;
    size_t n;

    ev.name_len = ev.name ? strlen(ev.name) : 0;
    ev.text_len = ev.text ? strlen(ev.text) : 0;
    n = pv_event_encode(&ev, buf);
    assert_true(pv_event_decode(&back, buf, n));
    pv_report_event(f, &back);
}

static void add_subtest(struct pv_file_report *f, const char *name, enum pv_outcome o, const char *msg)
{
    uint32_t id = (uint32_t)f->n_tests;

    report_say(f, (struct pv_event){.type = PV_EV_TEST_BEGIN, .id = id, .name = name});
    report_say(f, (struct pv_event){.type = PV_EV_TEST_END, .id = id, .outcome = o, .text = msg});
}

static void check_file(struct pv_file_report *f, const char *want)
{
    cleanup_buf struct pv_buf out = {0};

    pv_format_file(&out, f, &plain);
    assert_string_equal(out.data ? out.data : "", want);
}

static void test_golden(void **state)
{
    struct pv_file_report f[4] = {{.name = "boot.lua", .ran = true, .duration_ns = 2100000000},
                                  {.name = "access.lua", .ran = true, .duration_ns = 3200000000},
                                  {.name = "other.lua", .ran = true},
                                  {.name = "lib.lua", .ran = true}};
    cleanup_buf struct pv_buf out = {0};

    (void)state;
    add_subtest(&f[0], "kernel boots", PV_OK, NULL);
    add_subtest(&f[0], "proc mounted", PV_OK, NULL);
    add_subtest(&f[0], "later", PV_TODO, "waiting on feature X");
    report_say(&f[0], (struct pv_event){.type = PV_EV_FILE});
    check_file(&f[0], "  boot.lua ... ok (3 tests, 2.1s)\n"
                      "    \xc2\xb7 kernel boots ... ok\n"
                      "    \xc2\xb7 proc mounted ... ok\n"
                      "    \xc2\xb7 later ... todo: waiting on feature X\n");
    add_subtest(&f[1], "deny first", PV_FAIL, "expected 0, got -13\nat access.lua:7");
    report_say(&f[1], (struct pv_event){
                          .type = PV_EV_CONSOLE, .id = 0, .name = "vm1", .text = "one\r\ntwo \033[2J\r\n"});
    add_subtest(&f[1], "esc\033[0m", PV_SKIP, NULL);
    report_say(&f[1], (struct pv_event){.type = PV_EV_LOG, .name = "vm1", .text = "/tmp/x/vm1.log"});
    report_say(&f[1], (struct pv_event){.type = PV_EV_FILE, .outcome = PV_FAIL});
    pv_report_output(&f[1], "said\n", 5);
    check_file(&f[1], "  access.lua ... FAIL (3.2s)\n"
                      "    \xc2\xb7 deny first ... FAIL: expected 0, got -13\n"
                      "        at access.lua:7\n"
                      "    --- console of vm1 (last 2 lines) ---\n"
                      "    one\n"
                      "    two \\x1b[2J\n"
                      "    \xc2\xb7 esc\\x1b[0m ... skip\n"
                      "    --- output ---\n"
                      "    said\n");
    report_say(&f[2], (struct pv_event){.type = PV_EV_FILE, .outcome = PV_SKIP, .text = "not here"});
    check_file(&f[2], "  other.lua ... skip: not here\n");
    report_say(&f[3], (struct pv_event){.type = PV_EV_FILE, .outcome = PV_HELPER});
    check_file(&f[3], "");
    pv_format_summary(&out, f, 4, NULL, &plain);
    assert_string_equal(out.data, "Failed test logs:\n"
                                  "  access.lua    \xe2\x86\x92 /tmp/x/vm1.log\n"
                                  "\n"
                                  "FAIL: 2 passed, 1 failed, 1 skipped\n");
    for (int i = 0; i < 4; i++)
        pv_file_report_fini(&f[i]);
}

static void test_all_passed(void **state)
{
    struct pv_file_report f = {.name = "a.lua", .ran = true, .verdict = true};
    cleanup_buf struct pv_buf out = {0};

    (void)state;
    pv_format_summary(&out, &f, 1, NULL, &plain);
    assert_string_equal(out.data, "OK: 1 passed, 0 failed\n");
}

static void test_broken(void **state)
{
    struct pv_file_report f = {.name = "a.lua", .ran = true};

    (void)state;
    add_subtest(&f, "one", PV_OK, NULL);
    report_say(&f, (struct pv_event){.type = PV_EV_TEST_BEGIN, .id = 1, .name = "two"});
    pv_report_broken(&f, PV_CLASS_HARNESS, "killed by SIGSEGV in test 'two'");
    assert_true(pv_report_failed(&f));
    check_file(&f, "  a.lua ... FAIL (harness-error, 0.0s)\n"
                   "    \xc2\xb7 one ... ok\n"
                   "    \xc2\xb7 two ... FAIL: did not finish\n"
                   "    killed by SIGSEGV in test 'two'\n");
    pv_file_report_fini(&f);
}

/* Colours surround sanitised text: escape sequences of a test never reach the terminal. */
static void test_colors(void **state)
{
    const struct pv_format_style colored = {.color = true, .verbose = true, .rerun = "provium test"};
    struct pv_file_report f = {.name = "a.lua", .path = "t/a b.lua", .ran = true, .verdict = true};
    cleanup_buf struct pv_buf out = {0};

    (void)state;
    report_say(&f, (struct pv_event){.type = PV_EV_TEST_BEGIN, .id = 0, .name = "x"});
    report_say(&f, (struct pv_event){.type = PV_EV_TEST_END,
                                     .outcome = PV_FAIL,
                                     .cls = PV_CLASS_OOPS,
                                     .text = "differ\n- a\033[0m\n+ b\nat t/a.lua:1\n  > 1 | code",
                                     .duration_ns = 10000000});
    pv_format_file(&out, &f, &colored);
    assert_string_equal(out.data,
                        "  a.lua ... \033[31mFAIL\033[0m (0.0s)\n"
                        "    \xc2\xb7 x ... \033[31mFAIL\033[0m (guest-oops)\033[2m (0.01s)\033[0m: differ\n"
                        "        \033[31m- a\\x1b[0m\033[0m\n"
                        "        \033[32m+ b\033[0m\n"
                        "        \033[2mat t/a.lua:1\033[0m\n"
                        "        \033[1m  > 1 | code\033[0m\n"
                        "    rerun: provium test 't/a b.lua'\n");
    pv_file_report_fini(&f);
}

static void test_output_bound(void **state)
{
    struct pv_file_report f = {.name = "a.lua", .ran = true, .verdict = true, .outcome = PV_FAIL};
    cleanup_buf struct pv_buf out = {0};
    char chunk[1000];

    (void)state;
    memset(chunk, 'x', sizeof(chunk));
    chunk[999] = '\n';
    for (int i = 0; i < 10000; i++) {
        pv_report_output(&f, chunk, sizeof(chunk));
        assert_true(f.output.len <= 2 * PV_OUTPUT_MAX);
    }
    pv_format_file(&out, &f, &plain);
    assert_non_null(strstr(out.data, "--- output (without the first 9934464 bytes) ---"));
    assert_true(out.len < 2 * PV_OUTPUT_MAX);
    pv_file_report_fini(&f);
}

/* A damaged or truncated message decodes to no event, or to one that a report survives. */
static void test_bad_events(void **state)
{
    struct pv_file_report f = {.name = "a.lua", .ran = true};
    unsigned char buf[PV_EVENT_MAX];
    struct pv_event ev = {
        .type = PV_EV_TEST_END, .id = 7, .name = "n", .name_len = 1, .text = "t", .text_len = 1};
    struct pv_event back;
    size_t n = pv_event_encode(&ev, buf);

    (void)state;
    for (size_t cut = 0; cut < n; cut++)
        assert_false(pv_event_decode(&back, buf, cut));
    assert_false(pv_event_decode(&back, buf, n + 1));
    assert_true(pv_event_decode(&back, buf, n));
    pv_report_event(&f, &back); /* the end of a test without a begin */
    assert_int_equal(f.n_tests, 0);
    for (size_t i = 0; i < 40; i++) {
        buf[i] ^= 0xff;
        if (pv_event_decode(&back, buf, n))
            pv_report_event(&f, &back);
        buf[i] ^= 0xff;
    }
    report_say(&f, (struct pv_event){.type = PV_EV_TEST_BEGIN, .id = 5, .name = "out of order"});
    assert_int_equal(f.n_tests, 0);
    pv_file_report_fini(&f);
}

static void test_report_bound(void **state)
{
    struct pv_file_report f = {.name = "a.lua", .ran = true};
    cleanup_free char *name = pv_xmalloc(PV_EVENT_NAME_MAX + 1);

    (void)state;
    memset(name, 'n', PV_EVENT_NAME_MAX);
    name[PV_EVENT_NAME_MAX] = '\0';
    for (uint32_t i = 0; i < 20000; i++)
        report_say(&f, (struct pv_event){.type = PV_EV_TEST_BEGIN, .id = i, .name = name});
    assert_true(f.kept <= PV_REPORT_MAX);
    assert_true(f.n_tests < 10000);
    pv_file_report_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),       cmocka_unit_test(test_all_passed),
        cmocka_unit_test(test_broken),       cmocka_unit_test(test_colors),
        cmocka_unit_test(test_output_bound), cmocka_unit_test(test_bad_events),
        cmocka_unit_test(test_report_bound),
    };

    return cmocka_run_group_tests_name("runner-report", tests, NULL, NULL);
}
