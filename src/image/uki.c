/* SPDX-License-Identifier: MIT */
/*
 * Fields of a PE program (Microsoft, "PE Format"):
 *
 *     0x3c  u32  offset of "PE\0\0"; then, from its end:
 *      +2   u16  number of sections
 *      +16  u16  size of the optional header, which the section table follows 20 bytes behind "PE\0\0"
 *
 * and of an entry of the section table, 40 bytes: name[8], virtual size, address, size and offset in the file.
 */
#include "image/uki.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

enum { COFF_SIZE = 24, SECTION_SIZE = 40, SECTIONS_MAX = 96, COPY_CHUNK = 1 << 20 };

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static bool read_at(int fd, void *to, size_t n, uint64_t at)
{
    return pread(fd, to, n, (off_t)at) == (ssize_t)n;
}

/* False: there is no such section. */
static bool find_section(int fd, const char name[8], uint64_t *at, uint64_t *n)
{
    uint8_t dos[64], coff[COFF_SIZE], section[SECTION_SIZE];
    uint64_t pe;

    if (!read_at(fd, dos, sizeof(dos), 0) || memcmp(dos, "MZ", 2) != 0)
        return false;
    pe = get_u32(dos + 0x3c);
    if (!read_at(fd, coff, sizeof(coff), pe) || memcmp(coff, "PE\0\0", 4) != 0)
        return false;
    for (unsigned i = 0; i < get_u16(coff + 6) && i < SECTIONS_MAX; i++) {
        uint64_t entry = pe + COFF_SIZE + get_u16(coff + 20) + (uint64_t)i * SECTION_SIZE;

        if (!read_at(fd, section, sizeof(section), entry))
            return false;
        if (memcmp(section, name, 8) != 0)
            continue;
        *at = get_u32(section + 20);
        *n = get_u32(section + 8) < get_u32(section + 16) ? get_u32(section + 8) : get_u32(section + 16);
        return true;
    }
    return false;
}

static int copy_range(int in, uint64_t at, uint64_t n, int out)
{
    cleanup_free char *buf = pv_xmalloc(COPY_CHUNK);

    while (n) {
        ssize_t got = pread(in, buf, n < COPY_CHUNK ? (size_t)n : COPY_CHUNK, (off_t)at);

        if (got <= 0 || pv_write_all(out, buf, (size_t)got) < 0)
            return -1;
        at += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return 0;
}

int pv_uki_kernel(const char *path, int fd, uint64_t size, struct pv_err *err)
{
    static const char name[8] = ".linux";
    cleanup_close int out = -1;
    uint64_t at, n;

    if (!find_section(fd, name, &at, &n))
        return -1;
    if (!n || at > size || n > size - at)
        return pv_err_set(err, PV_E_USAGE, "kernel '%s' is a unified kernel image that is cut short", path);
    out = memfd_create("provium-kernel", MFD_CLOEXEC);
    if (out < 0 || copy_range(fd, at, n, out) < 0)
        return pv_err_sys(err, errno, "cannot take the kernel out of '%s'", path);
    return pv_steal_fd(&out);
}
