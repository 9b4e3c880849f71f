/* SPDX-License-Identifier: MIT */
/*
 * The history of a project's runs: for each test file its last duration and whether it failed.  One file per
 * project, in the user's cache, or the file of --history.
 *
 *     struct pv_history *h = pv_history_load(config->dir, NULL, notice);
 *     ns = pv_history_duration(h, file->path);
 *     ...
 *     pv_history_put(h, file->path, failed, duration_ns);
 *     pv_history_save(h, &err);                               a failure is a notice, not the run's
 *
 * Files are known by their paths below the project's directory, however they were reached.  Reading never
 * fails: a damaged or foreign file counts as empty, and the notice says so.  Saving merges this run's results
 * into the file under a lock, and replaces it by rename: of two runs at once none loses results.
 */
#ifndef PV_RUNNER_HISTORY_H
#define PV_RUNNER_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_history;

/*
 * project: the directory of provium.toml, or the working directory.  file: where it is kept; NULL: in the
 * cache.  notice: gets one line when the file could not be used, else "".  Never NULL.
 */
struct pv_history *pv_history_load(const char *project, const char *file, char notice[static 512]);
void pv_history_free(struct pv_history *h); /* NULL is fine */

/* False when no run of this project was ever recorded here. */
bool pv_history_known(const struct pv_history *h);
/* The path of its file; "" when there is no place for one. */
const char *pv_history_path(const struct pv_history *h);

/* `path` leads to the test file (struct pv_test_file.path). */

/* Nanoseconds that its last run took; -1: not known. */
int64_t pv_history_duration(const struct pv_history *h, const char *path);
/* True when its last run failed. */
bool pv_history_failed(const struct pv_history *h, const char *path);

/*
 * From now on the run covers only part of each file (--tag): a failure is recorded, a pass clears none, and
 * durations are kept.
 */
void pv_history_partial(struct pv_history *h);
/*
 * For a shard: puts and saves do nothing, because the run's other shards, on this machine or on another one
 * with the same home directory, must divide by the same durations.  `provium merge` records all results.
 */
void pv_history_read_only(struct pv_history *h);
/*
 * The file has run to its end.  Not for an interrupted file, whose entry stays.
 * duration_ns < 0: keep the one that is known.
 */
void pv_history_put(struct pv_history *h, const char *path, bool failed, int64_t duration_ns);
/*
 * Writes the entries that were put, and removes those of deleted test files.  Without a put, or
 * without a place (the notice of pv_history_load has told), it does nothing.
 * Waits for another run that saves, at most 5 s.  -1 with *err when the write fails; a file that is no
 * history is replaced in the cache, but not if the user named it.
 */
int pv_history_save(struct pv_history *h, struct pv_err *err);

#endif
