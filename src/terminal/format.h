/* SPDX-License-Identifier: MIT */
/*
 * A run's report as text for people (docs/running.md).  Pure functions that write into a buffer.  They
 * sanitise the strings of tests and guests for a terminal.
 */
#ifndef PV_TERMINAL_FORMAT_H
#define PV_TERMINAL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

#include "report/report.h"
#include "util/mem.h"

struct pv_format_style {
    bool color, verbose;
    bool quiet; /* only files that failed */
    bool fail_on_flaky;
    /* "provium test --config x": with a file's path, the command that reruns the file; NULL: not shown */
    const char *rerun;
};

/* The block of a file that has ended. */
void pv_format_file(struct pv_buf *out, const struct pv_file_report *f, const struct pv_format_style *st);
/* "Failed test logs:" and the last line. stopped_by: "SIGINT" or another signal; NULL: not stopped. */
void pv_format_summary(struct pv_buf *out, const struct pv_file_report *files, size_t n,
                       const char *stopped_by, const struct pv_format_style *st);
/* The slowest files, at most `most`, and an empty line. */
void pv_format_durations(struct pv_buf *out, const struct pv_file_report *files, size_t n, size_t most);

#endif
