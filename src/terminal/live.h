/* SPDX-License-Identifier: MIT */
/*
 * The terminal while files run.  Permanent text (blocks of files that ended, notices) goes through
 * pv_live_put.  On a terminal a few live lines below it show the running files; they are redrawn at most ten
 * times a second, never by blocking, and erased in the end.  SIGUSR1, and Enter on a terminal, print the full
 * status (status.h).
 *
 * The terminal's modes are never changed (keys are read in the user's mode, so Enter is the key) and the
 * cursor is never hidden: SIGKILL leaves a sane terminal.  Between redraws the cursor stands at the beginning
 * of the line below the live lines, so that output of other processes does no harm.
 *
 *     live = pv_live_new(loop, &out, &opts, err);
 *     pv_live_expect(live, duration or -1);       // once per file, before the first begins
 *     pv_live_begin(live, report, duration or -1);
 *     pv_live_end(live, report, true);            // false: it will be tried again
 *     pv_live_put(live, &text);
 *     pv_live_finish(live);                       // no live lines from here on
 *     pv_live_free(live);
 *
 * SIGUSR1, SIGWINCH, SIGTSTP and SIGCONT are blocked from pv_live_new on (pv_live_free undoes it); children
 * must reset their signal mask.
 */
#ifndef PV_TERMINAL_LIVE_H
#define PV_TERMINAL_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report/report.h"
#include "terminal/format.h"

struct pv_err;
struct pv_live;
struct pv_loop;
struct pv_out;

struct pv_live_opts {
    bool terminal; /* draw; standard output is a terminal that can move its cursor */
    unsigned jobs; /* files side by side, for the estimate */
    struct pv_format_style style;
};

/* NULL with *err when the signals cannot be watched. */
struct pv_live *pv_live_new(struct pv_loop *loop, struct pv_out *out, const struct pv_live_opts *o,
                            struct pv_err *err);
/* Erases the live lines. NULL is fine. */
void pv_live_free(struct pv_live *l);

/* Announces a file that will run; duration_ns: of its last run, -1: not known. */
void pv_live_expect(struct pv_live *l, int64_t duration_ns);
/* Borrows `report` until pv_live_end. */
void pv_live_begin(struct pv_live *l, const struct pv_file_report *report, int64_t expected_ns);
/* last: counts it by its outcome; false: it begins again later. */
void pv_live_end(struct pv_live *l, const struct pv_file_report *report, bool last);
/* Shows in the live lines that the run is being stopped. */
void pv_live_stopping(struct pv_live *l);

/* Prints the text of b and leaves b empty. l NULL: drops the text. */
void pv_live_put(struct pv_live *l, struct pv_buf *b);
/* Prints the full status. */
void pv_live_status(struct pv_live *l);
/* Erases the live lines for good. Twice is fine. */
void pv_live_finish(struct pv_live *l);

#endif
