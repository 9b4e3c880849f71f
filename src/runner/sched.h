/* SPDX-License-Identifier: MIT */
/*
 * The scheduler: slots, the order of files, retries, repetitions, restarts for the pool.  Output and signals
 * are the runner's (runner.c).
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
    /* A file begins, perhaps again; expected_ns: duration of its last run, -1: not known. */
    void (*begin)(struct pv_file_report *f, int64_t expected_ns, void *arg);
    /* A file has ended; last: for good, otherwise it is about to begin again. */
    void (*end)(struct pv_file_report *f, bool last, void *arg);
    void (*notice)(const char *text, size_t n, void *arg);
    /* With --live: lines of a VM, or (vm NULL) of the file's own output. */
    void (*live)(const struct pv_file_report *f, const char *vm, enum pv_live_kind kind, const char *text,
                 size_t n, void *arg);
    /* A file could not be started: the run is over, sched_stop was called. */
    void (*failed)(const struct pv_err *err, void *arg);
    void *arg;
};

/* Plans all files and repetitions, starts none. */
struct sched *sched_new(const struct sched_opts *o);
/* No file runs any more. NULL is fine. */
void sched_free(struct sched *s);

/* One per file and repetition, in the order of the list of files. */
struct pv_file_report *sched_reports(const struct sched *s, size_t *n);
/* Duration of the last run of the i-th report's file, nanoseconds; -1: not known. */
int64_t sched_expected(const struct sched *s, size_t i);
unsigned sched_jobs(const struct sched *s);

/* Starts a file in every slot; each file that ends starts the next one. */
void sched_start(struct sched *s);
/* No further file begins; running files get SIGTERM (stop) or SIGKILL (kill). */
void sched_stop(struct sched *s);
void sched_kill(struct sched *s);
/* Makes all running files wait with what they send, until on is false. */
void sched_hold(struct sched *s, bool on);
bool sched_running(const struct sched *s);
/* No file runs, and none will. */
bool sched_done(const struct sched *s);

#endif
