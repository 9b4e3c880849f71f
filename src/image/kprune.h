/* SPDX-License-Identifier: MIT */
/* Keeps CACHE/kernels bounded: who builds a kernel a hundred times a day has a hundred of them. */
#ifndef PV_IMAGE_KPRUNE_H
#define PV_IMAGE_KPRUNE_H

#include <stddef.h>
#include <time.h>

enum {
    PV_KPRUNE_KEEP = 8,     /* that many unpacked kernels stay in any case, the last used ones */
    PV_KPRUNE_AGE_S = 3600, /* and what was used within this time, which may be booting just now */
};

/* Removes the others, their notes, forgotten temporary files and notes on sources that nobody renewed. */
void pv_kprune(const char *dir, size_t keep, time_t age);

#endif
