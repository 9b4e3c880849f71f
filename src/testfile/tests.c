/* SPDX-License-Identifier: MIT */
#include "testfile/tests.h"

#include <stdlib.h>

#include "testfile/findings.h"
#include "testfile/reset.h"
#include "testfile/tails.h"
#include "testfile/testfile.h"
#include "testfile/verdict.h"
#include "util/clock.h"
#include "util/mem.h"

struct tf_unkept *pv_tf_unkept(struct tf_tests *t, uint32_t test_id)
{
    for (size_t i = 0; i < t->n_open; i++)
        if (t->open[i].id == test_id)
            return &t->open[i].unkept;
    return &t->unkept;
}

void pv_tf_test_begin(struct pv_testfile *tf, const char *name)
{
    struct tf_tests *tests = &tf->tests;
    struct tf_test *t = &tests->open[tests->n_open];

    pv_tf_findings_settle(tf);
    *t = (struct tf_test){.started = pv_now()};
    t->name = tests->n_open ? pv_xasprintf("%s \xe2\x80\xba %s", tests->open[tests->n_open - 1].name, name)
                            : pv_xstrdup(name);
    t->id = pv_result_test_begin(tf->env->result, t->name);
    tf->command.words[0] = '\0';
    tests->n_open++;
    tests->n_begun++;
}

void pv_tf_test_options(struct pv_testfile *tf, const char *expect_fail, unsigned retries)
{
    struct tf_test *t = &tf->tests.open[tf->tests.n_open - 1];

    t->retries = retries;
    if (!expect_fail)
        return;
    t->expect_fail = pv_xstrdup(expect_fail);
    pv_result_test_expect(tf->env->result, t->id, expect_fail);
}

void pv_tf_attempt_begin(struct pv_testfile *tf, int64_t timeout_ns)
{
    struct tf_test *t = &tf->tests.open[tf->tests.n_open - 1];

    t->attempt_started = pv_now();
    t->outcome = PV_OK;
    free(t->reason);
    t->reason = NULL;
    t->timeout_ns = tf->env->debug && tf->env->debug->stop ? 0 : timeout_ns;
    t->deadline = t->timeout_ns ? pv_deadline(t->timeout_ns) : 0;
}

/* How an attempt ended. */
struct verdict {
    enum pv_outcome outcome;
    enum pv_class cls;
    char *msg;
    bool of_test; /* a failure is the test's own: neither the guest's kernel's nor the host's */
};

/* Judges the innermost sub-test by the findings that came during it. */
static struct verdict test_judge(struct pv_testfile *tf, enum pv_outcome outcome, enum pv_class cls,
                                 const char *text)
{
    struct verdict v = {.outcome = outcome, .cls = cls, .msg = text ? pv_xstrdup(text) : NULL};
    bool reported;

    pv_tf_findings_sync(tf);
    if (tf->tests.n_open == 1)
        pv_tf_reset_end(tf);
    reported = pv_tf_judge(tf, tf->tests.open[tf->tests.n_open - 1].id, &v.outcome, &v.cls, &v.msg);
    v.of_test = !reported && v.cls != PV_CLASS_PANIC && v.cls != PV_CLASS_OOPS && v.cls != PV_CLASS_WARNING &&
                v.cls != PV_CLASS_HARNESS;
    return v;
}

static void verdict_set_msg(struct verdict *v, char *msg)
{
    free(v->msg);
    v->msg = msg;
}

/* Applies expect_fail.  A machine that ended, stood still or lost its agent is no failure that a test can be known for. */
static void test_expect(const struct tf_test *t, struct verdict *v)
{
    bool lost = v->cls == PV_CLASS_STUCK || v->cls == PV_CLASS_AGENT_LOST || v->cls == PV_CLASS_QEMU_DIED;

    if (!t->expect_fail)
        return;
    if (v->outcome == PV_FAIL && v->of_test && !lost) {
        v->outcome = PV_XFAIL;
    } else if (v->outcome == PV_FAIL) {
        verdict_set_msg(
            v, pv_xasprintf("%s\nexpect_fail (%s) covers a failure of the test, not one of the guest's "
                            "kernel, of its machine or of the host",
                            v->msg ? v->msg : "failed", t->expect_fail));
    } else if (v->outcome == PV_OK) {
        v->outcome = PV_FAIL;
        v->cls = PV_CLASS_ASSERTION;
        verdict_set_msg(v, pv_xasprintf("it passed, but expect_fail says that it fails: %s", t->expect_fail));
    }
}

/* A later attempt that leaves by skip() or todo() has not passed: what failed before it stays. */
static void test_skip_hides_nothing(const struct tf_test *t, struct verdict *v)
{
    if (!t->failed || (v->outcome != PV_SKIP && v->outcome != PV_TODO))
        return;
    verdict_set_msg(v, pv_xasprintf("%s\nthe next attempt ended by %s, which is no pass%s%s", t->failed,
                                    v->outcome == PV_SKIP ? "skip()" : "todo()", t->reason ? ": " : "",
                                    t->reason ? t->reason : ""));
    v->outcome = PV_FAIL;
    v->cls = t->failed_cls;
}

/* Closes the innermost sub-test, which was judged. */
static enum pv_outcome test_close(struct pv_testfile *tf, struct verdict *v)
{
    struct tf_tests *tests = &tf->tests;
    struct tf_test *t = &tests->open[--tests->n_open];

    test_expect(t, v);
    test_skip_hides_nothing(t, v);
    if (v->outcome == PV_FAIL)
        tests->n_failed++;
    pv_tf_rules_end(tf, t->id);
    pv_result_test_end(tf->env->result, t->id, v->outcome, v->cls, v->msg, pv_now() - t->started);
    if (v->outcome == PV_FAIL)
        pv_tf_tails_send(tf, t->id);
    free(t->name);
    free(t->reason);
    free(t->expect_fail);
    free(t->failed);
    *t = (struct tf_test){0};
    verdict_set_msg(v, NULL);
    return v->outcome;
}

bool pv_tf_attempt_end(struct pv_testfile *tf, enum pv_outcome *outcome, enum pv_class cls, const char *text)
{
    struct tf_test *t = &tf->tests.open[tf->tests.n_open - 1];
    struct verdict v = test_judge(tf, *outcome, cls, text);

    if (v.outcome != PV_FAIL || !v.of_test || !t->retries || t->expect_fail) {
        *outcome = test_close(tf, &v);
        return false;
    }
    t->retries--;
    pv_result_test_attempt(tf->env->result, t->id, v.cls, v.msg, pv_now() - t->attempt_started);
    free(t->failed);
    t->failed = v.msg ? pv_steal(&v.msg) : pv_xstrdup("failed");
    t->failed_cls = v.cls;
    return true;
}

enum pv_outcome pv_tf_test_end(struct pv_testfile *tf, enum pv_outcome outcome, enum pv_class cls,
                               const char *text)
{
    struct verdict v = test_judge(tf, outcome, cls, text);

    return test_close(tf, &v);
}

char *pv_tf_test_late(const struct pv_testfile *tf)
{
    const struct tf_test *t = &tf->tests.open[tf->tests.n_open - 1];

    if (t->outcome != PV_OK || !t->deadline || pv_now() < t->deadline)
        return NULL;
    return pv_xasprintf("timed out: it took %.3g s, its timeout is %.3g s",
                        (double)(pv_now() - t->deadline + t->timeout_ns) / PV_NSEC_PER_SEC,
                        (double)t->timeout_ns / PV_NSEC_PER_SEC);
}

void pv_tf_tests_fail(struct pv_testfile *tf, const char *msg)
{
    while (tf->tests.n_open)
        pv_tf_test_end(tf, PV_FAIL, PV_CLASS_LUA, msg);
}

void pv_tf_tests_leave(struct pv_testfile *tf, enum pv_outcome outcome, const char *reason)
{
    struct tf_tests *tests = &tf->tests;
    size_t depth = pv_tf_depth(tf);
    struct tf_test *t = depth ? &tests->open[depth - 1] : NULL;
    char **slot = t ? &t->reason : &tests->reason;

    tf->touched = true;
    free(*slot);
    *slot = reason ? pv_xstrdup(reason) : NULL;
    /* Behind its deadline a test has timed out, whatever it catches: skip() hides that no more than its return does. */
    if (t && t->deadline && pv_now() >= t->deadline)
        outcome = PV_OK;
    *(t ? &t->outcome : &tests->outcome) = outcome;
}

void pv_tf_tests_free(struct tf_tests *t)
{
    free(t->reason);
    t->reason = NULL;
}
