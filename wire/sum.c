/* SPDX-License-Identifier: MIT */
/*
 * Four lanes, because four multiplications run side by side; each lane takes every fourth word.  The size goes in
 * last, so that a file of zeros differs from a shorter one.
 */
#include "wire/sum.h"

#include <string.h>

#define ODD UINT64_C(0x9e3779b97f4a7c15) /* 2^64 divided by the golden ratio */

static uint64_t rotate(uint64_t v, unsigned n)
{
    return v << n | v >> (64 - n);
}

static uint64_t mix_word(uint64_t state, uint64_t word)
{
    return rotate((state ^ word) * ODD, 29);
}

static void mix_block(uint64_t lane[PV_SUM_LANES], const uint8_t *p)
{
    for (unsigned i = 0; i < PV_SUM_LANES; i++) {
        uint64_t word;

        memcpy(&word, p + 8 * (size_t)i, 8);
        lane[i] = mix_word(lane[i], word);
    }
}

void pv_wire_sum_init(struct pv_wire_sum *s)
{
    *s = (struct pv_wire_sum){.lane = {1, 2, 3, 4}};
}

void pv_wire_sum_add(struct pv_wire_sum *s, const void *data, size_t n)
{
    size_t have = s->size % PV_SUM_BLOCK;
    const uint8_t *p = data;

    s->size += n;
    if (have) {
        size_t some = n < PV_SUM_BLOCK - have ? n : PV_SUM_BLOCK - have;

        memcpy(s->rest + have, p, some);
        p += some;
        n -= some;
        if (have + some < PV_SUM_BLOCK)
            return;
        mix_block(s->lane, s->rest);
    }
    for (; n >= PV_SUM_BLOCK; p += PV_SUM_BLOCK, n -= PV_SUM_BLOCK)
        mix_block(s->lane, p);
    if (n)
        memcpy(s->rest, p, n);
}

uint64_t pv_wire_sum_end(const struct pv_wire_sum *s)
{
    uint64_t lane[PV_SUM_LANES], sum = s->size;
    uint8_t last[PV_SUM_BLOCK] = {0};

    memcpy(lane, s->lane, sizeof(lane));
    memcpy(last, s->rest, s->size % PV_SUM_BLOCK);
    mix_block(lane, last);
    for (unsigned i = 0; i < PV_SUM_LANES; i++)
        sum = mix_word(sum, lane[i]);
    return sum ^ sum >> 32;
}
