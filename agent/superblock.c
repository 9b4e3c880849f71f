/* SPDX-License-Identifier: MIT */
/*
 * Offsets and magic numbers: Linux's Documentation/filesystems and the on-disk headers of each file system
 * (fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, include/uapi/linux/btrfs_tree.h, fs/squashfs/squashfs_fs.h,
 * fs/erofs/erofs_fs.h, include/linux/f2fs_fs.h), ECMA-119 for ISO 9660.
 */
#include "superblock.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HEAD = 4096, ISO_AT = 32768, BTRFS_AT = 65536, BLOCK = 2048 };

struct areas {
    uint8_t head[HEAD], iso[BLOCK], btrfs[BLOCK];
};

static bool has_magic(const uint8_t *p, size_t off, const void *bytes, size_t n)
{
    return memcmp(p + off, bytes, n) == 0;
}

/* Fixed-width label, NUL- or space-padded. */
static void set_label(struct ag_super *sb, const uint8_t *p, size_t n)
{
    memcpy(sb->label, p, n);
    sb->label[n] = '\0';
    for (size_t k = strlen(sb->label); k && sb->label[k - 1] == ' ';)
        sb->label[--k] = '\0';
}

static void set_uuid(struct ag_super *sb, const uint8_t *u)
{
    snprintf(sb->uuid, sizeof(sb->uuid),
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2], u[3],
             u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

/* For f2fs, whose label is UTF-16LE; characters that are not ASCII become '?'. */
static void set_label_utf16(struct ag_super *sb, const uint8_t *p, size_t units)
{
    size_t n = 0;

    for (size_t i = 0; i < units && n + 1 < sizeof(sb->label); i++) {
        if (!p[2 * i] && !p[2 * i + 1])
            break;
        sb->label[n++] = p[2 * i + 1] ? '?' : (char)p[2 * i];
    }
    sb->label[n] = '\0';
}

static bool is_ext(const struct areas *a, struct ag_super *sb)
{
    const uint8_t *s = a->head + 1024;

    if (!has_magic(s, 0x38, "\x53\xef", 2))
        return false;
    set_uuid(sb, s + 0x68);
    set_label(sb, s + 0x78, 16);
    return true;
}

static bool is_xfs(const struct areas *a, struct ag_super *sb)
{
    if (!has_magic(a->head, 0, "XFSB", 4))
        return false;
    set_uuid(sb, a->head + 32);
    set_label(sb, a->head + 108, 12);
    return true;
}

static bool is_btrfs(const struct areas *a, struct ag_super *sb)
{
    if (!has_magic(a->btrfs, 0x40, "_BHRfS_M", 8))
        return false;
    set_uuid(sb, a->btrfs + 0x20);
    set_label(sb, a->btrfs + 0x12b, 256);
    return true;
}

static bool is_squashfs(const struct areas *a, struct ag_super *sb)
{
    (void)sb;
    return has_magic(a->head, 0, "hsqs", 4) && a->head[28] == 4 && a->head[29] == 0;
}

static bool is_erofs(const struct areas *a, struct ag_super *sb)
{
    const uint8_t *s = a->head + 1024;

    if (!has_magic(s, 0, "\xe2\xe1\xf5\xe0", 4))
        return false;
    set_uuid(sb, s + 48);
    set_label(sb, s + 64, 16);
    return true;
}

static bool is_f2fs(const struct areas *a, struct ag_super *sb)
{
    const uint8_t *s = a->head + 1024;

    if (!has_magic(s, 0, "\x10\x20\xf5\xf2", 4))
        return false;
    set_uuid(sb, s + 108);
    set_label_utf16(sb, s + 124, 512);
    return true;
}

static bool is_iso9660(const struct areas *a, struct ag_super *sb)
{
    if (!has_magic(a->iso, 1, "CD001", 5))
        return false;
    set_label(sb, a->iso + 40, 32);
    return true;
}

static bool is_vfat(const struct areas *a, struct ag_super *sb)
{
    const uint8_t *h = a->head;
    bool fat32 = has_magic(h, 82, "FAT32   ", 8);

    if (!has_magic(h, 510, "\x55\xaa", 2) || (!fat32 && !has_magic(h, 54, "FAT1", 4)))
        return false;
    const uint8_t *v = h + (fat32 ? 67 : 39); /* serial number, then the label */
    snprintf(sb->uuid, sizeof(sb->uuid), "%02x%02x-%02x%02x", v[3], v[2], v[1], v[0]);
    set_label(sb, v + 4, 11);
    return true;
}

static bool is_swap(const struct areas *a, struct ag_super *sb)
{
    (void)sb;
    return has_magic(a->head, HEAD - 10, "SWAPSPACE2", 10);
}

static const struct {
    const char *type;
    bool root;
    bool (*is)(const struct areas *a, struct ag_super *sb);
} kinds[] = {
    {"ext4", true, is_ext},          {"xfs", true, is_xfs},     {"btrfs", true, is_btrfs},
    {"squashfs", true, is_squashfs}, {"erofs", true, is_erofs}, {"f2fs", true, is_f2fs},
    {"swap", false, is_swap},        {"vfat", false, is_vfat},  {"iso9660", true, is_iso9660},
};

/* Bytes that cannot be read, as behind the end of a short device, become zeros. */
static void read_at(int fd, uint8_t *buf, size_t n, off_t off)
{
    memset(buf, 0, n);
    for (size_t got = 0; got < n;) {
        ssize_t r = pread(fd, buf + got, n - got, off + (off_t)got);
        if (r <= 0)
            break;
        got += (size_t)r;
    }
}

bool ag_super_probe(int fd, struct ag_super *sb)
{
    struct areas a;

    read_at(fd, a.head, sizeof(a.head), 0);
    read_at(fd, a.iso, sizeof(a.iso), ISO_AT);
    read_at(fd, a.btrfs, sizeof(a.btrfs), BTRFS_AT);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        memset(sb, 0, sizeof(*sb));
        if (!kinds[i].is(&a, sb))
            continue;
        snprintf(sb->type, sizeof(sb->type), "%s", kinds[i].type);
        sb->root = kinds[i].root;
        return true;
    }
    return false;
}
