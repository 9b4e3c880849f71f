/* SPDX-License-Identifier: MIT */
/*
 * The sub-tests of a file: the open ones (they nest), their deadlines, the counts, and the outcome that
 * skip() and todo() give them or the file.
 */
#ifndef PV_TESTFILE_TESTS_H
#define PV_TESTFILE_TESTS_H

#include <stddef.h>
#include <stdint.h>

#include "childproto/result.h"

struct pv_testfile;

enum { TF_MAX_NESTED_TESTS = 64 };

/* An open sub-test. */
struct tf_test {
    uint32_t id;
    char *name; /* "outer > inner" */
    int64_t started;
    enum pv_outcome outcome;      /* PV_OK, or that of skip() or todo() */
    char *reason;                 /* of skip() or todo(); NULL: none */
    int64_t timeout_ns, deadline; /* 0: none of its own */
};

struct tf_tests {
    struct tf_test open[TF_MAX_NESTED_TESTS];
    size_t n_open;
    size_t n_begun, n_failed;
    size_t n_deselected;     /* --tag and --no-tag did not let them run */
    enum pv_outcome outcome; /* of the file: skip() or todo() outside of sub-tests */
    char *reason;
    char late_doing[256]; /* the call that ran when a deadline passed; "": none yet */
};

/* The innermost open sub-test's id; PV_NO_TEST outside of sub-tests. */
static inline uint32_t pv_tf_test_id(const struct tf_tests *t)
{
    return t->n_open ? t->open[t->n_open - 1].id : PV_NO_TEST;
}

/* Opens a sub-test. n_open must be below TF_MAX_NESTED_TESTS. */
void pv_tf_test_begin(struct pv_testfile *tf, const char *name);
/*
 * Closes the innermost sub-test and tells the supervisor.  cls and text are of a failure (or text a reason);
 * findings may change the outcome, which is returned.
 */
enum pv_outcome pv_tf_test_end(struct pv_testfile *tf, enum pv_outcome outcome, enum pv_class cls,
                               const char *text);
/*
 * The same for a sub-test whose function returned, or left by skip() or todo(): its deadline makes it fail
 * when it has passed.
 */
enum pv_outcome pv_tf_test_end_returned(struct pv_testfile *tf);
/* Closes all open sub-tests as failed (os.exit). */
void pv_tf_tests_fail(struct pv_testfile *tf, const char *msg);
/* skip() and todo(): sets the outcome of the innermost sub-test, else of the file. reason may be NULL. */
void pv_tf_tests_leave(struct pv_testfile *tf, enum pv_outcome outcome, const char *reason);
void pv_tf_tests_free(struct tf_tests *t);

#endif
