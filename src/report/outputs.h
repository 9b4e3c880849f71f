/* SPDX-License-Identifier: MIT */
/*
 * The reports for machines and browsers: --json, --junit, --tap, --html.  The writers (json.c, junit.c,
 * tap.c, html.c) are pure: report model in, bytes out, so that `provium merge` makes the same reports out of
 * what it read.  This file is where they go:
 *
 *   JSON lines, TAP   written as files end
 *   JUnit, HTML       each file's part goes to a nameless file; the whole is put together again and takes its
 *                     place by rename: at the start, after a file has ended (when that is long enough ago for
 *                     the time it takes), and at the end.  So there is a valid one at every moment, also
 * after SIGKILL.
 *
 *     rs = pv_reports_open(&opts, &info, loop, &err);         before anything runs: bad paths are errors here
 *     pv_reports_begin(rs, f); ... pv_reports_file(rs, f);    per file
 *     pv_reports_end(rs, exit_code, stopped_by, &err);        the last word
 *     pv_reports_free(rs);
 */
#ifndef PV_REPORT_OUTPUTS_H
#define PV_REPORT_OUTPUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report/report.h"

struct pv_err;
struct pv_loop;
struct pv_reports;

#define PV_REPORT_SCHEMA "provium-report/1"

/* Where reports go; NULL: not wanted. "-" is standard output, which only one may have. */
struct pv_report_opts {
    const char *json, *junit, *html;
    bool tap; /* to standard output */
};

/* What is known before the first file starts. Strings may hold any bytes. */
struct pv_run_info {
    const char *version;     /* of Provium */
    const char *host;        /* name of this machine */
    const char *directory;   /* working directory */
    int64_t started_ns;      /* since 1970 */
    const char *const *args; /* the command line, from the command's name on */
    size_t n_args;
    unsigned shard, shards;   /* 3 of 8; 0 of 0 when the run is not sharded */
    const char *const *files; /* names of all files of the unsharded run, what merge checks against */
    size_t n_files;
    const char *const *selected; /* names of those that this run runs; NULL: all */
    size_t n_selected;           /* their number, in either case */
    unsigned repeat;             /* each is run so often, as "NAME (K of N)"; 0 or 1: once, as NAME */
    int64_t duration_ns;         /* of a run that is over, and only told again; 0: by the clock */
};

/* testcase elements, which are sub-tests and what files say of themselves. */
struct pv_junit_counts {
    size_t cases, failures, errors, skipped;
};

/* Counts of files and sub-tests, from the reports of files that have ended. */
struct pv_totals {
    size_t files, passed, failed, skipped, helpers, interrupted, flaky;
    size_t tests, tests_passed, tests_failed, tests_skipped;
    struct pv_junit_counts junit;
};

void pv_totals_add(struct pv_totals *t, const struct pv_file_report *f);

/* What is known when the last file has ended. */
struct pv_run_end {
    struct pv_totals totals;
    size_t not_run;         /* selected files that were never started */
    const char *stopped_by; /* "SIGINT"; NULL: the run was not stopped */
    int exit_code;          /* -1: the run goes on (reports that are rewritten while it does) */
    int64_t duration_ns;
};

/* True when a report needs steps and consoles (pv_result_want_steps, pv_report_load_consoles). */
bool pv_reports_want_steps(const struct pv_report_opts *o);
/* True when a report has standard output, so that what is for people belongs on standard error. */
bool pv_reports_take_stdout(const struct pv_report_opts *o);

/*
 * Opens every file asked for and writes its beginning.  info must stay.  With a loop, pipes and terminals are
 * written from it, without one they are written at once (may block).  NULL with *err: class usage naming the
 * option and path.
 */
struct pv_reports *pv_reports_open(const struct pv_report_opts *o, const struct pv_run_info *info,
                                   struct pv_loop *loop, struct pv_err *err);
/* The file has started (again, under --retries). */
void pv_reports_begin(struct pv_reports *rs, const struct pv_file_report *f);
/* The file has ended, its report is complete; or (f->ran is false) it will not be started any more. */
void pv_reports_file(struct pv_reports *rs, const struct pv_file_report *f);
/*
 * Completes all of them.  exit_code is told in the reports.  -1 with *err when one could not be written, now
 * or before; the others are complete all the same.  Blocks until all is written; with a loop, a reader that
 * stalls gets 10 s.
 */
int pv_reports_end(struct pv_reports *rs, int exit_code, const char *stopped_by, struct pv_err *err);
/* NULL is fine. */
void pv_reports_free(struct pv_reports *rs);

/*
 * Reads the logs of f into f->texts, at most the last `max` bytes of each, and turns the offsets of its steps
 * into offsets of these texts.
 */
void pv_report_load_consoles(struct pv_file_report *f, size_t max);
enum { PV_CONSOLE_FAILED_MAX = 256 * 1024, PV_CONSOLE_PASSED_MAX = 32 * 1024, PV_CONSOLE_TEXTS_MAX = 32 };

/* ---- the writers: each adds to `out` ---- */

/* "ok", "fail", "skip", "todo", "helper", "interrupted", "not-run" */
const char *pv_verdict_name(const struct pv_file_report *f);
/* "ok", "fail", "skip", "todo" */
const char *pv_outcome_name(enum pv_outcome o);

/* One line each, with its newline (docs/report-format.md). */
void pv_json_run(struct pv_buf *out, const struct pv_run_info *info);
void pv_json_begin(struct pv_buf *out, const struct pv_file_report *f);
/* brief: without the text of consoles, and without the steps that are calls. */
void pv_json_file(struct pv_buf *out, const struct pv_file_report *f, bool brief);
void pv_json_end(struct pv_buf *out, const struct pv_run_end *end);
/* A quoted string; bytes that are no UTF-8, and NUL, become the text \xNN. */
void pv_json_str(struct pv_buf *out, const char *s, size_t n);

/* Adds the counts of one file. */
void pv_junit_count(const struct pv_file_report *f, struct pv_junit_counts *c);
/* head, a suite for each file, foot. */
void pv_junit_head(struct pv_buf *out, const struct pv_run_end *end);
void pv_junit_file(struct pv_buf *out, const struct pv_file_report *f, const struct pv_run_info *info);
void pv_junit_foot(struct pv_buf *out);

/* *n counts the points, and is the plan at the end. */
void pv_tap_head(struct pv_buf *out);
void pv_tap_file(struct pv_buf *out, const struct pv_file_report *f, size_t *n);
void pv_tap_foot(struct pv_buf *out, const struct pv_run_end *end, size_t n);

void pv_html_head(struct pv_buf *out, const struct pv_run_info *info, const struct pv_run_end *end);
void pv_html_file(struct pv_buf *out, const struct pv_file_report *f, bool brief);
void pv_html_foot(struct pv_buf *out);

#endif
