/* SPDX-License-Identifier: MIT */
/*
 * A run of `provium test`: which files, and running them.
 *
 *     struct pv_test_plan plan = {0};
 *     rc = pv_test_plan_open(&plan, cmd, err);
 *     if (rc == 0)
 *         rc = pv_test_plan_run(&plan, cmd, NULL, err);
 *     pv_test_plan_close(&plan);
 */
#ifndef PV_CLI_TEST_RUN_H
#define PV_CLI_TEST_RUN_H

#include <stdbool.h>

#include "runner/select.h"

struct pv_config;
struct pv_err;
struct pv_file_report;
struct pv_history;
struct pv_test_cmd;

struct pv_test_plan {
    struct pv_config *config;
    struct pv_history *history;
    struct pv_selection selected;
};

/* A round of --watch. */
struct pv_test_round {
    const char *title; /* the run's first line */
    /* A file's last run in this round has ended; its report has the paths that it read. */
    void (*ended)(const struct pv_file_report *f, void *arg);
    void *arg;
};

/* Loads provium.toml and the history, and selects files.  -1 with *err, class usage or host. */
int pv_test_plan_open(struct pv_test_plan *p, const struct pv_test_cmd *c, struct pv_err *err);
/* {0} is fine. */
void pv_test_plan_close(struct pv_test_plan *p);
/*
 * Runs the selected files, or lists them (--list).  round NULL: no round of --watch.  Blocks; the exit code, or -1
 * with *err.
 */
int pv_test_plan_run(const struct pv_test_plan *p, const struct pv_test_cmd *c,
                     const struct pv_test_round *round, struct pv_err *err);

/* fd is a terminal that understands escape sequences. */
bool pv_test_is_terminal(int fd);

#endif
