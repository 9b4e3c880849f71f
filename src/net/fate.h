/* SPDX-License-Identifier: MIT */
/* The chances of an impairment, as a pure function: no clock, no state. */
#ifndef PV_NET_FATE_H
#define PV_NET_FATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_impair;

struct pv_fate {
    bool lost, duplicated, reordered, corrupted;
    int64_t delay;      /* ns: latency and jitter */
    size_t corrupt_bit; /* of the bytes behind the Ethernet header; of meaning if corrupted */
};

/* The fate of frame number n (from 0) of size bytes, from end number `from` to `to`. */
struct pv_fate pv_fate_of(uint64_t seed, unsigned from, unsigned to, uint64_t n, size_t size,
                          const struct pv_impair *i);

#endif
