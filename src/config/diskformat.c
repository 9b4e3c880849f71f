/* SPDX-License-Identifier: MIT */
/*
 * The magic numbers are from the formats' specifications or from QEMU's block drivers.
 */
#include "config/diskformat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"

#define CONVERT "convert it with `qemu-img convert -O qcow2 %s NEW.qcow2` and use that"
#define UNPACK "unpack it first (%s holds compressed bytes)"

/* The largest offset of the table below is that of an ISO's; btrfs has its superblock at 64 KiB, ZFS all of 256 KiB. */
enum { FOREIGN_BYTES = 33 * 1024, ROOT_BYTES = 256 * 1024 };

static const struct {
    unsigned offset, len;
    const char *magic;
    const char *name;
    const char *advice; /* a format with one %s, the path */
} foreign[] = {
    {0, 4, "KDMV", "a VMDK image", CONVERT},
    {0, 4, "COWD", "a VMDK image", CONVERT},
    {0, 21, "# Disk DescriptorFile", "a VMDK descriptor", CONVERT},
    {64, 4, "\x7f\x10\xda\xbe", "a VDI image", CONVERT},
    {0, 8, "vhdxfile", "a VHDX image", CONVERT},
    {0, 8, "conectix", "a VHD image", CONVERT},
    {0, 4, "QED\0", "a QED image", CONVERT},
    {0, 16, "WithoutFreeSpace", "a Parallels image", CONVERT},
    {0, 16, "WithouFreSpacExt", "a Parallels image", CONVERT},
    {0, 8, "QFI\xfb\0\0\0\1", "a qcow image of version 1", CONVERT},
    {32769, 5, "CD001", "an ISO 9660 (CD) image",
     "make a disk image with a Linux root out of what is in it, or set rootfs_format = \"raw\" if %s "
     "really is the guest's root"},
    {0, 2, "\x1f\x8b", "compressed with gzip", UNPACK},
    {0, 6,
     "\xfd"
     "7zXZ\0",
     "compressed with xz", UNPACK},
    {0, 4, "\x28\xb5\x2f\xfd", "compressed with zstd", UNPACK},
    {0, 3, "BZh", "compressed with bzip2", UNPACK},
    {0, 4, "PK\3\4", "a zip archive", UNPACK},
    {0, 6, "070701", "a cpio archive", "a root archive goes into `initrd`, not `rootfs` (%s)"},
    {257, 5, "ustar", "a tar archive", "make a disk image from it: %s is no block device's content"},
};

static bool has_magic(const char *head, size_t n, unsigned offset, const char *magic, unsigned len)
{
    return n >= (size_t)offset + len && !memcmp(head + offset, magic, len);
}

/* Reads the first `size` bytes of a file, or all of a shorter one, and sets *n to their number. */
static int head_read(const char *path, char *head, size_t size, size_t *n, struct pv_err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *n = 0;
    if (fd < 0)
        return pv_err_sys(err, errno, "cannot open '%s'", path);
    while (*n < size) {
        ssize_t r = read(fd, head + *n, size - *n);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return pv_err_sys(err, errno, "cannot read '%s'", path);
        if (r == 0)
            break;
        *n += (size_t)r;
    }
    return *n ? 0 : pv_err_set(err, PV_E_USAGE, "is empty; expected a disk image");
}

static const char *head_format(const char *path, const char *head, size_t n, struct pv_err *err)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(foreign); i++)
        if (has_magic(head, n, foreign[i].offset, foreign[i].magic, foreign[i].len)) {
            pv_err_set(err, PV_E_USAGE, "is %s, which cannot be used as it is; ", foreign[i].name);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            pv_err_append(err, foreign[i].advice, path);
#pragma GCC diagnostic pop
            return NULL;
        }
    return has_magic(head, n, 0, "QFI\xfb", 4) ? "qcow2" : "raw";
}

const char *pv_disk_format(const char *path, struct pv_err *err)
{
    char head[FOREIGN_BYTES];
    size_t n;

    return head_read(path, head, sizeof(head), &n, err) < 0 ? NULL : head_format(path, head, n, err);
}

/* NULL, or what bytes are in which no file system and no partition table begins: those have zeros and others. */
static const char *no_root(const char *head, size_t n)
{
    size_t zeros = 0, text = 0;

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)head[i];

        zeros += c == 0;
        text += c >= 0x80 || (c >= ' ' && c < 0x7f) || (c >= '\t' && c <= '\r') || c == '\033';
    }
    if (text == n)
        return "a text file";
    return zeros == n ? "all zero bytes" : NULL;
}

const char *pv_root_format(const char *path, struct pv_err *err)
{
    cleanup_free char *head = pv_xmalloc(ROOT_BYTES);
    const char *format, *what;
    size_t n;

    if (head_read(path, head, ROOT_BYTES, &n, err) < 0)
        return NULL;
    format = head_format(path, head, n, err);
    what = format ? no_root(head, n) : NULL;
    if (!what)
        return format;
    pv_err_set(
        err, PV_E_USAGE,
        "is %s%s; expected the image of a disk or of a file system, such as mkfs.ext4 and mke2fs -d make",
        what, n == ROOT_BYTES ? " as far as file systems and partition tables begin" : "");
    return NULL;
}
