/* SPDX-License-Identifier: MIT */
#include "net/fate.h"

#include "net/network.h"

/* The output function of SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014). */
static uint64_t fate_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

/* Each chance has a draw of its own, so that changing one option leaves the others' decisions as they are. */
enum draw { DRAW_LOSS, DRAW_DUPLICATE, DRAW_REORDER, DRAW_CORRUPT, DRAW_JITTER, DRAW_BIT };

static uint64_t fate_draw(uint64_t key, enum draw what)
{
    return fate_mix(key + (uint64_t)what * 0xd1342543de82ef95);
}

static bool fate_chance(uint64_t key, enum draw what, double p)
{
    /* 53 bits, the precision of a double: 0 <= x < 1, so 0 never and 1 always happens. */
    return (double)(fate_draw(key, what) >> 11) * 0x1p-53 < p;
}

struct pv_fate pv_fate_of(uint64_t seed, unsigned from, unsigned to, uint64_t n, size_t size,
                          const struct pv_impair *i)
{
    uint64_t key = fate_mix(fate_mix(fate_mix(seed) ^ ((uint64_t)from << 32 | to)) ^ n);
    struct pv_fate f = {
        .lost = fate_chance(key, DRAW_LOSS, i->loss),
        .duplicated = fate_chance(key, DRAW_DUPLICATE, i->duplicate),
        .reordered = fate_chance(key, DRAW_REORDER, i->reorder),
        .corrupted = size > PV_ETHER_MIN && fate_chance(key, DRAW_CORRUPT, i->corrupt),
        .delay = i->latency,
    };
    if (i->jitter > 0)
        f.delay += (int64_t)(fate_draw(key, DRAW_JITTER) % (uint64_t)(2 * i->jitter + 1)) - i->jitter;
    if (f.delay < 0)
        f.delay = 0;
    if (f.corrupted)
        f.corrupt_bit = fate_draw(key, DRAW_BIT) % ((size - PV_ETHER_MIN) * 8);
    return f;
}
