/* SPDX-License-Identifier: MIT */
/*
 * The writers of --json, --junit, --tap and --html (json.c, junit.c, tap.c, html.c): pure functions from the
 * model (report.h) to bytes that they add to `out`.  A run and `provium merge` use the same ones.
 */
#ifndef PV_REPORT_WRITERS_H
#define PV_REPORT_WRITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report/report.h"
#include "util/mem.h"

#define PV_REPORT_SCHEMA "provium-report/1"

/* The head of a report, known before the first file starts. Strings may hold any bytes. */
struct pv_run_info {
    const char *version;     /* of Provium */
    const char *host;        /* name of this machine */
    const char *directory;   /* working directory */
    int64_t started_ns;      /* since 1970 */
    const char *const *args; /* the command line, from the command's name on */
    size_t n_args;
    unsigned shard, shards;   /* 3 of 8; 0 of 0 when the run is not sharded */
    const char *const *files; /* names of all files of the unsharded run, for merge's check */
    size_t n_files;
    const char *const *selected; /* names of the files that this run runs; NULL: all */
    size_t n_selected;           /* their number, in either case */
    unsigned repeat;             /* runs of each file, called "NAME (K of N)"; 0 or 1: one, called NAME */
    int64_t duration_ns;         /* of a run that merge repeats; 0: a run that goes on */
};

/* Numbers of testcase elements: sub-tests, and files with a message or verdict of their own. */
struct pv_junit_counts {
    size_t cases, failures, errors, skipped;
};

/* Counts of files and sub-tests, from the reports of files that have ended. */
struct pv_totals {
    size_t files, passed, failed, skipped, helpers, interrupted, flaky;
    size_t tests, tests_passed, tests_failed, tests_skipped, tests_xfailed;
    size_t tests_flaky; /* of those that passed */
    struct pv_junit_counts junit;
};

void pv_totals_add(struct pv_totals *t, const struct pv_file_report *f);

/* The end of a report, known when the last file has ended. */
struct pv_run_end {
    struct pv_totals totals;
    size_t not_run;         /* selected files that were never started */
    const char *stopped_by; /* "SIGINT"; NULL: the run was not stopped */
    int exit_code;          /* -1: the run goes on (reports that are rewritten while it does) */
    int64_t duration_ns;
};

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

/* A list of strings. */
void pv_json_strings(struct pv_buf *out, const struct pv_strv *v);
/* The object of a sub-test's meta: each value a string, or a list of strings. */
void pv_json_meta(struct pv_buf *out, const struct pv_test_report *t);

/* Adds the counts of one file. */
void pv_junit_count(const struct pv_file_report *f, struct pv_junit_counts *c);
/* head, a suite for each file, foot. */
void pv_junit_head(struct pv_buf *out, const struct pv_run_end *end);
void pv_junit_file(struct pv_buf *out, const struct pv_file_report *f, const struct pv_run_info *info);
void pv_junit_foot(struct pv_buf *out);

/* *n counts the test points; at the end it is the plan. */
void pv_tap_head(struct pv_buf *out);
void pv_tap_file(struct pv_buf *out, const struct pv_file_report *f, size_t *n);
void pv_tap_foot(struct pv_buf *out, const struct pv_run_end *end, size_t n);

void pv_html_head(struct pv_buf *out, const struct pv_run_info *info, const struct pv_run_end *end);
void pv_html_file(struct pv_buf *out, const struct pv_file_report *f, bool brief);
void pv_html_foot(struct pv_buf *out);

#endif
