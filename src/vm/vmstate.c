/* SPDX-License-Identifier: MIT */
/*
 * QEMU's stream (docs/devel/migration.rst; migration/savevm.c and migration/ram.c in QEMU's sources; numbers
 * are big-endian):
 *
 *     "QEVM", u32 3
 *     0x07, u32 length, machine type, then subsections: 0x05, u8 length, name, u32 version, contents
 *     sections of memory: 0x01 (first) | 0x02 | 0x03 (last), u32 section; the first also has u8 length, "ram",
 *         u32 instance, u32 version; then records of u64 address | flags; then 0x7e, u32 section
 *     devices: 0x04 ... 0x00, then 0x06, u32 length, a description in JSON
 */
#include "vm/vmstate.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Flags of a record of memory. */
enum { R_ZERO = 0x02, R_SIZES = 0x04, R_PAGE = 0x08, R_EOS = 0x10, R_CONTINUE = 0x20, R_MASK = 0xfff };

struct in {
    const unsigned char *p;
    size_t n, at;
    bool truncated;
};

static uint64_t in_get(struct in *in, unsigned bytes)
{
    uint64_t v = 0;

    if (in->n - in->at < bytes) {
        in->truncated = true;
        in->at = in->n;
        return 0;
    }
    while (bytes--)
        v = v << 8 | in->p[in->at++];
    return v;
}

static void in_skip(struct in *in, uint64_t n)
{
    if (in->n - in->at < n) {
        in->truncated = true;
        n = in->n - in->at;
    }
    in->at += n;
}

static unsigned in_peek(const struct in *in)
{
    return in->at < in->n ? in->p[in->at] : 0;
}

static bool skip_configuration(struct in *in)
{
    static const char known[] = "configuration/capabilities";

    if (in_peek(in) != PV_VMSTATE_CONFIGURATION)
        return true;
    in_skip(in, 1);
    in_skip(in, in_get(in, 4));
    while (in_peek(in) == PV_VMSTATE_SUBSECTION) {
        size_t len;

        in_skip(in, 1);
        len = (size_t)in_get(in, 1);
        if (len != sizeof(known) - 1 || in->n - in->at < len || memcmp(in->p + in->at, known, len) != 0)
            return false; /* a subsection has no length: an unknown one cannot be skipped */
        in_skip(in, len + 4);
        for (uint64_t n = in_get(in, 4); n > 0 && !in->truncated; n--)
            in_skip(in, in_get(in, 1));
    }
    return !in->truncated;
}

/* Name, size and address of each block of memory, `left` bytes in sum. */
static void skip_block_list(struct in *in, uint64_t left)
{
    while (left > 0 && !in->truncated) {
        uint64_t size;

        in_skip(in, in_get(in, 1));
        size = in_get(in, 8);
        in_skip(in, 8);
        left = size && size <= left ? left - size : 0;
    }
}

/* The records of one section of memory. */
static bool skip_memory(struct in *in)
{
    while (!in->truncated) {
        uint64_t v = in_get(in, 8), flags = v & R_MASK;

        if (flags & R_EOS)
            return true;
        if (flags & R_SIZES) {
            skip_block_list(in, v & ~(uint64_t)R_MASK);
            continue;
        }
        if (!(flags & R_CONTINUE))
            in_skip(in, in_get(in, 1));
        if (flags & R_ZERO)
            in_skip(in, 1);
        else if (flags & R_PAGE)
            in_skip(in, 4096);
        else
            return false;
    }
    return false;
}

size_t pv_vmstate_head(const void *data, size_t n)
{
    struct in in = {.p = data, .n = n};
    bool seen = false;

    if (in_get(&in, 4) != 0x5145564d || in_get(&in, 4) != 3 || !skip_configuration(&in))
        return 0;
    for (;;) {
        uint64_t type = in_get(&in, 1);

        if (in.truncated)
            return 0;
        if (type == PV_VMSTATE_FULL)
            return seen ? in.at - 1 : 0;
        if (type < PV_VMSTATE_START || type > PV_VMSTATE_END)
            return 0;
        in_skip(&in, 4);
        if (type == PV_VMSTATE_START) {
            if (in_get(&in, 1) != 3 || in.n - in.at < 3 || memcmp(in.p + in.at, "ram", 3) != 0)
                return 0;
            in_skip(&in, 3 + 8);
        }
        if (!skip_memory(&in) || in_get(&in, 1) != PV_VMSTATE_FOOTER)
            return 0;
        in_skip(&in, 4);
        seen = true;
    }
}
