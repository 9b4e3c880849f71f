/* SPDX-License-Identifier: MIT */
/* The caller's options for one test file or one build of a fixture. */
#ifndef PV_TESTFILE_ENV_H
#define PV_TESTFILE_ENV_H

#include <stdbool.h>

#include "config/config.h"

struct pv_lease;
struct pv_result;
struct pv_strv;

/* The effect of a kernel report that no test expects. */
enum pv_guest_policy {
    PV_POLICY_FAIL,   /* fails the sub-test that was running, else the file */
    PV_POLICY_REPORT, /* is shown, and fails nothing */
    PV_POLICY_IGNORE
};

/* A person at a stopped file. */
struct pv_debug_io {
    int in, out;
    bool stop; /* --debug: where something fails; sub-tests have no limits */
    bool keep; /* --keep: at the end of a file that failed */
};

/* Borrowed for as long as the file runs. */
struct pv_testfile_env {
    const struct pv_config *config;
    enum pv_accel accel;
    struct pv_result *result; /* the supervisor's end; gets the verdict last */
    struct pv_lease *lease;   /* the pool of memory and CPUs; NULL: no limit */
    const char *log_dir;      /* for console logs; NULL: none */
    const char *root;         /* the directory of tests on the command line; NULL: a file was named */
    const char *version;      /* provium.version */
    /* --tag and --no-tag: a sub-test runs when it has one of `tags` (if there are any) and none of `no_tags`.
     * NULL: none. */
    const struct pv_strv *tags, *no_tags;
    /* --meta and --no-meta, "KEY=VALUE": the same by a sub-test's meta. */
    const struct pv_strv *meta, *no_meta;
    bool slow_tests;          /* --slow-tests */
    bool live;                /* --live: output of VMs goes to `result` as it comes */
    bool watch;               /* --watch: paths that the file reads go to `result` */
    const char *save_dir;     /* --save-failed; NULL: not given */
    const char *vmcore_dir;   /* --vmcore; NULL: not given */
    const char *coverage_dir; /* --coverage; NULL: not given */
    enum pv_guest_policy oopses, warnings;
    const struct pv_debug_io *debug; /* NULL: nothing stops */
};

#endif
