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

enum pv_outcome pv_tf_test_end(struct pv_testfile *tf, enum pv_outcome outcome, enum pv_class cls,
                               const char *text)
{
    struct tf_tests *tests = &tf->tests;
    struct tf_test *t = &tests->open[tests->n_open - 1];
    cleanup_free char *msg = text ? pv_xstrdup(text) : NULL;

    pv_tf_findings_settle(tf);
    tests->n_open--;
    pv_tf_judge(tf, t->id, &outcome, &cls, &msg);
    if (outcome == PV_FAIL)
        tests->n_failed++;
    pv_result_test_end(tf->env->result, t->id, outcome, cls, msg, pv_now() - t->started);
    if (outcome == PV_FAIL)
        pv_tf_tails_send(tf, t->id);
    if (tests->n_open == 0)
        pv_tf_reset_end(tf);
    free(t->name);
    free(t->reason);
    *t = (struct tf_test){0};
    return outcome;
}

enum pv_outcome pv_tf_test_end_returned(struct pv_testfile *tf)
{
    const struct tf_test *t = &tf->tests.open[tf->tests.n_open - 1];
    cleanup_free char *msg = NULL;

    if (t->outcome != PV_OK || !t->deadline || pv_now() < t->deadline)
        return pv_tf_test_end(tf, t->outcome, PV_CLASS_NONE, t->reason);
    msg = pv_xasprintf("timed out: it took %.3g s, its timeout is %.3g s",
                       (double)(pv_now() - t->deadline + t->timeout_ns) / PV_NSEC_PER_SEC,
                       (double)t->timeout_ns / PV_NSEC_PER_SEC);
    return pv_tf_test_end(tf, PV_FAIL, PV_CLASS_TIMEOUT, msg);
}

void pv_tf_tests_fail(struct pv_testfile *tf, const char *msg)
{
    while (tf->tests.n_open)
        pv_tf_test_end(tf, PV_FAIL, PV_CLASS_LUA, msg);
}

void pv_tf_tests_leave(struct pv_testfile *tf, enum pv_outcome outcome, const char *reason)
{
    struct tf_tests *tests = &tf->tests;
    struct tf_test *t = tests->n_open ? &tests->open[tests->n_open - 1] : NULL;
    char **slot = t ? &t->reason : &tests->reason;

    tf->touched = true;
    free(*slot);
    *slot = reason ? pv_xstrdup(reason) : NULL;
    *(t ? &t->outcome : &tests->outcome) = outcome;
}

void pv_tf_tests_free(struct tf_tests *t)
{
    free(t->reason);
    t->reason = NULL;
}
