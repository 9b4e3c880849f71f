/* SPDX-License-Identifier: MIT */
/*
 * What the run is doing now, as text: a line per file and a bar for a terminal, and the full account that a
 * key press or SIGUSR1 asks for.  Pure: times and console lines are given, bytes go into a buffer.
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
    int64_t expected_ns; /* what it took last time; -1: not known */
};

struct pv_progress {
    size_t total, passed, failed, skipped, flaky; /* files */
    int64_t elapsed_ns;
    int64_t left_ns; /* estimate; -1: there is none */
    bool stopping;   /* the run was told to end */
};

/* What is still to run, for the estimate. */
struct pv_backlog {
    int64_t known_ns; /* files not begun whose duration is known, in sum */
    size_t unknown;   /* files not begun of unknown duration */
    int64_t mean_ns;  /* what a file of unknown duration counts as; -1: not known either */
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
/* All of a live display: as many files as fit (the oldest), and the bar. At most rows - 1 lines. */
void pv_status_screen(struct pv_buf *out, const struct pv_doing *running, size_t n,
                      const struct pv_progress *p, int64_t now, unsigned cols, unsigned rows,
                      const struct pv_format_style *st);
/*
 * Every file and each of its VMs.  tail: pv_tail_of_log or a stand-in.  Bounded: 16 VMs a file.
 */
void pv_status_full(struct pv_buf *out, const struct pv_doing *running, size_t n, const struct pv_progress *p,
                    int64_t now,
                    int (*tail)(const char *path, unsigned lines, struct pv_buf *out, int64_t *age_ns));

/* The VMs of one file alone, on lines of their own: a newline first, none last. No VM: nothing. */
void pv_status_vms(struct pv_buf *out, const struct pv_file_report *f, int64_t now,
                   int (*tail)(const char *path, unsigned lines, struct pv_buf *out, int64_t *age_ns));

/* How much longer the run takes, or -1. */
int64_t pv_status_left(const struct pv_doing *running, size_t n, const struct pv_backlog *b, int64_t now);

/* "8s", "1m05s", "2h03m" */
const char *pv_status_time(int64_t ns, char buf[static 32]);

#endif
