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

#include "image/magic.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

enum { COFF_SIZE = 24, SECTION_SIZE = 40, SECTIONS_MAX = 96, COPY_CHUNK = 1 << 20 };

static bool read_at(int fd, void *to, size_t n, uint64_t at)
{
    return pv_pread_all(fd, to, n, (off_t)at) == (ssize_t)n;
}

/* False: there is no such section. */
static bool find_section(int fd, const char name[8], uint64_t *at, uint64_t *n)
{
    uint8_t dos[64], coff[COFF_SIZE], section[SECTION_SIZE];
    uint64_t pe, in_memory, in_file;

    if (!read_at(fd, dos, sizeof(dos), 0) || memcmp(dos, "MZ", 2) != 0)
        return false;
    pe = pv_little_endian(dos + 0x3c, 4);
    if (!read_at(fd, coff, sizeof(coff), pe) || memcmp(coff, "PE\0\0", 4) != 0)
        return false;
    for (unsigned i = 0; i < pv_little_endian(coff + 6, 2) && i < SECTIONS_MAX; i++) {
        uint64_t entry = pe + COFF_SIZE + pv_little_endian(coff + 20, 2) + (uint64_t)i * SECTION_SIZE;

        if (!read_at(fd, section, sizeof(section), entry))
            return false;
        if (memcmp(section, name, 8) != 0)
            continue;
        in_memory = pv_little_endian(section + 8, 4);
        in_file = pv_little_endian(section + 16, 4);
        *at = pv_little_endian(section + 20, 4);
        *n = in_memory < in_file ? in_memory : in_file;
        return true;
    }
    return false;
}

static int copy_range(int in, uint64_t at, uint64_t n, int out)
{
    cleanup_free char *buf = pv_xmalloc(COPY_CHUNK);

    while (n) {
        ssize_t got = pv_pread_all(in, buf, n < COPY_CHUNK ? (size_t)n : COPY_CHUNK, (off_t)at);

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
