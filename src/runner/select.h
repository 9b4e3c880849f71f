/* SPDX-License-Identifier: MIT */
/*
 * Selects the files of a run, and their order:
 *
 *     found (find.h) -> -f -> --rerun-failed -> --shard -> --shuffle
 *
 * All but the last two are the same on every machine of a sharded run, so `provium merge` expects
 * results for the names before sharding.
 */
#ifndef PV_RUNNER_SELECT_H
#define PV_RUNNER_SELECT_H

#include <stdbool.h>
#include <stdint.h>

#include "runner/find.h"
#include "runner/shard.h"
#include "util/mem.h"

struct pv_err;
struct pv_history;

struct pv_select_opts {
    struct pv_strv paths;     /* files and directories */
    struct pv_find_rule rule; /* what makes a file below a directory a test; borrowed */
    struct pv_strv only;      /* -f: names that contain one of these; empty: all */
    bool rerun_failed;
    bool allow_none;       /* an empty selection is no error */
    struct pv_shard shard; /* 0 of 0: all */
    bool shuffle;
    uint64_t seed; /* of the shuffle */
};

struct pv_selection {
    struct pv_test_list files; /* to run: by path, or shuffled */
    struct pv_strv all;        /* names of the files of all shards */
    struct pv_strv notes;      /* lines for the user */
    bool cache_ok;             /* the user's cache is used */
};

/*
 * Class usage when there is nothing to run (and allow_none is not set), except that --rerun-failed finds
 * nothing that failed, or that this shard gets no file: then the list is empty, and a note says so.
 * --rerun-failed where no run was recorded is an error too.
 */
int pv_select(const struct pv_select_opts *o, const struct pv_history *h, struct pv_selection *out,
              struct pv_err *err);
void pv_selection_free(struct pv_selection *s);

/* Shuffles n things of `size` bytes each; the same seed gives the same order everywhere. */
void pv_shuffle(void *base, size_t n, size_t size, uint64_t seed);

#endif
