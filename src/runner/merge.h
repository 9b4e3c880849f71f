/* SPDX-License-Identifier: MIT */
/*
 * Merges the reports of shards into one.  A missing shard or result fails the files concerned and the whole
 * run, so that no consumer of the merged report can overlook it.
 */
#ifndef PV_RUNNER_MERGE_H
#define PV_RUNNER_MERGE_H

#include "report/outputs.h"
#include "terminal/format.h"
#include "util/mem.h"

struct pv_err;
struct pv_history;

struct pv_merge_opts {
    const char *version; /* of Provium */
    struct pv_strv args; /* the command line */
    struct pv_output_opts reports;
    struct pv_format_style style;
    struct pv_history *history; /* updated and saved; NULL: none */
};

/*
 * paths: JSON reports, and directories that are searched for them (*.json, *.jsonl; deep).  Blocks.  The
 * text for people goes to standard output, or to standard error when a report goes to standard output.
 *
 * Returns the exit code that the whole run would have had, at least 1 when something is missing; or -1 with
 * *err, class usage, before anything is written, when the reports cannot be of one run: no report, a shard or
 * a file twice, different divisions or different files.
 */
int pv_merge(const struct pv_strv *paths, const struct pv_merge_opts *o, struct pv_err *err);

#endif
