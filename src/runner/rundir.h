/* SPDX-License-Identifier: MIT */
/*
 * The directory of one run, ${TMPDIR:-/tmp}/provium-XXXXXX, with a subdirectory per test file for console
 * logs.  The run and the processes of its test files hold a lock on the directory: an unlocked directory
 * without a file `kept` belongs to a crashed run, and the next run removes it.  The newest 10 kept
 * directories stay, at most for 7 days.
 */
#ifndef PV_RUNNER_RUNDIR_H
#define PV_RUNNER_RUNDIR_H

#include <limits.h>
#include <stdbool.h>

struct pv_err;

struct pv_rundir {
    char path[PATH_MAX]; /* absolute; "" while there is none */
    int fd;
};

#define PV_RUNDIR_INIT \
    { \
        .path = "", .fd = -1 \
    }

/* In it: the cache of a run that cannot use the user's. */
#define PV_RUNDIR_CACHE ".cache"

/*
 * Makes it (mode 0700), and first removes the directories of crashed runs of this user and old kept ones.
 * Refuses a place where another user could exchange it: class usage.
 */
int pv_rundir_open(struct pv_rundir *d, struct pv_err *err);

/* keep: marks it as kept and leaves it, without its cache; otherwise removes it with all that is in it. Twice is fine. */
void pv_rundir_close(struct pv_rundir *d, bool keep);

/* Removes everything as pv_rundir_close does, with async-signal-safe calls only. */
void pv_rundir_remove_in_handler(const struct pv_rundir *d);

#endif
