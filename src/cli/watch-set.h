/* SPDX-License-Identifier: MIT */
/*
 * The test files of `provium test --watch` with the paths that each has read, and the changes among these.
 *
 * A path has changed when its stamp (util/stamp.h) differs from the one that it had before it was read; inotify
 * only says when it is worth to compare.  So no change is lost between a file's read and the next look, nor while
 * the set is not looked at.
 *
 *     pv_watchset_add(set, "tests/a.lua");                          it is due: it never ran
 *     pv_watchset_ran(set, "tests/a.lua");                          from here on its run's paths
 *     pv_watchset_input(set, PV_INPUT_FILE, "/x/lib.lua", stamp);
 *     pv_watchset_done(set, true);
 *     pv_loop_add(loop, &watch, pv_watchset_fd(set), EPOLLIN, err); readable: something happened
 *     pv_watchset_look(set, false, &changed, &notes);               which files are due now
 */
#ifndef PV_CLI_WATCH_SET_H
#define PV_CLI_WATCH_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "childproto/result.h"
#include "util/mem.h"

struct pv_err;
struct pv_watchset;

/* NULL with *err, class host. */
struct pv_watchset *pv_watchset_new(struct pv_err *err);
void pv_watchset_free(struct pv_watchset *s); /* NULL is fine */
/* Readable when a watched directory has changed; borrowed. */
int pv_watchset_fd(const struct pv_watchset *s);
/* False: directories could not all be watched, so the caller has to look from time to time. */
bool pv_watchset_sees_all(const struct pv_watchset *s);

/* Adds a test file that is due; one that is known already stays as it is. */
void pv_watchset_add(struct pv_watchset *s, const char *path);
/* Forgets files that are not among the n `paths`; their names are added to `gone`. */
void pv_watchset_keep(struct pv_watchset *s, const char *const *paths, size_t n, struct pv_strv *gone);
/* A path by which all files are due when it changes. */
void pv_watchset_common(struct pv_watchset *s, const char *path);
/* Watches a directory with all below it: entries that come and go make pv_watchset_fd readable. */
void pv_watchset_dir(struct pv_watchset *s, const char *dir);

/* The file has run: the paths that are added next are its, until pv_watchset_done. */
void pv_watchset_ran(struct pv_watchset *s, const char *path);
void pv_watchset_input(struct pv_watchset *s, enum pv_input_kind kind, const char *path, uint64_t stamp);
/* passed: paths of earlier runs count no more. */
void pv_watchset_done(struct pv_watchset *s, bool passed);

/*
 * Empties the descriptor, compares all stamps, and adds the paths that have changed to `changed`, shown from the
 * working directory.  after_round: files have just run.  One that changes its own inputs whenever it runs would
 * run for ever: from the fifth time on such a change is left out, and `notes` gets a line.  Blocks on the file
 * system.
 */
void pv_watchset_look(struct pv_watchset *s, bool after_round, struct pv_strv *changed,
                      struct pv_strv *notes);

/*
 * The file has to run: it is new, one of its paths has changed since it began to run, or the last round ended
 * before it.  The latter alone is no reason for a round: pv_watchset_count_due leaves it out.
 */
bool pv_watchset_is_due(const struct pv_watchset *s, const char *path);
void pv_watchset_all_due(struct pv_watchset *s);
/* A round begins with the files that are due: they are no more. */
void pv_watchset_begin(struct pv_watchset *s);
size_t pv_watchset_count_due(const struct pv_watchset *s);
/* Numbers of files, and of the paths that they read. */
size_t pv_watchset_count(const struct pv_watchset *s, size_t *inputs);

#endif
