/* SPDX-License-Identifier: MIT */
/*
 * FNV-1a of 64 bits (public domain, by Fowler, Noll and Vo): tells texts apart that nobody chose to collide.  Not for
 * input that somebody may craft.
 */
#ifndef PV_UTIL_HASH_H
#define PV_UTIL_HASH_H

#include <stddef.h>
#include <stdint.h>

#define PV_HASH_BEGIN UINT64_C(0xcbf29ce484222325)

/* The hash of what h is the hash of (PV_HASH_BEGIN: nothing), followed by n bytes. */
static inline uint64_t pv_hash(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;

    while (n--)
        h = (h ^ *p++) * UINT64_C(0x100000001b3);
    return h;
}

#endif
