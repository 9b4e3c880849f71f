/* SPDX-License-Identifier: MIT */
/* The order in which files are started, and the number of slots. Pure. */
#ifndef PV_RUNNER_PLAN_H
#define PV_RUNNER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Fills order[0..n) with the numbers 0..n-1: longest first by duration_ns, where a negative duration (not
 * known) counts as the average of the known ones; files of equal duration keep their order.
 */
void pv_plan_order(const int64_t *duration_ns, size_t n, size_t *order);

/* Limits of the number of slots when -p was not given. */
struct pv_plan_limits {
    unsigned cpus;        /* of the host */
    bool budget;          /* --mem or --cpus was given */
    size_t files;         /* to run */
    uint64_t descriptors; /* that this process may have */
};

enum { PV_PLAN_JOBS_MAX = 128, PV_PLAN_FDS_PER_JOB = 6, PV_PLAN_FDS_SPARE = 64 };

/*
 * Half of the CPUs, at least 2; with a budget as many as there are files.  At most PV_PLAN_JOBS_MAX, at most
 * the files, at least 1.
 */
unsigned pv_plan_jobs(const struct pv_plan_limits *l);

#endif
