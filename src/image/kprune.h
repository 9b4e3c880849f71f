/* SPDX-License-Identifier: MIT */
/* Eviction from CACHE/kernels, for users who build a kernel a hundred times a day. */
#ifndef PV_IMAGE_KPRUNE_H
#define PV_IMAGE_KPRUNE_H

#include <stddef.h>
#include <time.h>

enum {
    PV_KPRUNE_KEEP = 8,     /* the most recently used kernels that always stay */
    PV_KPRUNE_AGE_S = 3600, /* a kernel used within this time stays too: it may be booting */
};

/*
 * `dir` is the open directory; it stays open.  Removes kernels beyond the `keep` most recently used whose last use is more than `age` seconds ago, with
 * their .ok files; temporary files of that age; and .src files that were not rewritten for 30 days.
 */
void pv_kprune(int dir, size_t keep, time_t age);

#endif
