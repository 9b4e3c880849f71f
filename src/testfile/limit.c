/* SPDX-License-Identifier: MIT */
#include "testfile/limit.h"

#include <stdio.h>

#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/mem.h"

int64_t pv_tf_limit(const struct pv_testfile *tf)
{
    return tf->guest_env.until ? tf->guest_env.until : PV_FOREVER;
}

bool pv_tf_limit_expired(const struct pv_testfile *tf)
{
    return tf->guest_env.until && pv_now() >= tf->guest_env.until;
}

/* The earliest deadline of the sub-tests that the running context belongs to; 0: none. */
static int64_t limit_earliest(const struct pv_testfile *tf)
{
    size_t n = pv_tf_depth(tf);
    int64_t until = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t d = tf->tests.open[i].deadline;

        if (d && (!until || d < until))
            until = d;
    }
    return until;
}

bool pv_tf_limit_update(struct pv_testfile *tf)
{
    int64_t until = limit_earliest(tf);

    if (until == tf->guest_env.until)
        return false;
    tf->guest_env.until = until;
    tf->tests.late_doing[0] = '\0';
    return true;
}

void pv_tf_limit_enter(struct pv_testfile *tf)
{
    tf->guest_env.until = limit_earliest(tf);
}

void pv_tf_limit_pause(struct pv_testfile *tf)
{
    if (tf->tests.n_paused++ == 0)
        tf->tests.paused_since = pv_now();
}

void pv_tf_limit_resume(struct pv_testfile *tf)
{
    int64_t now = pv_now(), ns = now - tf->tests.paused_since;

    tf->tests.n_paused--;
    tf->tests.paused_since = now;
    for (size_t i = 0; i < tf->tests.n_open; i++)
        if (tf->tests.open[i].deadline)
            tf->tests.open[i].deadline += ns;
    tf->guest_env.until = limit_earliest(tf);
}

void pv_tf_limit_note(struct pv_testfile *tf, const char *doing)
{
    if (!tf->tests.late_doing[0] && pv_tf_limit_expired(tf))
        snprintf(tf->tests.late_doing, sizeof(tf->tests.late_doing), "%s", doing);
}

/* The outermost test whose deadline has passed: ending an inner one would not help. */
static const struct tf_test *expired_test(const struct tf_tests *tests)
{
    int64_t now = pv_now();

    for (size_t i = 0; i < tests->n_open; i++)
        if (tests->open[i].deadline && now >= tests->open[i].deadline)
            return &tests->open[i];
    return NULL;
}

char *pv_tf_limit_text(const struct pv_testfile *tf)
{
    const struct tf_tests *tests = &tf->tests;
    const struct tf_test *t = expired_test(tests);
    double limit = t ? (double)t->timeout_ns / PV_NSEC_PER_SEC : 0;
    const char *sep = tests->late_doing[0] ? ", " : "";

    if (!t || t == &tests->open[tests->n_open - 1])
        return pv_xasprintf("timed out after %.3g s%s%s", limit, sep, tests->late_doing);
    return pv_xasprintf("the test around it, '%s', timed out after %.3g s%s%s", t->name, limit, sep,
                        tests->late_doing);
}
