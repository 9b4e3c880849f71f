/* SPDX-License-Identifier: MIT */
/*
 * The status of a run as text: one line per running file and a bar for a terminal, and the full status for a
 * key press or SIGUSR1.  Pure functions: callers pass times and console lines and get text in a buffer.
 */
#ifndef PV_TERMINAL_STATUS_H
#define PV_TERMINAL_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report/report.h"
#include "terminal/format.h"

/* A file that runs. */
struct pv_doing {
    const struct pv_file_report *report;
    int64_t started;     /* pv_now() */
    int64_t expected_ns; /* duration of its last run; -1: not known */
};

struct pv_progress {
    size_t total, passed, failed, skipped, flaky; /* files */
    int64_t elapsed_ns;
    int64_t left_ns; /* estimate; -1: there is none */
    bool stopping;   /* the run was told to end */
};

/* The files that have not begun, for the estimate. */
struct pv_backlog {
    int64_t known_ns; /* sum of the known durations */
    size_t unknown;   /* number of files of unknown duration */
    int64_t mean_ns;  /* estimate for each of these; -1: none */
    unsigned jobs;
};

/* "booting vm2 (starting QEMU)", "in test \"x\": running 'ls' in vm1"; one line, not cleaned. */
void pv_status_doing(struct pv_buf *out, const struct pv_file_report *f);
/* One line of at most `cols` columns, with newline; names are padded to name_cols. */
void pv_status_line(struct pv_buf *out, const struct pv_doing *d, int64_t now, unsigned cols,
                    unsigned name_cols, const struct pv_format_style *st);
/* One line of at most `cols` columns, with newline. */
void pv_status_bar(struct pv_buf *out, const struct pv_progress *p, unsigned cols,
                   const struct pv_format_style *st);
/* The live lines: the oldest files, as many as fit, and the bar. At most rows - 1 lines. */
void pv_status_screen(struct pv_buf *out, const struct pv_doing *running, size_t n,
                      const struct pv_progress *p, int64_t now, unsigned cols, unsigned rows,
                      const struct pv_format_style *st);
/* The full status: every file and at most 16 VMs of each. tail: pv_tail_of_log, or a fake of a test. */
void pv_status_full(struct pv_buf *out, const struct pv_doing *running, size_t n, const struct pv_progress *p,
                    int64_t now,
                    int (*tail)(const char *path, unsigned lines, struct pv_buf *out, int64_t *age_ns));

/* The VMs of one file, each on a line that begins with a newline. */
void pv_status_vms(struct pv_buf *out, const struct pv_file_report *f, int64_t now,
                   int (*tail)(const char *path, unsigned lines, struct pv_buf *out, int64_t *age_ns));

/* Estimate of the run's remaining time, nanoseconds; -1: none. */
int64_t pv_status_left(const struct pv_doing *running, size_t n, const struct pv_backlog *b, int64_t now);

/* "8s", "1m05s", "2h03m" */
const char *pv_status_time(int64_t ns, char buf[static 32]);

#endif
