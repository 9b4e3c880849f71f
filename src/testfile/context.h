/* SPDX-License-Identifier: MIT */
/*
 * A context is one thread of a file's work: the script itself, or one of its tasks.  The variables that
 * belong to the running one are in pv_testfile (timeline, command, scope); those of the others are kept here
 * and exchanged when control passes to another task.
 */
#ifndef PV_TESTFILE_CONTEXT_H
#define PV_TESTFILE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "testfile/command.h"
#include "testfile/timeline.h"

struct pv_testfile;

/* The track and the sub-test of a task.  Zero-initialised: the script itself. */
struct tf_scope {
    char track[24]; /* of its steps: "task 3"; "": the script's own, and those of the VMs */
    size_t depth;   /* of a task: sub-tests that were open when it began */
};

struct tf_context {
    struct tf_timeline timeline;
    struct tf_command command;
    struct tf_scope scope;
    struct tf_context *next;
};

/* Memory and CPUs of the pool, and what waits for them (pool.c). */
struct tf_pool {
    unsigned tasks;    /* that have not ended */
    unsigned stalled;  /* contexts that cannot go on before others do: they wait for the pool or for tasks */
    bool asking;       /* a request of this file is with the pool: one at a time */
    unsigned held;     /* leases of this file's VMs, and builds that it has begun */
    uint64_t releases; /* so far */
};

/* The number of open sub-tests that the running context belongs to: the innermost is open[depth - 1]. */
size_t pv_tf_depth(const struct pv_testfile *tf);
/* Adds a task's context, zero-initialised but for scope.track; it belongs to the scope of the running one. */
void pv_tf_context_add(struct pv_testfile *tf, struct tf_context *c);
void pv_tf_context_remove(struct pv_testfile *tf, struct tf_context *c);
/* Exchanges the variables of the running context with those in c. */
void pv_tf_context_swap(struct pv_testfile *tf, struct tf_context *c);

#endif
