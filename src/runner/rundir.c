/* SPDX-License-Identifier: MIT */
#include "runner/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/host.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"

#define PREFIX "provium-"
#define KEPT "kept"
/* Another run that looks for stale directories holds it for a moment. */
#define LOCK_LIMIT (5 * PV_NSEC_PER_SEC)

/* Limits of kept directories. */
enum { MAX_DEPTH = 8, KEEP_RUNS = 10, KEEP_SECONDS = 7 * 24 * 3600 };

/* The record of getdents64(2). */
struct dent {
    uint64_t ino;
    int64_t off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};

/*
 * Empties the directory `fd`.  Called from a signal handler: system calls only.  Two rounds, because
 * removing entries while reading may skip some.
 */
static void empty_dir(int fd, int depth)
{
    _Alignas(struct dent) char buf[4096];

    for (int round = 0; round < 2; round++) {
        long n;

        if (lseek(fd, 0, SEEK_SET) < 0)
            return;
        while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
            for (long at = 0; at < n;) {
                struct dent *e = (struct dent *)(void *)(buf + at);

                at += e->reclen;
                if (!strcmp(e->name, ".") || !strcmp(e->name, ".."))
                    continue;
                if (unlinkat(fd, e->name, 0) < 0 && (errno == EISDIR || errno == EPERM) && depth) {
                    int sub = openat(fd, e->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                    if (sub >= 0) {
                        empty_dir(sub, depth - 1);
                        close(sub);
                    }
                    unlinkat(fd, e->name, AT_REMOVEDIR);
                }
            }
        }
    }
}

void pv_rundir_remove_in_handler(const struct pv_rundir *d)
{
    if (d->fd < 0)
        return;
    empty_dir(d->fd, MAX_DEPTH);
    rmdir(d->path);
}

/* 1: the directory at `path` is still the one that fd holds; 0: it is another one or none; -1: errno says why not known. */
static int same_dir(int fd, const char *path)
{
    struct stat a, b;

    if (fstat(fd, &a) < 0)
        return -1;
    if (lstat(path, &b) < 0)
        return errno == ENOENT ? 0 : -1;
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* A run's directory that was kept. */
struct kept {
    char name[sizeof(PREFIX) + 6];
    int64_t ended; /* seconds since 1970 */
};

struct kept_list {
    struct kept *v;
    size_t n;
};

static int kept_newest_first(const void *a, const void *b)
{
    const struct kept *x = a, *y = b;

    if (x->ended != y->ended)
        return x->ended > y->ended ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The locked descriptor of a run directory of this user that no run holds; -1: it is not such a directory. */
static int open_unused(int base, const char *name)
{
    cleanup_close int fd = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return -1;
    return pv_steal_fd(&fd);
}

static void remove_run(int base, int fd, const char *name, const char *why)
{
    pv_debug("runner", "removing %s, %s", name, why);
    empty_dir(fd, MAX_DEPTH);
    unlinkat(base, name, AT_REMOVEDIR);
}

/* Removes the directory of a crashed run, lists a kept one. */
static void collect_one(int base, const char *name, struct kept_list *kept)
{
    cleanup_close int fd = open_unused(base, name);
    struct stat st;

    if (fd < 0)
        return;
    if (fstatat(fd, KEPT, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        remove_run(base, fd, name, "left over by a run that crashed");
        return;
    }
    kept->v = pv_xrealloc(kept->v, (kept->n + 1) * sizeof(*kept->v));
    kept->v[kept->n].ended = st.st_mtime;
    snprintf(kept->v[kept->n].name, sizeof(kept->v[0].name), "%.*s", (int)sizeof(kept->v[0].name) - 1, name);
    kept->n++;
}

/* Removes kept directories that are too old or too many. */
static void collect_kept(int base, const struct kept_list *kept)
{
    int64_t now = time(NULL);

    for (size_t i = 0; i < kept->n; i++) {
        cleanup_close int fd = -1;

        if (i < KEEP_RUNS && now - kept->v[i].ended <= KEEP_SECONDS)
            continue;
        fd = open_unused(base, kept->v[i].name);
        if (fd >= 0)
            remove_run(base, fd, kept->v[i].name, "kept for long enough");
    }
}

static void collect_stale(const char *base_path)
{
    struct kept_list kept = {0};
    DIR *dir = opendir(base_path);
    struct dirent *e;

    if (!dir)
        return;
    while ((e = readdir(dir)))
        if (!strncmp(e->d_name, PREFIX, sizeof(PREFIX) - 1) && strlen(e->d_name) == sizeof(PREFIX) + 5)
            collect_one(dirfd(dir), e->d_name, &kept);
    if (kept.n)
        qsort(kept.v, kept.n, sizeof(*kept.v), kept_newest_first);
    collect_kept(dirfd(dir), &kept);
    free(kept.v);
    closedir(dir);
}

/*
 * A user who may rename entries of the base directory could replace the run's directory.  The owner of the
 * base directory may, so it has to be this user or root.
 */
static int check_base(const char *base, struct pv_err *err)
{
    struct stat st;

    if (stat(base, &st) < 0)
        return pv_err_sys(err, errno, "cannot use '%s' for temporary files", base);
    if (!pv_owner_is_trusted(&st))
        return pv_err_set(
            err, PV_E_USAGE,
            "temporary files cannot go to '%s': it belongs to another user (uid %u); set TMPDIR to a "
            "directory of your own",
            base, (unsigned)st.st_uid);
    /* Group-writable is allowed for the user's own group. */
    if ((st.st_mode & S_IWOTH || (st.st_mode & S_IWGRP && st.st_gid != getegid())) && !(st.st_mode & S_ISVTX))
        return pv_err_set(
            err, PV_E_USAGE,
            "temporary files cannot go to '%s': others may write to it, and it is not sticky (mode "
            "%04o); set TMPDIR to a directory of your own, or chmod +t it",
            base, (unsigned)st.st_mode & 07777);
    return 0;
}

/* errno says why `base` can have no directory. */
static int base_fail(const char *base, struct pv_err *err)
{
    pv_err_sys(err, errno, "cannot use '%s' for temporary files", base);
    pv_err_append(err, "; set TMPDIR to a directory that you can write to");
    return -1;
}

/* Locks the new directory: 1: it is locked; 0: another run has removed it before the lock; -1: errno says why. */
static int rundir_lock(int fd, const char *path)
{
    return pv_lock_until(fd, pv_deadline(LOCK_LIMIT), -1) < 0 ? -1 : same_dir(fd, path);
}

int pv_rundir_open(struct pv_rundir *d, struct pv_err *err)
{
    const char *tmp = getenv("TMPDIR");
    cleanup_free char *base = NULL;

    if (!tmp || !*tmp)
        tmp = "/tmp";
    base = pv_realpath(tmp);
    if (!base)
        return base_fail(tmp, err);
    if (check_base(base, err) < 0)
        return -1;
    collect_stale(base);
    for (;;) {
        cleanup_close int fd = -1;
        cleanup_free char *path = pv_xasprintf("%s/" PREFIX "XXXXXX", base);
        int locked = -1;

        if (strlen(path) >= sizeof(d->path))
            return pv_err_set(err, PV_E_USAGE, "TMPDIR '%s' is too long", tmp);
        if (!mkdtemp(path))
            return base_fail(base, err);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            locked = rundir_lock(fd, path);
        else if (errno == ENOENT)
            locked = 0;
        if (locked < 0) {
            pv_err_sys(err, errno, "cannot lock '%s'", path);
            rmdir(path);
            return -1;
        }
        if (!locked)
            continue; /* make a new one */
        strcpy(d->path, path);
        d->fd = pv_steal_fd(&fd);
        return 0;
    }
}

void pv_rundir_close(struct pv_rundir *d, bool keep)
{
    if (d->fd < 0)
        return;
    if (keep) {
        cleanup_close int cache =
            openat(d->fd, PV_RUNDIR_CACHE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int fd = openat(d->fd, KEPT, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd >= 0)
            close(fd);
        if (cache >= 0)
            empty_dir(cache, MAX_DEPTH);
        unlinkat(d->fd, PV_RUNDIR_CACHE, AT_REMOVEDIR);
    } else {
        pv_rundir_remove_in_handler(d);
    }
    pv_close(&d->fd);
    d->path[0] = '\0';
}
