/* SPDX-License-Identifier: MIT */
/* The fault rules of a test file, each with its sub-test, which is told of a rule without a hit. */
#ifndef PV_TESTFILE_RULES_H
#define PV_TESTFILE_RULES_H

#include <stdint.h>

struct pv_disk_rule;
struct pv_testfile;
struct tf_rule;

struct tf_rules {
    struct tf_rule *first;
};

/* A rule of the running sub-test, begun at `place` ("FILE:LINE").  Keeps the rule until that ends: the caller's
   reference must live as long, so the list takes one of its own. */
void pv_tf_rule_add(struct pv_testfile *tf, struct pv_disk_rule *r, const char *place);
/* The sub-test, or the file (PV_NO_TEST), is about to end. */
void pv_tf_rules_end(struct pv_testfile *tf, uint32_t test_id);
void pv_tf_rules_free(struct tf_rules *rules);

#endif
