/* SPDX-License-Identifier: MIT */
/*
 * The root of a `rootfs` profile: the image, mounted read-only, under an overlay in RAM.  The kernel has
 * parsed the partition table; this file chooses among its block devices by their superblocks.  Or a directory of the
 * host in its place.
 */
#include "boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console.h"
#include "superblock.h"
#include "util.h"

enum { PARTS_MAX = 64, DEVICE_WAIT_MS = 3000 };

struct part {
    char name[64];
    uint64_t size;
    bool known; /* sb is set */
    struct ag_super sb;
};

struct disk {
    struct part part[PARTS_MAX + 1]; /* [0]: the whole disk; then its partitions, largest first */
    size_t n;
};

/* Most drivers probe while their module is loaded; some do it in the background. */
static void wait_device(const struct ag_boot *b, const char *name)
{
    struct stat st;

    for (unsigned ms = 0, step = 1; fstatat(b->dev_fd, name, &st, 0) < 0 || !S_ISBLK(st.st_mode);) {
        if (ms >= DEVICE_WAIT_MS)
            ag_fatal(b, "root file system: no block device /dev/%s after %d s%s", name, DEVICE_WAIT_MS / 1000,
                     b->trouble);
        ag_sleep_ms(step);
        ms += step;
        step = step < 20 ? step * 2 : step;
    }
}

static void probe_part(const struct ag_boot *b, struct part *p)
{
    int fd = openat(b->dev_fd, p->name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (ioctl(fd, BLKGETSIZE64, &p->size) < 0)
        p->size = 0;
    p->known = ag_super_probe(fd, &p->sb);
    close(fd);
}

/* "vda1" of "vda", "nvme0n1p1" of "nvme0n1" */
static bool is_part_of(const char *name, const char *disk)
{
    size_t n = strlen(disk);

    if (strncmp(name, disk, n) != 0)
        return false;
    if (disk[n - 1] >= '0' && disk[n - 1] <= '9' && name[n++] != 'p')
        return false;
    return name[n] && strspn(name + n, "0123456789") == strlen(name + n);
}

static int by_size(const void *a, const void *b)
{
    const struct part *x = a, *y = b;

    return x->size < y->size ? 1 : x->size > y->size ? -1 : strcmp(x->name, y->name);
}

static void list_disk(const struct ag_boot *b, struct disk *d)
{
    int fd = openat(b->dev_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    memset(d, 0, sizeof(*d));
    ag_format(d->part[0].name, sizeof(d->part[0].name), "%s", b->conf.rootfs);
    d->n = 1;
    for (struct dirent *e; dir && d->n <= PARTS_MAX && (e = readdir(dir));)
        if (is_part_of(e->d_name, b->conf.rootfs) &&
            ag_format(d->part[d->n].name, sizeof(d->part[0].name), "%s", e->d_name))
            d->n++;
    if (dir)
        closedir(dir);
    for (size_t i = 0; i < d->n; i++)
        probe_part(b, &d->part[i]);
    qsort(d->part + 1, d->n - 1, sizeof(d->part[0]), by_size);
}

/*
 * Tried in this order: a read-only mount cannot replay the journal of an image that was not unmounted
 * cleanly.
 */
static const struct {
    const char *type, *as, *options;
} ways[] = {
    {"ext4", "ext4", ""},
    {"ext4", "ext4", "noload"},
    {"ext4", "ext3", ""},
    {"ext4", "ext3", "noload"},
    {"ext4", "ext2", ""},
    {"xfs", "xfs", ""},
    {"xfs", "xfs", "norecovery"},
    {"btrfs", "btrfs", ""},
    {"btrfs", "btrfs", "rescue=nologreplay"},
    {"btrfs", "btrfs", "nologreplay"},
    {"f2fs", "f2fs", ""},
    {"f2fs", "f2fs", "norecovery"},
    {"squashfs", "squashfs", ""},
    {"erofs", "erofs", ""},
    {"iso9660", "iso9660", ""},
};

static void load_fs_modules(struct ag_boot *b, const char *type)
{
    for (size_t i = 0; i < b->conf.n_fs_modules; i++)
        if (strcmp(b->conf.fs_modules[i].type, type) == 0)
            ag_module_load(b, b->conf.fs_modules[i].file);
}

/* 0, or the most telling errno of all attempts. */
static int mount_part(struct ag_boot *b, const struct part *p)
{
    const char *flags = b->conf.rootflags ? b->conf.rootflags : "";
    char options[512];
    int e = ENODEV;

    if (fchdir(b->dev_fd) < 0) /* the private devtmpfs has no path */
        return errno;
    load_fs_modules(b, p->sb.type);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (strcmp(ways[i].type, p->sb.type) != 0)
            continue;
        ag_format(options, sizeof(options), "%s%s%s", flags, *flags && *ways[i].options ? "," : "",
                  ways[i].options);
        if (mount(p->name, AG_LOWER_DIR, ways[i].as, MS_RDONLY, options) == 0) {
            b->btrfs = strcmp(p->sb.type, "btrfs") == 0;
            if (*ways[i].options)
                ag_say(b, "/dev/%s was not unmounted cleanly; mounted with %s, its journal is not replayed",
                       p->name, ways[i].options);
            return 0;
        }
        if (errno != ENODEV && (e == ENODEV || !*ways[i].options))
            e = errno;
    }
    return e;
}

static _Noreturn void fatal_mount(const struct ag_boot *b, const struct part *p, int e)
{
    if (e == ENODEV)
        ag_fatal(b, "root file system: /dev/%s is %s, which this kernel does not know%s", p->name, p->sb.type,
                 b->trouble);
    ag_fatal(b, "root file system: cannot mount /dev/%s (%s)%s%s: %s%s", p->name, p->sb.type,
             b->conf.rootflags ? " with rootflags " : "", b->conf.rootflags ? b->conf.rootflags : "",
             strerror(e), b->trouble);
}

/* "vda: nothing known, vda1: vfat, ..." */
static const char *describe_disk(const struct disk *d, char *buf, size_t cap)
{
    size_t n = 0;

    buf[0] = '\0';
    for (size_t i = 0; i < d->n && n + 1 < cap; i++) {
        const struct part *p = &d->part[i];

        ag_format(buf + n, cap - n, "%s%s: %s%s%s%s%s", i ? ", " : "", p->name,
                  p->known ? p->sb.type : "nothing known", p->sb.label[0] ? " LABEL=" : "", p->sb.label,
                  p->sb.uuid[0] ? " UUID=" : "", p->sb.uuid);
        n = strlen(buf);
    }
    return buf;
}

static void mount_device(struct ag_boot *b, const char *name)
{
    struct part p = {.size = 0};

    if (!*name || strchr(name, '/') || !ag_format(p.name, sizeof(p.name), "%s", name))
        ag_fatal(b, "root '%s': expected /dev/NAME, LABEL=... or UUID=...", b->conf.root);
    wait_device(b, name);
    probe_part(b, &p);
    if (!p.known || !p.sb.root)
        ag_fatal(b, "root '%s': %s there, expected a root file system", b->conf.root,
                 p.known ? p.sb.type : "no known file system is");
    int e = mount_part(b, &p);
    if (e)
        fatal_mount(b, &p, e);
}

static void mount_by_tag(struct ag_boot *b, bool label, const char *value)
{
    static struct disk d;
    char buf[2048];

    list_disk(b, &d);
    for (size_t i = 0; i < d.n; i++) {
        const struct part *p = &d.part[i];

        if (!p->known || !p->sb.root ||
            (label ? strcmp(p->sb.label, value) != 0 : strcasecmp(p->sb.uuid, value) != 0))
            continue;
        int e = mount_part(b, p);
        if (e)
            fatal_mount(b, p, e);
        return;
    }
    ag_fatal(b, "root '%s' is not on /dev/%s (%s)", b->conf.root, b->conf.rootfs,
             describe_disk(&d, buf, sizeof(buf)));
}

/*
 * Mounts the whole disk if it is a bare file system, else the largest partition that mounts: a superblock
 * may be stale, as in front of the first partition.
 */
static void mount_found(struct ag_boot *b)
{
    static struct disk d;
    const struct part *failed = NULL;
    char buf[2048];
    int e = 0;

    list_disk(b, &d);
    for (size_t i = 0; i < d.n; i++) {
        if (!d.part[i].known || !d.part[i].sb.root)
            continue;
        int r = mount_part(b, &d.part[i]);
        if (!r)
            return;
        if (!failed) {
            failed = &d.part[i];
            e = r;
        }
    }
    if (failed)
        fatal_mount(b, failed, e);
    ag_fatal(b, "root file system: none on /dev/%s, neither bare nor in a partition (%s)", b->conf.rootfs,
             describe_disk(&d, buf, sizeof(buf)));
}

static void mount_lower(struct ag_boot *b)
{
    const char *root = b->conf.root;

    wait_device(b, b->conf.rootfs);
    if (!root)
        mount_found(b);
    else if (strncmp(root, "LABEL=", 6) == 0)
        mount_by_tag(b, true, root + 6);
    else if (strncmp(root, "UUID=", 5) == 0)
        mount_by_tag(b, false, root + 5);
    else
        mount_device(b, strncmp(root, "/dev/", 5) == 0 ? root + 5 : "");
}

/* ---- a directory of the host ---- */

/* The access of all users is that of the host's user; msize is what QEMU asks for to be fast. */
#define OPTIONS_9P "trans=virtio,version=9p2000.L,msize=512000,access=any"

static const struct share_type {
    const char *name, *config, *device_config, *options, *writable_options;
} share_types[] = {
    {"9p", "CONFIG_9P_FS", "CONFIG_NET_9P_VIRTIO", OPTIONS_9P, OPTIONS_9P ",cache=mmap"},
    {"virtiofs", "CONFIG_VIRTIO_FS", "CONFIG_VIRTIO_FS", NULL, NULL},
};

static void mount_share(struct ag_boot *b, const char *tag, const char *dir, bool writable)
{
    const struct share_type *t = &share_types[b->conf.share_type && !strcmp(b->conf.share_type, "virtiofs")];

    if (mount(tag, dir, t->name, writable ? 0 : MS_RDONLY, writable ? t->writable_options : t->options) == 0)
        return;
    if (errno == ENODEV)
        ag_fatal(b,
                 "root file system: this kernel has no %s (%s), by which the host's directory is reached%s",
                 t->name, t->config, b->trouble);
    if (errno == ENOENT || (errno == EINVAL && !t->options)) /* of an unknown tag */
        ag_fatal(b, "root file system: this kernel finds no %s share '%s' (%s), or there is no %s in it%s",
                 t->name, tag, t->device_config, dir, b->trouble);
    ag_fatal(b, "root file system: cannot mount the %s share '%s' on %s: %s%s", t->name, tag, dir,
             strerror(errno), b->trouble);
}

static void mount_overlay(struct ag_boot *b)
{
    struct stat st;

    if (stat(AG_LOWER_DIR, &st) < 0 || mount("tmpfs", AG_UPPER_DIR, "tmpfs", 0, "mode=0755") < 0)
        ag_fatal(b, "root file system: no tmpfs for its overlay: %s", strerror(errno));
    /* The overlay's root takes owner and mode from the upper directory. */
    if (mkdir(AG_UPPER_DIR "/up", 0755) < 0 || mkdir(AG_UPPER_DIR "/work", 0700) < 0 ||
        chown(AG_UPPER_DIR "/up", st.st_uid, st.st_gid) < 0 ||
        chmod(AG_UPPER_DIR "/up", st.st_mode & 07777) < 0)
        ag_fatal(b, "root file system: cannot prepare its overlay: %s", strerror(errno));
    load_fs_modules(b, "overlay");
    if (mount("overlay", AG_ROOT_DIR, "overlay", 0,
              "lowerdir=" AG_LOWER_DIR ",upperdir=" AG_UPPER_DIR "/up,workdir=" AG_UPPER_DIR "/work") < 0)
        ag_fatal(b, "root file system: cannot mount the overlay: %s%s",
                 errno == ENODEV ? "this kernel has no overlay file system" : strerror(errno), b->trouble);
    /* The overlay keeps its layers mounted by itself. */
    umount2(AG_LOWER_DIR, MNT_DETACH);
    umount2(AG_UPPER_DIR, MNT_DETACH);
}

void ag_rootfs_switch(struct ag_boot *b)
{
    if (b->dev_fd < 0)
        ag_fatal(b, "root file system: this kernel has no devtmpfs");
    if (mkdir(AG_LOWER_DIR, 0700) < 0 || mkdir(AG_UPPER_DIR, 0700) < 0 || mkdir(AG_ROOT_DIR, 0700) < 0)
        ag_fatal(b, "root file system: cannot make mount points: %s", strerror(errno));
    if (b->conf.share)
        mount_share(b, b->conf.share, b->conf.share_writable ? AG_ROOT_DIR : AG_LOWER_DIR,
                    b->conf.share_writable);
    else
        mount_lower(b);
    if (!b->conf.share_writable)
        mount_overlay(b);
    if (b->conf.work_share) {
        char dir[PV_PATH_MAX];

        ag_format(dir, sizeof(dir), AG_ROOT_DIR "%s", b->conf.work_dir);
        mount_share(b, b->conf.work_share, dir, true);
    }
    if (mkdir(AG_ROOT_DIR "/dev", 0755) < 0 && errno != EEXIST)
        ag_fatal(b, "root file system: cannot make /dev: %s", strerror(errno));
    if (mount("devtmpfs", AG_ROOT_DIR "/dev", "devtmpfs", 0, NULL) < 0)
        ag_fatal(b, "root file system: cannot mount devtmpfs on its /dev: %s", strerror(errno));
    if (chdir(AG_ROOT_DIR) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0)
        ag_fatal(b, "root file system: cannot switch to it: %s", strerror(errno));
}
