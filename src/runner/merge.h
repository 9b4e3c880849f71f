/* SPDX-License-Identifier: MIT */
/*
 * One report out of the reports of shards.  What is missing (a shard, or the result of a file) becomes a
 * failure of the files concerned and of the whole, so that no consumer of the merged report can overlook it.
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
    struct pv_history *history; /* told how files ended, and saved; NULL: none */
};

/*
 * paths: JSON reports, and directories that are searched for them (*.json, *.jsonl; deep).  Blocks.  What
 * people read goes to standard output, or to standard error when another report has that.
 *
 * Returns the exit code that the whole run would have had, at least 1 when something is missing; or -1 with
 * *err, class usage, before anything is written, when the reports cannot be of one run: no report, a shard or
 * a file twice, different divisions or different files.
 */
int pv_merge(const struct pv_strv *paths, const struct pv_merge_opts *o, struct pv_err *err);

#endif
