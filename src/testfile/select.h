/* SPDX-License-Identifier: MIT */
/* Which sub-tests --tag, --no-tag, --meta, --no-meta and --slow-tests let run. */
#ifndef PV_TESTFILE_SELECT_H
#define PV_TESTFILE_SELECT_H

#include <stdbool.h>

struct pv_testfile;

/* How a sub-test's tags and meta match the command line. */
struct tf_selection {
    bool tag_wanted, meta_wanted; /* has a tag of --tag, a value of --meta */
    bool unwanted;                /* has one of --no-tag or --no-meta */
};

/* Adds a tag of the sub-test. */
void pv_tf_selection_tag(const struct pv_testfile *tf, struct tf_selection *s, const char *tag);
/* Adds a value, or an element of a list, that the sub-test's meta has under `key`. */
void pv_tf_selection_meta(const struct pv_testfile *tf, struct tf_selection *s, const char *key,
                          const char *value);
/* Whether the command line lets the sub-test run at this place. */
bool pv_tf_selected(const struct pv_testfile *tf, const struct tf_selection *s);
/* Whether slow sub-tests run. */
bool pv_tf_slow_tests(const struct pv_testfile *tf);
/* Why a file is skipped whose sub-tests were all deselected. The caller frees. */
char *pv_tf_none_selected(const struct pv_testfile *tf);

#endif
