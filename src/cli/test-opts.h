/* SPDX-License-Identifier: MIT */
/* The command line of provium test. */
#ifndef PV_CLI_TEST_OPTS_H
#define PV_CLI_TEST_OPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/options.h"
#include "config/config.h"
#include "report/outputs.h"
#include "runner/select.h"
#include "testfile/env.h"
#include "util/mem.h"

struct pv_err;

enum test_color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

/* The options of the scheduler. */
struct test_schedule {
    unsigned jobs, cpus, durations, retries, repeat;
    uint64_t memory;
    int64_t slow_ns;
    bool fail_fast, fail_on_flaky, debug, keep, watch;
};

/* The sub-tests of each file. */
struct test_subtests {
    struct pv_strv tags, no_tags;
    struct pv_strv meta, no_meta; /* "KEY=VALUE" */
    bool slow;
};

/* --guest-warnings and --guest-oopses; the texts as given, NULL: not given. */
struct test_policy {
    enum pv_guest_policy warnings, oopses;
    const char *warnings_text, *oopses_text;
};

struct pv_test_cmd {
    const char *config;
    enum pv_accel accel;
    int64_t timeout_ns;
    struct test_schedule schedule;
    const char *accel_text, *timeout_text; /* as given; NULL: not given */
    struct pv_select_opts select;
    struct test_subtests subtests;
    struct test_policy policy;
    const char *history;
    struct {
        const char *save_failed, *vmcore, *coverage;
    } dirs; /* NULL: not given */
    bool list, verbose, quiet, live, help;
    enum test_color color;
    struct pv_output_opts reports;
    int argc;
    char **argv; /* as given, for the reports */
};

/*
 * Fills in *c, which is zeroed, with the defaults and the options; -1 with *err (class usage).  Strings of
 * argv are borrowed.  pv_test_opts_fini frees the lists in every case.
 */
int pv_test_opts_parse(struct pv_test_cmd *c, int argc, char **argv, struct pv_err *err);
void pv_test_opts_fini(struct pv_test_cmd *c);

extern const struct pv_opt pv_test_opts[]; /* for help and completion */

#endif
