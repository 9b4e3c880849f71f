/* SPDX-License-Identifier: MIT */
/*
 * The supervisor: runs each test file in a process of its own, watches deadlines and signals, reports.
 * It holds no Lua and no VM; how one file is run is a function it is given.
 */
#ifndef PV_RUNNER_RUNNER_H
#define PV_RUNNER_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "runner/find.h"
#include "report/outputs.h"
#include "childproto/result.h"

struct pv_err;
struct pv_history;

struct pv_run_file {
    const char *path, *name, *root; /* as in struct pv_test_file */
    const char *log_dir;            /* exists; console logs belong here */
    int lease;                      /* channel to the pool, see lease.h; the callee's */
};

struct pv_run_opts {
    /*
     * Runs one file, in a process of its own, and says through `result` how it went.  SIGTERM ends that
     * process at any moment; what has to go with it must go by itself (PR_SET_PDEATHSIG).
     */
    void (*run)(const struct pv_run_file *file, struct pv_result *result, void *arg);
    void *arg;
    int64_t timeout_ns;             /* per file */
    int64_t slow_ns;                /* a file that takes longer gets a line; 0: none does */
    unsigned jobs;                  /* files side by side; 0: as many as is sensible */
    uint64_t memory;                /* of all VMs together, bytes; 0: what the host can spare */
    unsigned cpus;                  /* the same; 0: no limit */
    unsigned retries;               /* more attempts at a file that failed */
    unsigned repeat;                /* how often each file is run; 0 is 1 */
    unsigned durations;             /* how many of the slowest files are listed at the end */
    bool fail_fast;                 /* the first failure ends the run */
    bool fail_on_flaky;             /* a pass after a failed attempt counts as a failure of the run */
    struct pv_output_opts reports;  /* files for machines and browsers */
    const struct pv_run_info *info; /* what they say of the run */
    bool color, verbose, quiet;
    const char *title;           /* the first line; NULL: "provium test" */
    const char *rerun;           /* see pv_format_style */
    struct pv_history *history;  /* longest files first by it; told how files ended, and saved; NULL: none */
    bool keep_order;             /* files start in the order of the list, not the longest first */
    const struct pv_strv *notes; /* lines that are shown before anything runs; NULL: none */
    bool terminal;               /* that output is a terminal that can move its cursor: live lines */
};

/*
 * Blocks until all have run, or SIGINT, SIGTERM or SIGHUP came.  The report for people goes to standard
 * output, or to standard error when another has that.
 * Returns the exit code: 0 all passed, 1 something failed, 128 + signal; or -1 with *err.
 */
int pv_runner_run(const struct pv_test_list *files, const struct pv_run_opts *o, struct pv_err *err);

#endif
