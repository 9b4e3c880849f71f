/* SPDX-License-Identifier: MIT */
/*
 * Reads a JSON report (docs/report-format.md) back into the model that the writers take.
 *
 *     r = pv_readback_open("shard-1.json", &err);        the first line: r->run
 *     while ((rc = pv_readback_next(r, &f, &err)) == 1) { ...; pv_readback_fini(&f); }
 *     r->end ...                                         the last line
 *     pv_readback_free(r);
 *
 * A report is not trusted: another machine wrote it, and its strings come from guests.  A violation of the
 * format is an error of class usage that names file, line and key; unknown keys and types of lines are
 * skipped, as the format requires of readers; a last line without a newline is ignored.
 */
#ifndef PV_REPORT_READBACK_H
#define PV_REPORT_READBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "report/report.h"
#include "util/mem.h"

struct pv_err;

struct pv_readback_run {
    char *version, *host, *directory;
    int64_t started_ns;
    unsigned shard, shards; /* 0 of 0: not sharded */
    unsigned repeat;        /* how often each file was run */
    struct pv_strv args, files, selected;
};

struct pv_readback_end {
    bool there; /* false: no end line, the run was killed */
    int exit_code;
    char *stopped_by; /* NULL: it was not */
    int64_t duration_ns;
};

struct pv_readback {
    struct pv_readback_run run;
    struct pv_readback_end end;
    const char *path; /* borrowed */
    struct pv_readback_private *p;
};

/* Borrows path. NULL with *err; class usage when the file is no report. */
struct pv_readback *pv_readback_open(const char *path, struct pv_err *err);
/*
 * 1: the report of a file, which the caller frees with pv_readback_fini.  Its times count from the start of
 * its run.  0: no more files.  -1 with *err.
 */
int pv_readback_next(struct pv_readback *r, struct pv_file_report *f, struct pv_err *err);
/* pv_file_report_fini, and the name and the path. */
void pv_readback_fini(struct pv_file_report *f);
void pv_readback_free(struct pv_readback *r); /* NULL is fine */

#endif
