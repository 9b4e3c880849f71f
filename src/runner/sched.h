/* SPDX-License-Identifier: MIT */
/*
 * Which file runs when and how often: slots, order, retries, repetitions, the pool.  Output and signals are
 * the runner's (runner.c).
 */
#ifndef PV_RUNNER_SCHED_H
#define PV_RUNNER_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runner/find.h"
#include "report/report.h"
#include "runner/rundir.h"
#include "runner/runner.h"

struct sched;

struct sched_opts {
    const struct pv_run_opts *run;
    const struct pv_test_list *files;
    struct pv_loop *loop;
    const struct pv_rundir *dir;
    int64_t base_ns; /* of the reports */
    /* A file begins: (again, when it has begun before); expected_ns: what it took last time, -1: not known.
     */
    void (*begin)(struct pv_file_report *f, int64_t expected_ns, void *arg);
    /* It has ended; last: for good.  Otherwise it is about to begin again. */
    void (*end)(struct pv_file_report *f, bool last, void *arg);
    void (*notice)(const char *text, size_t n, void *arg);
    /* A file could not be started: the run is over, sched_stop was called. */
    void (*failed)(const struct pv_err *err, void *arg);
    void *arg;
};

/* Everything is planned, nothing started.  The reports are those of all files (and of every repetition). */
struct sched *sched_new(const struct sched_opts *o);
/* Nothing may run any more. NULL is fine. */
void sched_free(struct sched *s);

/* In the order of the list of files. */
struct pv_file_report *sched_reports(const struct sched *s, size_t *n);
/* What the i-th report's file took last time; -1: not known. */
int64_t sched_expected(const struct sched *s, size_t i);
unsigned sched_jobs(const struct sched *s);

/* Starts as many files as there is place for; from then on each that ends makes place for the next. */
void sched_start(struct sched *s);
/* No file begins any more; those that run are stopped, or killed. */
void sched_stop(struct sched *s);
void sched_kill(struct sched *s);
bool sched_running(const struct sched *s);
/* Nothing runs, and nothing is going to. */
bool sched_done(const struct sched *s);

#endif
