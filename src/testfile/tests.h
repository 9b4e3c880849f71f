/* SPDX-License-Identifier: MIT */
/*
 * The sub-tests of a file: the open ones (they nest), their deadlines, the counts, and the outcome that
 * skip() and todo() give them or the file.
 */
#ifndef PV_TESTFILE_TESTS_H
#define PV_TESTFILE_TESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "childproto/result.h"

struct pv_testfile;

/* Sub-tests that a file may begin: the supervisor keeps some 300 bytes of each, 650 where reports are written. */
enum { TF_MAX_NESTED_TESTS = 64, TF_MAX_TESTS = 100000 };

/* Findings and deaths that came when their lists were full, since the last verdict. */
struct tf_unkept {
    size_t n_findings, n_deaths;
    enum pv_class cls; /* the worst of the findings */
};

/* An open sub-test. */
struct tf_test {
    uint32_t id;
    char *name; /* "outer > inner" */
    int64_t started;
    enum pv_outcome outcome;      /* PV_OK, or that of skip() or todo() */
    char *reason;                 /* of skip() or todo(); NULL: none */
    int64_t timeout_ns, deadline; /* 0: none of its own; of each attempt anew */
    char *expect_fail;            /* why it is expected to fail; NULL: it is not */
    unsigned retries;             /* attempts that are left */
    int64_t attempt_started;
    char *failed; /* message of the last attempt that failed; NULL: none has */
    enum pv_class failed_cls;
    struct tf_unkept unkept;
};

struct tf_tests {
    struct tf_test open[TF_MAX_NESTED_TESTS];
    size_t n_open;
    size_t n_begun, n_failed;
    size_t n_deselected;     /* --tag and --no-tag did not let them run */
    struct tf_unkept unkept; /* outside of sub-tests */
    enum pv_outcome outcome; /* of the file: skip() or todo() outside of sub-tests */
    char *reason;
    unsigned n_paused;    /* waits of contexts whose time does not count (limit.h) */
    int64_t paused_since; /* up to then, such waits have been added to the deadlines */
    char late_doing[256]; /* the call that ran when a deadline passed; "": none yet */
};

/* The innermost open sub-test's id; PV_NO_TEST outside of sub-tests. */
static inline uint32_t pv_tf_test_id(const struct tf_tests *t)
{
    return t->n_open ? t->open[t->n_open - 1].id : PV_NO_TEST;
}

/* That of an open sub-test; PV_NO_TEST, or one that is not open: that of the file. */
struct tf_unkept *pv_tf_unkept(struct tf_tests *t, uint32_t test_id);

/* Opens a sub-test. n_open must be below TF_MAX_NESTED_TESTS, n_begun below TF_MAX_TESTS. */
void pv_tf_test_begin(struct pv_testfile *tf, const char *name);
/* Options of the sub-test that was begun last. expect_fail may be NULL. */
void pv_tf_test_options(struct pv_testfile *tf, const char *expect_fail, unsigned retries);
/* An attempt at the innermost sub-test begins: its deadline is in timeout_ns; 0: none. */
void pv_tf_attempt_begin(struct pv_testfile *tf, int64_t timeout_ns);
/*
 * The attempt has ended with *outcome; cls and text are of a failure (or text a reason).  True: it has failed
 * and another one is to be made, the sub-test stays open.  False: the sub-test was closed as by
 * pv_tf_test_end, and *outcome is its outcome.
 *
 * A failed attempt is repeated while there are retries, unless the failure is the guest kernel's (a report
 * fails the sub-test, whatever a later attempt does) or the host's, or is expected.
 */
bool pv_tf_attempt_end(struct pv_testfile *tf, enum pv_outcome *outcome, enum pv_class cls, const char *text);
/*
 * Closes the innermost sub-test and tells the supervisor.  cls and text are of a failure (or text a reason);
 * findings may change the outcome, and so does expect_fail: it covers failures of the test, not those of the
 * guest's kernel or of the host.  Returns the outcome.
 */
enum pv_outcome pv_tf_test_end(struct pv_testfile *tf, enum pv_outcome outcome, enum pv_class cls,
                               const char *text);
/*
 * The innermost sub-test's function has returned, or left by skip() or todo().  NULL: in time; else the
 * message of a failure of class timeout, because its deadline has passed.  The caller frees.
 */
char *pv_tf_test_late(const struct pv_testfile *tf);
/* Closes all open sub-tests as failed (os.exit). */
void pv_tf_tests_fail(struct pv_testfile *tf, const char *msg);
/* skip() and todo(): sets the outcome of the innermost sub-test, else of the file. reason may be NULL. */
void pv_tf_tests_leave(struct pv_testfile *tf, enum pv_outcome outcome, const char *reason);
void pv_tf_tests_free(struct tf_tests *t);

#endif
