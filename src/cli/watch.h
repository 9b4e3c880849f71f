/* SPDX-License-Identifier: MIT */
/* provium test --watch. */
#ifndef PV_CLI_WATCH_H
#define PV_CLI_WATCH_H

struct pv_err;
struct pv_test_cmd;

/*
 * Runs the selected files, then again those whose paths have changed (watch-set.h), until a key or a signal ends
 * it.  Each round is a process of its own.  The exit code: that of the last round, or 128 + signal; -1 with *err:
 * nothing ran.
 */
int pv_watch_run(const struct pv_test_cmd *c, struct pv_err *err);

#endif
