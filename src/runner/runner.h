/* SPDX-License-Identifier: MIT */
/*
 * The supervisor runs each test file in a process of its own, watches deadlines and signals, and reports.  It
 * holds no Lua and no VM; its caller passes the function that runs one file.
 */
#ifndef PV_RUNNER_RUNNER_H
#define PV_RUNNER_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "runner/find.h"
#include "report/outputs.h"
#include "report/report.h"
#include "terminal/format.h"
#include "childproto/result.h"

struct pv_err;
struct pv_history;

struct pv_run_file {
    const char *path, *name, *root; /* as in struct pv_test_file; root: NULL if alone */
    const char *log_dir;            /* exists; for console logs */
    int lease;                      /* channel to the pool, for pv_lease_new; the callee's */
    int in, out;                    /* with debug_out: standard input and that; else -1 */
};

/* reason: the options of one run, each of which one place reads */
struct pv_run_opts {
    /*
     * Runs one file, in the file's process, and sends its events through `result`.  SIGTERM ends that process
     * at any moment; its children must end with it by themselves (PR_SET_PDEATHSIG).
     */
    void (*run)(const struct pv_run_file *file, struct pv_result *result, void *arg);
    void *arg;
    int64_t timeout_ns;             /* per file */
    int64_t slow_ns;                /* a file that takes longer gets a line; 0: none does */
    unsigned jobs;                  /* files side by side; 0: pv_plan_jobs decides */
    uint64_t memory;                /* budget of all VMs together, bytes; 0: the host's free memory */
    unsigned cpus;                  /* budget of all VMs together; 0: no limit */
    unsigned retries;               /* more attempts at a file that failed */
    unsigned repeat;                /* how often each file is run; 0 is 1 */
    unsigned durations;             /* how many of the slowest files are listed at the end */
    bool fail_fast;                 /* the first failure ends the run */
    struct pv_format_style style;   /* with fail_on_flaky: a flaky file fails the run */
    struct pv_output_opts reports;  /* paths of the reports for machines and browsers */
    const struct pv_run_info *info; /* their heads */
    const char *title;              /* the first line; NULL: "provium test" */
    struct pv_history *history;     /* durations for the order; updated and saved; NULL: none */
    bool keep_order;                /* files start in the order of the list, not the longest first */
    const struct pv_strv *notes;    /* lines shown before the first file; NULL: none */
    bool own_cache;                 /* the cache is a directory of the run, removed with it */
    bool live;                      /* output of files and their VMs is shown as it comes */
    int debug_out;                  /* not 0: each file gets this process's standard input, and this */
    /* A file's last run has ended; its report is whole.  NULL: nothing. */
    void (*ended)(const struct pv_file_report *f, void *arg);
    bool terminal; /* the output is a terminal that can move its cursor: live lines */
};

/*
 * Blocks until all have run, or SIGINT, SIGTERM or SIGHUP came.  The text for people goes to standard
 * output, or to standard error when a report is written to standard output.
 * Returns the exit code: 0 all passed, 1 something failed, 128 + signal; or -1 with *err.
 */
int pv_runner_run(const struct pv_test_list *files, const struct pv_run_opts *o, struct pv_err *err);

#endif
