/* SPDX-License-Identifier: MIT */
/*
 * The corpus: each kind of kernel report and death, in each phase of a VM's life, beside none, one or two other VMs,
 * and the class that the report must give it.
 */
#ifndef TESTS_FAKE_CORPUS_H
#define TESTS_FAKE_CORPUS_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/fake/run.h"

struct corpus;

/*
 * only: "PHASE:KIND", each of which may be empty, or "PHASE"; NULL: all.  full: every kind in every phase with one, two and
 * three VMs; else every other kind with one of these numbers.
 */
struct corpus *corpus_new(bool full, const char *only);
void corpus_free(struct corpus *c);
struct fake_case *corpus_cases(struct corpus *c, size_t *n);
/* The class that the case must have, "" for one that is ok. */
const char *corpus_class(const struct corpus *c, const struct fake_case *of);

#endif
