/* SPDX-License-Identifier: MIT */
/*
 * Findings and verdicts, deadlines, the last command, names of fixtures' scripts: without Lua and without
 * QEMU.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/end.h"
#include "testfile/builder-link.h"
#include "testfile/builder.h"
#include "testfile/limit.h"
#include "testfile/script.h"
#include "testfile/testfile.h"
#include "testfile/verdict.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "vm/findings.h"

/* A file with one VM that was not booted; what it tells the supervisor is not looked at. */
struct scene {
    struct pv_config config;
    struct pv_profile profile;
    struct pv_testfile_env env;
    struct pv_testfile tf;
    struct tf_guest *vm;
    int sock;
};

static int scene_set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    int sv[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
    s->sock = sv[0];
    s->profile = (struct pv_profile){.name = (char *)"minimal"};
    s->env = (struct pv_testfile_env){.config = &s->config, .result = pv_result_new(sv[1])};
    s->tf = (struct pv_testfile){.env = &s->env, .path = "t.lua", .dir = pv_xstrdup(".")};
    assert_int_equal(pv_testfile_open(&s->tf, NULL), 0);
    s->vm = pv_tf_guest_add(&s->tf.guests, pv_guest_new(&s->tf.guest_env, &s->profile));
    *state = s;
    return 0;
}

static int scene_tear_down(void **state)
{
    struct scene *s = *state;

    pv_testfile_close(&s->tf);
    pv_result_free(s->env.result);
    close(s->sock);
    free(s);
    return 0;
}

/* The VM's kernel reports something. */
static void report(struct scene *s, enum pv_finding_kind kind, const char *headline, bool follows)
{
    struct pv_finding f = {.kind = kind, .headline = headline, .excerpt = headline, .follows = follows};
    char buf[65536];

    pv_tf_finding_add(s->vm->g, &f, &s->tf);
    while (recv(s->sock, buf, sizeof(buf), MSG_DONTWAIT) > 0)
        ;
}

/* The outcome of the open sub-test that would have passed. */
static enum pv_outcome end_test(struct scene *s)
{
    return pv_tf_test_end(&s->tf, PV_OK, PV_CLASS_NONE, NULL);
}

static void test_finding_fails_its_test(void **state)
{
    struct scene *s = *state;

    pv_tf_test_begin(&s->tf, "outer");
    pv_tf_test_begin(&s->tf, "inner");
    report(s, PV_FINDING_WARNING, "WARNING: at foo.c", false);
    assert_int_equal(end_test(s), PV_FAIL);
    assert_int_equal(end_test(s), PV_OK);
    assert_int_equal(s->tf.tests.n_failed, 1);
    assert_int_equal(pv_tf_file_outcome(&s->tf, true), PV_FAIL);
}

static void test_policy(void **state)
{
    struct scene *s = *state;

    s->env.warnings = PV_POLICY_REPORT;
    pv_tf_test_begin(&s->tf, "t");
    report(s, PV_FINDING_WARNING, "WARNING: at foo.c", false);
    assert_int_equal(end_test(s), PV_OK);
    pv_tf_test_begin(&s->tf, "t");
    report(s, PV_FINDING_OOPS, "Oops: 0000", false);
    assert_int_equal(end_test(s), PV_FAIL);
}

/* expect_fail covers a failure of the test alone. */
static void test_expect_fail(void **state)
{
    struct scene *s = *state;

    s->env.oopses = PV_POLICY_FAIL;
    pv_tf_test_begin(&s->tf, "fails");
    pv_tf_test_options(&s->tf, "T-1", 0);
    assert_int_equal(pv_tf_test_end(&s->tf, PV_FAIL, PV_CLASS_ASSERTION, "as known"), PV_XFAIL);
    pv_tf_test_begin(&s->tf, "passes");
    pv_tf_test_options(&s->tf, "T-1", 0);
    assert_int_equal(end_test(s), PV_FAIL);
    pv_tf_test_begin(&s->tf, "skipped");
    pv_tf_test_options(&s->tf, "T-1", 0);
    assert_int_equal(pv_tf_test_end(&s->tf, PV_SKIP, PV_CLASS_NONE, "why"), PV_SKIP);
    for (int i = 0; i < 4; i++) { /* an oops or a fatal warning, with a failure of the test or without */
        pv_tf_test_begin(&s->tf, "reported");
        pv_tf_test_options(&s->tf, "T-1", 0);
        report(s, i & 1 ? PV_FINDING_OOPS : PV_FINDING_WARNING, "a report", false);
        assert_int_equal(pv_tf_test_end(&s->tf, i & 2 ? PV_FAIL : PV_OK,
                                        i & 2 ? PV_CLASS_ASSERTION : PV_CLASS_NONE, i & 2 ? "too" : NULL),
                         PV_FAIL);
    }
    for (enum pv_class cls = PV_CLASS_PANIC; cls < PV_CLASS_COUNT; cls++) {
        pv_tf_test_begin(&s->tf, "the guest is lost");
        pv_tf_test_options(&s->tf, "T-1", 0);
        assert_int_equal(pv_tf_test_end(&s->tf, PV_FAIL, cls, "the guest died"), PV_FAIL);
    }
    assert_int_equal(s->tf.tests.n_failed, 5 + PV_CLASS_COUNT - PV_CLASS_PANIC);
}

/* A report of the guest's kernel in an attempt counts, whatever the next one would do. */
static void test_retries(void **state)
{
    struct scene *s = *state;
    enum pv_outcome o = PV_FAIL;

    pv_tf_test_begin(&s->tf, "second time");
    pv_tf_test_options(&s->tf, NULL, 1);
    pv_tf_attempt_begin(&s->tf, 0);
    assert_true(pv_tf_attempt_end(&s->tf, &o, PV_CLASS_ASSERTION, "once"));
    pv_tf_attempt_begin(&s->tf, 0);
    o = PV_OK;
    assert_false(pv_tf_attempt_end(&s->tf, &o, PV_CLASS_NONE, NULL));
    assert_int_equal(o, PV_OK);
    for (int i = 0; i < 4; i++) {
        pv_tf_test_begin(&s->tf, "reported");
        pv_tf_test_options(&s->tf, NULL, 5);
        pv_tf_attempt_begin(&s->tf, 0);
        report(s, i & 1 ? PV_FINDING_OOPS : PV_FINDING_WARNING, "a report", false);
        o = i & 2 ? PV_FAIL : PV_OK;
        assert_false(
            pv_tf_attempt_end(&s->tf, &o, i & 2 ? PV_CLASS_ASSERTION : PV_CLASS_NONE, i & 2 ? "too" : NULL));
        assert_int_equal(o, PV_FAIL);
    }
    for (int i = 0; i < 2; i++) { /* a skip is no pass: what has failed before it stays */
        pv_tf_test_begin(&s->tf, "skipped then");
        pv_tf_test_options(&s->tf, NULL, 1);
        pv_tf_attempt_begin(&s->tf, 0);
        o = i ? PV_FAIL : PV_SKIP;
        assert_int_equal(
            pv_tf_attempt_end(&s->tf, &o, i ? PV_CLASS_TIMEOUT : PV_CLASS_NONE, i ? "once" : NULL), i);
        if (i) {
            pv_tf_attempt_begin(&s->tf, 0);
            pv_tf_tests_leave(&s->tf, PV_SKIP, "no device");
            o = PV_SKIP;
            assert_false(pv_tf_attempt_end(&s->tf, &o, PV_CLASS_NONE, "no device"));
        }
        assert_int_equal(o, i ? PV_FAIL : PV_SKIP);
    }
    assert_int_equal(s->tf.tests.n_open, 0);
    assert_int_equal(s->tf.tests.n_failed, 5);
}

static void test_allowed(void **state)
{
    struct scene *s = *state;

    pv_tf_test_begin(&s->tf, "allowed before and after");
    report(s, PV_FINDING_WARNING, "WARNING: at foo.c", false);
    pv_tf_findings_allow(&s->tf, s->vm, "foo.c");
    report(s, PV_FINDING_WARNING, "WARNING: at foo.c again", false);
    assert_int_equal(end_test(s), PV_OK);
    pv_tf_test_begin(&s->tf, "another one");
    report(s, PV_FINDING_WARNING, "WARNING: at bar.c", false);
    assert_int_equal(end_test(s), PV_FAIL);
}

static void test_expected(void **state)
{
    struct scene *s = *state;
    struct tf_expect e = {.tf = &s->tf, .g = s->vm, .text = "foo.c"};

    pv_tf_test_begin(&s->tf, "t");
    pv_tf_expect_begin(&e);
    report(s, PV_FINDING_WARNING, "WARNING: at foo.c", false);
    report(s, PV_FINDING_OOPS, "Oops: 0000", true); /* caused by the one that is expected */
    pv_tf_expect_end(&e);
    assert_non_null(e.first);
    assert_string_equal(e.first->headline, "WARNING: at foo.c");
    assert_int_equal(end_test(s), PV_OK);
    pv_tf_test_begin(&s->tf, "expect_report is over");
    report(s, PV_FINDING_WARNING, "WARNING: at foo.c", false);
    assert_int_equal(end_test(s), PV_FAIL);
}

static int kernel_said(const char *log, const char *first, uint64_t after_us)
{
    struct pv_err err = PV_ERR_INIT;

    return pv_kernel_log_has(log, strlen(log), first, after_us, &err);
}

/* The kernel's log tells whose words a line without a time stamp has. */
static void test_kernel_log(void **state)
{
    static const char whole[] =
        "[    0.000000] Linux version 9\n[    2.500000] BUG: of the kernel\x1b[1m!\nsecond\n";
    static const char cut[] = "[    1.500000] late\n[    2.500000] BUG: of the kernel\n";

    (void)state;
    assert_int_equal(kernel_said(whole, "BUG: of the kernel", 0), 1);
    assert_int_equal(kernel_said(whole, "BUG: of the kernel!", 0),
                     1); /* the console drops escape sequences */
    assert_int_equal(kernel_said(whole, "second", 0), 1);
    assert_int_equal(kernel_said(whole, "BUG: of a program", 0), 0);
    assert_int_equal(kernel_said("[    0.000000] \tTasks\n", "BUG: of a program", 0), 0);
    assert_int_equal(kernel_said("[    0.000000] \tTasks\n", " Tasks", 0), 1);
    assert_int_equal(kernel_said(whole, "of the kernel", 0), 0);
    assert_int_equal(kernel_said(cut, "BUG: of a program", 2000000), 0);
    assert_int_equal(kernel_said(cut, "BUG: of a program", 1000000),
                     -1); /* it may have been in the lost part */
    assert_int_equal(kernel_said(cut, "BUG: of a program", 0), -1);
    assert_int_equal(kernel_said(cut, "BUG: of the kernel", 0), 1);
    assert_int_equal(kernel_said("Linux version 9\n", "BUG: x", 0), -1);
    assert_int_equal(kernel_said("", "BUG: x", 0), -1);
}

/* A report without a time stamp in a VM that does not run has no known printer: it counts unless it is allowed. */
static void test_doubtful(void **state)
{
    struct scene *s = *state;
    struct pv_finding f = {.kind = PV_FINDING_OOPS,
                           .headline = "BUG: x",
                           .excerpt = "BUG: x",
                           .first = "BUG: x",
                           .unstamped = true};

    pv_tf_test_begin(&s->tf, "t");
    pv_tf_finding_add(s->vm->g, &f, &s->tf);
    assert_int_equal(end_test(s), PV_FAIL);
    assert_non_null(strstr(s->tf.findings.first->headline, "BUG: x (without a time stamp, "));
    pv_tf_test_begin(&s->tf, "allowed");
    pv_tf_finding_add(s->vm->g, &f, &s->tf);
    pv_tf_findings_allow(&s->tf, s->vm, "BUG: x");
    assert_int_equal(end_test(s), PV_OK);
    f.headline = f.excerpt = "BUG: y";
    pv_tf_test_begin(&s->tf, "a flood");
    for (int i = 0; i < 500; i++)
        pv_tf_finding_add(s->vm->g, &f, &s->tf);
    assert_int_equal(end_test(s), PV_FAIL);
}

/* The console of one VM prints the name of another: each death excuses the panic of its own VM only. */
static void test_death_of_another_vm(void **state)
{
    struct scene *s = *state;
    struct tf_guest *other = pv_tf_guest_add(&s->tf.guests, pv_guest_new(&s->tf.guest_env, &s->profile));
    struct pv_err err = PV_ERR_INIT;

    report(s, PV_FINDING_PANIC, "Kernel panic - not syncing: foo", false);
    pv_err_set(&err, PV_E_GUEST_DIED, "%s died: its kernel panicked: %s", pv_guest_name(other->g),
               pv_guest_name(s->vm->g));
    pv_err_died(&err, PV_DIED_PANIC, pv_guest_number(other->g));
    pv_tf_findings_met_death(&s->tf, &err);
    assert_false(s->tf.findings.first->met);
    pv_err_died(&err, PV_DIED_PANIC, pv_guest_number(s->vm->g));
    pv_tf_findings_met_death(&s->tf, &err);
    assert_true(s->tf.findings.first->met);
}

/* A machine that failed is told by a call's error, or fails the sub-test; each sub-test has its own. */
static void test_death_unmet(void **state)
{
    const struct pv_guest_death death = {"QEMU was killed by SIGKILL", "last line\n", PV_DIED_QEMU};
    struct scene *s = *state;
    struct pv_err err = PV_ERR_INIT;

    pv_err_set(&err, PV_E_GUEST_DIED, "died");
    for (int met = 0; met < 2; met++) {
        pv_tf_test_begin(&s->tf, "t");
        pv_tf_deaths_add(&s->tf, s->vm->g, &death);
        pv_err_died(&err, PV_DIED_QEMU, pv_guest_number(s->vm->g) + !met);
        pv_tf_deaths_met(&s->tf, &err);
        assert_int_equal(pv_tf_test_end(&s->tf, PV_OK, PV_CLASS_NONE, NULL), met ? PV_OK : PV_FAIL);
        assert_null(s->tf.deaths.first);
    }
    pv_tf_deaths_add(&s->tf, s->vm->g, &death);
    pv_tf_test_begin(&s->tf, "another");
    assert_int_equal(pv_tf_test_end(&s->tf, PV_OK, PV_CLASS_NONE, NULL), PV_OK);
    assert_true(pv_tf_deaths_unmet(&s->tf, PV_NO_TEST));
}

/*
 * A sub-test that caught the error of a panic and then fails: it is neither an expected failure nor tried again, as
 * with any other report of a kernel.  One that passes has dealt with the panic.
 */
static void test_panic_caught_by_failure(void **state)
{
    struct scene *s = *state;
    struct pv_err err = PV_ERR_INIT;
    enum pv_outcome o;

    pv_err_set(&err, PV_E_GUEST_DIED, "died");
    pv_err_died(&err, PV_DIED_PANIC, pv_guest_number(s->vm->g));
    for (int i = 0; i < 3; i++) {
        pv_tf_test_begin(&s->tf, "t");
        pv_tf_test_options(&s->tf, i == 0 ? "known" : NULL, 5);
        pv_tf_attempt_begin(&s->tf, 0);
        report(s, PV_FINDING_PANIC, "Kernel panic - not syncing: foo", false);
        pv_tf_findings_met_death(&s->tf, &err);
        o = i == 2 ? PV_OK : PV_FAIL;
        assert_false(
            pv_tf_attempt_end(&s->tf, &o, i == 2 ? PV_CLASS_NONE : PV_CLASS_ASSERTION, i == 2 ? NULL : "x"));
        assert_int_equal(o, i == 2 ? PV_OK : PV_FAIL);
    }
    assert_int_equal(s->tf.tests.n_failed, 2);
}

/* A VM whose resume failed has no entry: its kernel's report fails the sub-test all the same. */
static void test_finding_without_entry(void **state)
{
    struct scene *s = *state;
    struct pv_guest *g = pv_guest_new(&s->tf.guest_env, &s->profile);
    struct pv_finding f = {.kind = PV_FINDING_OOPS, .headline = "Oops: 0000", .excerpt = "Oops: 0000"};

    pv_tf_test_begin(&s->tf, "t");
    pv_tf_finding_add(g, &f, &s->tf);
    pv_guest_free(g);
    assert_int_equal(end_test(s), PV_FAIL);
}

/* Findings behind the bound count too, and those of warnings leave room for oopses. */
static void test_flood(void **state)
{
    struct scene *s = *state;
    enum pv_outcome outcome = PV_OK;
    enum pv_class cls = PV_CLASS_NONE;
    char *msg = NULL;

    pv_tf_test_begin(&s->tf, "t");
    for (int i = 0; i < 500; i++)
        report(s, PV_FINDING_WARNING, "WARNING: at foo.c", false);
    assert_int_equal(end_test(s), PV_FAIL);
    pv_tf_test_begin(&s->tf, "only behind the bound");
    report(s, PV_FINDING_WARNING, "WARNING: at foo.c", false);
    assert_int_equal(end_test(s), PV_FAIL);
    report(s, PV_FINDING_WARNING, "WARNING: at foo.c, between sub-tests", false);
    pv_tf_test_begin(&s->tf, "quiet");
    assert_int_equal(end_test(s), PV_OK);
    pv_tf_test_begin(&s->tf, "around");
    report(s, PV_FINDING_WARNING, "WARNING: at foo.c", false);
    pv_tf_test_begin(&s->tf, "quiet, too");
    assert_int_equal(end_test(s), PV_OK);
    assert_int_equal(end_test(s), PV_FAIL);
    pv_tf_file_judge(&s->tf, &outcome, &cls, &msg);
    assert_int_equal(outcome, PV_FAIL);
    assert_string_equal(msg, "the kernel of a VM: 1 more report than are kept");
    free(msg);
    pv_tf_test_begin(&s->tf, "an oops");
    report(s, PV_FINDING_OOPS, "Oops: 0000", false);
    assert_string_equal(pv_tf_finding_last(&s->tf, s->vm)->headline, "Oops: 0000");
    assert_int_equal(end_test(s), PV_FAIL);
}

static void test_limit(void **state)
{
    struct scene *s = *state;
    struct tf_tests *t = &s->tf.tests;
    char *text;

    assert_true(pv_tf_limit(&s->tf) == PV_FOREVER);
    pv_tf_test_begin(&s->tf, "outer");
    t->open[0].timeout_ns = PV_NSEC_PER_SEC;
    t->open[0].deadline = pv_now() - 1;
    assert_true(pv_tf_limit_update(&s->tf));
    assert_false(pv_tf_limit_update(&s->tf));
    assert_true(pv_tf_limit_expired(&s->tf));
    pv_tf_tests_leave(&s->tf, PV_SKIP, "too late");
    text = pv_tf_test_late(&s->tf);
    assert_non_null(text);
    free(text);
    pv_tf_limit_note(&s->tf, "reading");
    pv_tf_limit_note(&s->tf, "writing");
    text = pv_tf_limit_text(&s->tf);
    assert_string_equal(text, "timed out after 1 s, reading");
    free(text);
    pv_tf_test_begin(&s->tf, "inner");
    text = pv_tf_limit_text(&s->tf);
    assert_string_equal(text, "the test around it, 'outer', timed out after 1 s, reading");
    free(text);
    assert_int_equal(end_test(s), PV_OK);
    pv_tf_limit_pause(&s->tf); /* a wait for the pool does not count */
    s->tf.tests.paused_since -= 60 * PV_NSEC_PER_SEC;
    pv_tf_limit_resume(&s->tf);
    assert_false(pv_tf_limit_expired(&s->tf));
    assert_null(pv_tf_test_late(&s->tf));
    assert_int_equal(end_test(s), PV_OK);
    assert_true(pv_tf_limit_update(&s->tf));
    assert_true(pv_tf_limit(&s->tf) == PV_FOREVER);
}

static void test_file_outcome(void **state)
{
    struct scene *s = *state;

    assert_int_equal(pv_tf_file_outcome(&s->tf, true), PV_HELPER);
    s->tf.touched = true;
    assert_int_equal(pv_tf_file_outcome(&s->tf, true), PV_OK);
    assert_int_equal(pv_tf_file_outcome(&s->tf, false), PV_FAIL);
    s->tf.tests.n_deselected = 1;
    assert_int_equal(pv_tf_file_outcome(&s->tf, true), PV_SKIP);
    pv_tf_tests_leave(&s->tf, PV_TODO, "later");
    assert_int_equal(pv_tf_file_outcome(&s->tf, true), PV_TODO);
    assert_string_equal(s->tf.tests.reason, "later");
}

static void test_command(void **state)
{
    struct tf_command c = {.words = "exit code 1"};
    struct pv_buf err = {0};

    (void)state;
    pv_tf_command_note(&c, "vm1", "true", 0, false, &err);
    assert_string_equal(c.words, "");
    pv_buf_adds(&err, "one\ntwo\nthree\nfour\n");
    pv_tf_command_note(&c, "vm1", "make\ninstall", 2, false, &err);
    assert_string_equal(c.title, "make install");
    assert_string_equal(c.err, "two\nthree\nfour");
    pv_buf_free(&err);
    pv_tf_command_note(&c, "vm1", "sleep 9", 0, true, NULL);
    assert_string_equal(c.err, "");
    assert_true(c.words[0]);
}

/* ---- builders ---- */

/* Each element is the message, of the given length, that a builder sends in place of its outcome. */
static const struct {
    const char *msg;
    size_t n;
} bad_messages[] = {{"", 0},        {"D", 1},          {"Z\0what", 6}, {"F\xffwhy", 5},
                    {"F\0a\0b", 5}, {"C\0no text", 9}, {"D\0", 65000}};
static size_t bad_message;

static void builder_send_bad(struct pv_testfile *tf)
{
    static char buf[65536];

    memset(buf, 'x', sizeof(buf));
    memcpy(buf, bad_messages[bad_message].msg,
           bad_messages[bad_message].n > 100 ? 2 : bad_messages[bad_message].n);
    send(tf->builder->sock, buf, bad_messages[bad_message].n, 0);
    pv_tf_builder_say(tf->builder, TF_MSG_DONE, PV_CLASS_NONE, NULL, "");
    for (;;)
        pause();
}

static bool build_ended(void *arg)
{
    return ((struct tf_build *)arg)->outcome != TF_BUILD_RUNNING;
}

/* An invalid message is the end of the build, whatever follows it. */
static void test_invalid_message_of_builder(void **state)
{
    struct scene *s = *state;
    const struct tf_build_opts o = {.name = "db",
                                    .script = "/fixtures/db.lua",
                                    .deadline = pv_deadline(20 * PV_NSEC_PER_SEC),
                                    .run_script = builder_send_bad};

    for (bad_message = 0; bad_message < PV_ARRAY_LEN(bad_messages); bad_message++) {
        struct tf_build b = {0};

        assert_int_equal(pv_tf_build_start(&b, &s->tf, &o, NULL), 0);
        assert_int_equal(pv_loop_run(s->tf.loop, build_ended, &b, o.deadline, NULL), 0);
        assert_int_equal(b.outcome, TF_BUILD_DIED);
        assert_int_equal(b.cls, PV_CLASS_HARNESS);
        assert_string_equal(b.text, "killed, because it sent an invalid message");
        pv_tf_build_fini(&b);
    }
}

static void builder_send_tails(struct pv_testfile *tf)
{
    for (int i = 0; i < 1100; i++)
        pv_tf_builder_say(tf->builder, TF_MSG_TAIL, PV_CLASS_NONE, "vm1", "text");
    pv_tf_builder_say(tf->builder, TF_MSG_DONE, PV_CLASS_NONE, NULL, "");
    for (;;)
        pause();
}

static void test_too_many_tails_of_builder(void **state)
{
    struct scene *s = *state;
    const struct tf_build_opts o = {.name = "db",
                                    .script = "/fixtures/db.lua",
                                    .deadline = pv_deadline(20 * PV_NSEC_PER_SEC),
                                    .run_script = builder_send_tails};
    struct tf_build b = {0};

    assert_int_equal(pv_tf_build_start(&b, &s->tf, &o, NULL), 0);
    assert_int_equal(pv_loop_run(s->tf.loop, build_ended, &b, o.deadline, NULL), 0);
    assert_int_equal(b.outcome, TF_BUILD_DIED);
    pv_tf_build_fini(&b);
}

static void test_script_name(void **state)
{
    static const char *const cases[][2] = {
        {"tests/fixtures/db.lua", "db"},
        {"/a/fixtures/b/fixtures/net/x.lua", "net/x"},
        {"x.lua", "x"},
        {"fixtures/x", "x"},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
        cleanup_free char *name = pv_tf_script_name(cases[i][0]);

        assert_string_equal(name, cases[i][1]);
    }
}

#define SCENE_TEST(fn) cmocka_unit_test_setup_teardown(fn, scene_set_up, scene_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(test_finding_fails_its_test),
        SCENE_TEST(test_policy),
        SCENE_TEST(test_expect_fail),
        SCENE_TEST(test_retries),
        SCENE_TEST(test_allowed),
        SCENE_TEST(test_expected),
        cmocka_unit_test(test_kernel_log),
        SCENE_TEST(test_doubtful),
        SCENE_TEST(test_death_of_another_vm),
        SCENE_TEST(test_death_unmet),
        SCENE_TEST(test_panic_caught_by_failure),
        SCENE_TEST(test_finding_without_entry),
        SCENE_TEST(test_flood),
        SCENE_TEST(test_limit),
        SCENE_TEST(test_file_outcome),
        SCENE_TEST(test_invalid_message_of_builder),
        SCENE_TEST(test_too_many_tails_of_builder),
        cmocka_unit_test(test_command),
        cmocka_unit_test(test_script_name),
    };

    return cmocka_run_group_tests_name("testfile", tests, NULL, NULL);
}
