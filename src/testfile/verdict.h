/* SPDX-License-Identifier: MIT */
/* Verdicts: a sub-test's or file's outcome in the light of its findings, and the file's own outcome. */
#ifndef PV_TESTFILE_VERDICT_H
#define PV_TESTFILE_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "childproto/result.h"

struct pv_testfile;

/*
 * Changes outcome, class and message (*msg is the caller's; it may be NULL) by the findings of the sub-test,
 * or of the file with PV_NO_TEST.  Blocks until it is decided whether a VM whose console speaks of a panic has
 * one, no longer than the sub-tests' limit.  Returns true when a finding fails it, whatever else does; also a
 * panic whose error a sub-test got that failed then, which keeps its own class and message.
 */
bool pv_tf_judge(struct pv_testfile *tf, uint32_t test_id, enum pv_outcome *outcome, enum pv_class *cls,
                 char **msg);
/* The outcome of a file before its own findings; ok: its code raised no error. */
enum pv_outcome pv_tf_file_outcome(const struct pv_testfile *tf, bool ok);
/*
 * A file has ended with msg (NULL: none; the caller's), cls and outcome, and its VMs too, so that no report can
 * come any more: judges its findings, and sends logs, and console tails if it failed.
 */
void pv_tf_file_judge(struct pv_testfile *tf, enum pv_outcome *outcome, enum pv_class *cls, char **msg);

#endif
