/* SPDX-License-Identifier: MIT */
#include "image/magic.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

struct magic {
    size_t offset;
    size_t n;
    const char *bytes;
    const char *what;
};

/*
 * The first match wins.  The compressions are those of Linux' lib/decompress.c; the other magics are from the
 * Linux boot protocols for x86 and arm64 and from each format's specification.
 */
static const struct magic comps[PV_COMP_COUNT] = {
    [PV_COMP_GZIP] = {0, 3, "\x1f\x8b\x08", "gzip"},
    [PV_COMP_BZIP2] = {0, 3, "BZh", "bzip2"},
    [PV_COMP_LZMA] = {0, 3, "\x5d\x00\x00", "lzma"},
    [PV_COMP_XZ] = {0, 6,
                    "\xfd"
                    "7zXZ\x00",
                    "xz"},
    [PV_COMP_LZO] = {0, 9, "\x89LZO\x00\x0d\x0a\x1a\x0a", "lzo"},
    [PV_COMP_LZ4] = {0, 4, "\x02\x21\x4c\x18", "lz4"},
    [PV_COMP_ZSTD] = {0, 4, "\x28\xb5\x2f\xfd", "zstd"},
};

static const struct magic files[] = {
    {0, 4, "\x7f\x45LF", "an ELF file"},
    {0x202, 4, "HdrS", "an x86 Linux kernel (bzImage)"},
    {56, 4, "ARM\x64", "an arm64 Linux kernel (Image)"},
    {0x38, 4, "RSC\x05", "a RISC-V Linux kernel (Image)"},
    {0, 6, "070701", "a cpio archive (newc)"},
    {0, 6, "070702", "a cpio archive (newc with checksums)"},
    {0, 6, "070707", "a cpio archive in the old portable format (odc)"},
    {0, 2, "\xc7\x71", "a cpio archive in the old binary format"},
    {0, 3, "\x1f\x8b\x08", "a gzip file"},
    {0, 3, "BZh", "a bzip2 file"},
    {0, 4,
     "\xfd"
     "7zX",
     "an xz file"},
    {0, 9, "\x89LZO\x00\x0d\x0a\x1a\x0a", "an lzop file"},
    {0, 4, "\x02\x21\x4c\x18", "an lz4 file (legacy frame)"},
    {0, 4, "\x04\x22\x4d\x18", "an lz4 file in the modern frame format (the kernel needs `lz4 -l`)"},
    {0, 4, "\x28\xb5\x2f\xfd", "a zstd file"},
    {257, 5, "ustar", "a tar archive"},
    {0, 4, "QFI\xfb", "a qcow2 disk image"},
    {0, 4, "hsqs", "a squashfs image"},
    {0x438, 2, "\x53\xef", "an ext2/3/4 file system image"},
    {510, 2, "\x55\xaa", "a disk image with a boot sector"},
    {0, 4, "PK\x03\x04", "a zip archive"},
    {0, 7, "!<arch>", "an ar archive (a Debian package?)"},
    {0, 4, "\xed\xab\xee\xdb", "an RPM package"},
    {0, 2, "MZ", "an EFI or Windows program (a unified kernel image?)"},
    {0, 4, "\x27\x05\x19\x56", "a U-Boot image"},
    {0, 4, "\xd0\x0d\xfe\xed", "a device tree or FIT image"},
    {0, 2, "#!", "a script"},
    {0, 3, "\x5d\x00\x00", "an lzma file"},
};

static int magic_matches(const struct magic *m, const char *data, size_t n)
{
    return m->n && n >= m->offset + m->n && !memcmp(data + m->offset, m->bytes, m->n);
}

enum pv_comp pv_magic_comp(const void *data, size_t n)
{
    for (enum pv_comp c = PV_COMP_NONE + 1; c < PV_COMP_COUNT; c++)
        if (magic_matches(&comps[c], data, n))
            return c;
    return PV_COMP_NONE;
}

uint64_t pv_little_endian(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    while (n--)
        v = v << 8 | p[n];
    return v;
}

const char *pv_comp_name(enum pv_comp c)
{
    assert(c < PV_COMP_COUNT);
    return c == PV_COMP_NONE ? "none" : comps[c].what;
}

const char *pv_magic_describe(const void *data, size_t n)
{
    const unsigned char *p = data;
    size_t zeros = 0, text = 0;

    if (!n)
        return "empty";
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (magic_matches(&files[i], data, n))
            return files[i].what;
    for (size_t i = 0; i < n; i++) {
        zeros += p[i] == 0;
        text += p[i] >= 0x80 || isprint(p[i]) || isspace(p[i]);
    }
    if (zeros == n)
        return "all zero bytes";
    if (text == n)
        return "a text file";
    return "unknown data";
}
