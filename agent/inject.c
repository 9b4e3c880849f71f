/* SPDX-License-Identifier: MIT */
/*
 * Injected files form a tree with their final paths.  A directory is merged into an existing one, through
 * symbolic links (/lib may be usr/lib).  A file is renamed to its place, or copied if the root is on
 * another file system.  It replaces an entry of its name, symbolic links included: a write through the link
 * would change the link's target (busybox, for a new /bin/sh).
 */
#include "boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console.h"
#include "util.h"

/* One merge of a tree into a root. */
struct merge {
    const struct ag_boot *b;
    bool keep;         /* the tree stays as it is */
    const char *where; /* for messages: what root it is; "" for the first one */
};

struct place {
    int src_dir; /* directory in the tree of injected files */
    const char *name;
    const char *dst; /* absolute path in the root */
    struct stat st;
};

static int copy_data(int in, int out)
{
    for (;;) {
        ssize_t n = sendfile(out, in, NULL, 1 << 20);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -1;
    }
}

static int copy_file(const struct place *p, const char *tmp)
{
    const struct timespec times[2] = {p->st.st_atim, p->st.st_mtim};
    int in = openat(p->src_dir, p->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int out = in < 0 ? -1 : open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r = -1;

    /* Owner before mode: chown clears setuid. */
    if (out >= 0 && copy_data(in, out) == 0 && fchown(out, p->st.st_uid, p->st.st_gid) == 0 &&
        fchmod(out, p->st.st_mode & 07777) == 0 && futimens(out, times) == 0)
        r = 0;
    int e = errno;

    if (in >= 0)
        close(in);
    if (out >= 0 && close(out) < 0 && r == 0) { /* NFS writes at the close */
        e = errno;
        r = -1;
    }
    errno = e;
    return r;
}

static int copy_link(const struct place *p, const char *tmp)
{
    char to[PV_PATH_MAX];
    ssize_t n = readlinkat(p->src_dir, p->name, to, sizeof(to) - 1);

    if (n < 0)
        return -1;
    to[n] = '\0';
    return symlink(to, tmp);
}

/* Copies under a temporary name and renames, so that the file appears complete. */
static int copy_entry(const struct place *p, bool keep)
{
    char tmp[PV_PATH_MAX];
    int r;

    if (!ag_format(tmp, sizeof(tmp), "%s.provium-new", p->dst)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    unlink(tmp);
    if (S_ISLNK(p->st.st_mode)) {
        r = copy_link(p, tmp);
    } else if (S_ISREG(p->st.st_mode)) {
        r = copy_file(p, tmp);
    } else {
        errno = EINVAL;
        return -1;
    }
    if (r == 0 && (r = rename(tmp, p->dst)) == 0 && !keep)
        unlinkat(p->src_dir, p->name, 0);
    if (r < 0) {
        int e = errno;

        unlink(tmp);
        errno = e;
    }
    return r;
}

static int place_entry(const struct merge *m, const struct place *p)
{
    if (!m->keep) {
        if (renameat(p->src_dir, p->name, AT_FDCWD, p->dst) == 0)
            return 0;
        if (errno != EXDEV)
            return -1;
    }
    return copy_entry(p, m->keep);
}

static void merge_dir(const struct merge *m, int src, const char *dst);

static void place_dir(const struct merge *m, const struct place *p)
{
    struct stat st;
    bool there = stat(p->dst, &st) == 0;

    if (!there && !m->keep && lstat(p->dst, &st) < 0) {
        if (renameat(p->src_dir, p->name, AT_FDCWD, p->dst) == 0)
            return;
    }
    if (!there && (ag_mkdir_p(p->dst, p->st.st_mode & 07777) < 0 ||
                   chmod(p->dst, p->st.st_mode & 07777) < 0 || chown(p->dst, p->st.st_uid, p->st.st_gid) < 0))
        ag_fatal(m->b, "cannot make directory '%s' for an injected file%s: %s", p->dst, m->where,
                 strerror(errno));
    if (there && !S_ISDIR(st.st_mode))
        ag_fatal(m->b, "cannot inject directory '%s'%s: a file of this name is there", p->dst, m->where);
    int fd = openat(p->src_dir, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        ag_fatal(m->b, "cannot read injected directory '%s'%s: %s", p->dst, m->where, strerror(errno));
    merge_dir(m, fd, p->dst);
}

/* Takes src.  The length of dst bounds the depth. */
static void merge_dir(const struct merge *m, int src, const char *dst)
{
    DIR *d = fdopendir(src);
    char path[PV_PATH_MAX];

    if (!d)
        ag_fatal(m->b, "cannot read injected directory '%s'%s: %s", dst, m->where, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        struct place p = {.src_dir = src, .name = e->d_name, .dst = path};

        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (!ag_format(path, sizeof(path), "%s/%s", dst, e->d_name))
            ag_fatal(m->b, "cannot inject below '%s'%s: path too long", dst, m->where);
        if (fstatat(src, e->d_name, &p.st, AT_SYMLINK_NOFOLLOW) < 0)
            ag_fatal(m->b, "cannot inject '%s'%s: %s", path, m->where, strerror(errno));
        if (S_ISDIR(p.st.st_mode))
            place_dir(m, &p);
        else if (place_entry(m, &p) < 0)
            ag_fatal(m->b, "cannot inject '%s'%s: %s", path, m->where, strerror(errno));
    }
    closedir(d);
}

void ag_inject(struct ag_boot *b)
{
    const struct merge m = {.b = b, .where = ""};

    if (b->files_fd < 0)
        return;
    merge_dir(&m, b->files_fd, "");
    b->files_fd = -1;
}

void ag_inject_copy(const struct ag_boot *b, int tree, const char *dst, const char *where)
{
    const struct merge m = {.b = b, .keep = true, .where = where};
    int fd = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        ag_fatal(b, "cannot read the injected files%s: %s", where, strerror(errno));
    merge_dir(&m, fd, dst);
}
