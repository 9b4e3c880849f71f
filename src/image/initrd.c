/* SPDX-License-Identifier: MIT */
#include "image/initrd.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "image/magic.h"
#include "util/err.h"
#include "util/path.h"

enum {
    NEWC_HEADER = 110, /* "070701" and 13 numbers of 8 hexadecimal digits */
    COPY_CHUNK = 256 << 10,
};

static int refuse_archive(const char *path, const char *what, struct pv_err *err)
{
    return pv_err_set(
        err, PV_E_USAGE,
        "initrd '%s' is %s; expected a cpio archive (newc), plain or compressed with gzip, bzip2, "
        "lzma, xz, lzo, lz4 -l or zstd",
        path, what);
}

static bool is_newc(const char *head, size_t n)
{
    if (n < NEWC_HEADER || (memcmp(head, "070701", 6) != 0 && memcmp(head, "070702", 6) != 0))
        return false;
    for (size_t i = 6; i < NEWC_HEADER; i++)
        if (!isxdigit((unsigned char)head[i]))
            return false;
    return true;
}

int pv_initrd_open(const char *path, struct pv_err *err)
{
    /* O_NONBLOCK: opening a fifo must not block. */
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char head[PV_MAGIC_BYTES];
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return pv_err_set_at(err, PV_E_USAGE, errno, __FILE__, __LINE__, "cannot open initrd '%s': %s", path,
                             strerror(errno));
    if (fstat(fd, &st) < 0)
        return pv_err_sys(err, errno, "cannot stat initrd '%s'", path);
    if (!S_ISREG(st.st_mode))
        return refuse_archive(path, S_ISDIR(st.st_mode) ? "a directory" : "no regular file", err);
    n = pv_pread_all(fd, head, sizeof(head), 0);
    if (n < 0)
        return pv_err_sys(err, errno, "cannot read initrd '%s'", path);
    if (is_newc(head, (size_t)n) || pv_magic_comp(head, (size_t)n) != PV_COMP_NONE)
        return pv_steal_fd(&fd);
    if (n >= 6 && (!memcmp(head, "070701", 6) || !memcmp(head, "070702", 6)))
        return refuse_archive(path, "a cpio archive with a damaged first header", err);
    return refuse_archive(path, pv_magic_describe(head, (size_t)n), err);
}

int pv_initrd_check(const char *path, struct pv_err *err)
{
    int fd = pv_initrd_open(path, err);

    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

/* copy_some with read and write, for file systems that do not support sendfile. */
static ssize_t copy_by_hand(int in, int out, off_t *at)
{
    cleanup_free char *buf = pv_xmalloc(COPY_CHUNK);
    ssize_t n = pv_pread_all(in, buf, COPY_CHUNK, *at);

    if (n > 0) {
        if (pv_write_all(out, buf, (size_t)n) < 0)
            return -1;
        *at += n;
    }
    return n;
}

/* Copies some bytes from *at on and advances it.  Returns their number, 0 at the end, -1 with errno. */
static ssize_t copy_some(int in, int out, off_t *at, size_t left)
{
    ssize_t n = sendfile(out, in, at, left < (1u << 30) ? left : 1u << 30);

    if (n < 0 && (errno == EINVAL || errno == ENOSYS || errno == EOVERFLOW))
        return copy_by_hand(in, out, at);
    return n;
}

int pv_initrd_copy(const char *path, int in, int out, struct pv_err *err)
{
    static const char zeros[8];
    off_t at = 0;
    struct stat st;

    if (fstat(in, &st) < 0)
        return pv_err_sys(err, errno, "cannot stat initrd '%s'", path);
    while (at < st.st_size) {
        ssize_t n = copy_some(in, out, &at, (size_t)(st.st_size - at));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pv_err_sys(err, errno, "cannot copy initrd '%s'", path);
        if (n == 0)
            return pv_err_set(err, PV_E_USAGE, "initrd '%s' became shorter while it was read", path);
    }
    /*
     * The kernel expects the next archive at a multiple of 4 and skips zero bytes before it.  Its lz4 reader
     * ends only at four zero bytes right behind its data: hence at least four.
     */
    if (pv_write_all(out, zeros, 4 + (size_t)(-at & 3)) < 0)
        return pv_err_sys(err, errno, "cannot write the initramfs");
    return 0;
}

/* ---- the unpacked size ---- */

enum { ZSTD_HEAD_MAX = 18 };

/* The content size in the header of a zstd frame (RFC 8878, 3.1.1.1), 0 if it has none. */
static uint64_t zstd_content(const uint8_t head[static ZSTD_HEAD_MAX])
{
    static const uint8_t id_bytes[] = {0, 1, 2, 4}, size_bytes[] = {0, 2, 4, 8};
    unsigned flag = head[4] >> 6;
    bool single = head[4] & 0x20;
    const uint8_t *at = head + 5 + (single ? 0 : 1) + id_bytes[head[4] & 3];

    if (!flag)
        return single ? *at : 0;
    return pv_little_endian(at, size_bytes[flag]) + (flag == 1 ? 256 : 0);
}

static uint64_t newc_number(const char *header, unsigned field)
{
    char hex[9] = "";

    memcpy(hex, header + 6 + 8 * (size_t)field, 8);
    return strtoul(hex, NULL, 16);
}

/* The content of all files of the archives that begin at `at`. */
static uint64_t newc_content(int fd, off_t at)
{
    char head[NEWC_HEADER];
    uint64_t sum = 0;

    while (pv_pread_all(fd, head, sizeof(head), at) == (ssize_t)sizeof(head)) {
        if (!is_newc(head, sizeof(head)))
            break;
        sum += newc_number(head, 6);
        at = (at + NEWC_HEADER + (off_t)newc_number(head, 11) + 3) & ~(off_t)3;
        at = (at + (off_t)newc_number(head, 6) + 3) & ~(off_t)3;
    }
    return sum;
}

uint64_t pv_initrd_unpacked(const char *path)
{
    cleanup_close int fd = pv_initrd_open(path, NULL);
    uint8_t head[ZSTD_HEAD_MAX] = {0};
    struct stat st;
    uint64_t size = 0;

    if (fd < 0 || fstat(fd, &st) < 0 || pv_pread_all(fd, head, sizeof(head), 0) < 0)
        return 0;
    if (!memcmp(head, "07070", 5))
        return newc_content(fd, 0);
    if (pv_magic_comp((const char *)head, sizeof(head)) == PV_COMP_ZSTD)
        size = zstd_content(head);
    return size ? size : (uint64_t)st.st_size - (uint64_t)st.st_size / 64;
}
