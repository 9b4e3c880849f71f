/* SPDX-License-Identifier: MIT */
/*
 * Shards: a run divided among machines that do not talk to each other.  Each computes the same division from
 * the same files and runs its part.  Pure functions, except pv_shard_auto.
 */
#ifndef PV_RUNNER_SHARD_H
#define PV_RUNNER_SHARD_H

#include <stddef.h>
#include <stdint.h>

struct pv_err;

enum { PV_SHARDS_MAX = 10000 };

struct pv_shard {
    unsigned index, count; /* 3 of 8; 0 of 0: not sharded */
};

/* "3/8", or "auto" (pv_shard_auto). Class usage, for the option that was called `option`. */
int pv_shard_parse(const char *text, const char *option, struct pv_shard *out, struct pv_err *err);

/*
 * From the environment that job engines set: Slurm array, Kubernetes indexed Job, GitLab, CircleCI,
 * Buildkite.  Class usage, naming the variables, when there is none, when two engines contradict each
 * other, and when the values are no shard.
 */
int pv_shard_auto(struct pv_shard *out, struct pv_err *err);

struct pv_shard_file {
    const char *name;    /* no two are the same */
    int64_t duration_ns; /* -1: not known, counts as the average of the known ones */
};

/*
 * Sets the shard (0 to count - 1) of each file.  It depends on the set of files with their durations and on
 * count only, not on their order.
 */
void pv_shard_divide(const struct pv_shard_file *files, size_t n, unsigned count, unsigned *shard_of);

#endif
