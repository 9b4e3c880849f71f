/* SPDX-License-Identifier: MIT */
/*
 * Deaths: machines that failed while they ran (pv_vm_failed), each with the sub-test that was running.  A call that
 * meets the death raises an error, and the test knows.  A death that no call has met fails the sub-test, or outside of
 * one the file: nobody would be told of it otherwise.
 */
#ifndef PV_TESTFILE_DEATHS_H
#define PV_TESTFILE_DEATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "childproto/result.h"

struct pv_err;
struct pv_guest;
struct pv_guest_death;
struct pv_testfile;
struct tf_death;

struct tf_deaths {
    struct tf_death *first; /* in order; bounded */
    size_t n;
};

/* For the guests' observer.  Does not block. */
void pv_tf_deaths_add(struct pv_testfile *tf, const struct pv_guest *g, const struct pv_guest_death *death);
/* Looks for machines that have ended since the last call.  Does not block. */
void pv_tf_deaths_notice(struct pv_testfile *tf);
/* The test gets err, which may say why a guest died. */
void pv_tf_deaths_met(struct pv_testfile *tf, const struct pv_err *err);
/* True when the sub-test, or outside of one the file, has one that no call has met. */
bool pv_tf_deaths_unmet(struct pv_testfile *tf, uint32_t test_id);
/*
 * The sub-test has ended with this outcome, class and message (replaced, heap): an unmet one fails it, and its
 * console is shown.  True when there was one.  Forgets the sub-test's.
 */
bool pv_tf_deaths_judge(struct pv_testfile *tf, uint32_t test_id, enum pv_outcome *outcome,
                        enum pv_class *cls, char **msg);
void pv_tf_deaths_free(struct tf_deaths *list);

#endif
