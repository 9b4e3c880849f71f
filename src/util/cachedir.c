/* SPDX-License-Identifier: MIT */
#include "util/cachedir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"
#include "util/host.h"
#include "util/mem.h"
#include "util/path.h"

/* ---- directories and files of this user ---- */

int pv_own_dir(int at, const char *name, const char *path, struct pv_err *err)
{
    cleanup_close int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int open_errno = errno;
    struct stat st;

    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return pv_err_set(err, PV_E_USAGE,
                          "'%s' is a link or a file; expected a directory: remove it, or set XDG_CACHE_HOME",
                          path);
    /* For the message: whose directory it is that this user cannot open. */
    if ((fd < 0 ? fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) : fstat(fd, &st)) < 0)
        return pv_err_sys(err, errno, "cannot open '%s'", path);
    if (st.st_uid != geteuid())
        return pv_err_set(err, PV_E_USAGE,
                          "'%s' belongs to user %u, not to user %u, who runs this: set XDG_CACHE_HOME to a "
                          "directory of your own",
                          path, (unsigned)st.st_uid, (unsigned)geteuid());
    if (st.st_mode & 022)
        return pv_err_set(err, PV_E_USAGE, "'%s' can be written to by others: chmod 700 it", path);
    if (fd < 0)
        return pv_err_sys(err, open_errno, "cannot open '%s'", path);
    if (st.st_mode & 077 && fchmod(fd, 0700) < 0)
        return pv_err_sys(err, errno, "cannot chmod '%s'", path);
    return pv_steal_fd(&fd);
}

int pv_own_dir_make(int at, const char *name, const char *path, struct pv_err *err)
{
    if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
        return pv_err_sys(err, errno, "cannot make directory '%s'", path);
    return pv_own_dir(at, name, path, err);
}

bool pv_own_file(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_uid == geteuid() && !(st->st_mode & 022);
}

int pv_replace_at(int at, const char *name, const void *data, size_t n)
{
    cleanup_free char *tmp = NULL;
    cleanup_close int fd = -1;
    uint32_t random = 0;
    int saved;

    if (getrandom(&random, sizeof(random), 0) < 0)
        random = (uint32_t)getpid(); /* a collision is an error of O_EXCL */
    tmp = pv_xasprintf("%s.%08x", name, random);
    fd = openat(at, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (pv_write_all(fd, data, n) == 0 && renameat(at, tmp, at, name) == 0)
        return 0;
    saved = errno;
    unlinkat(at, tmp, 0);
    errno = saved;
    return -1;
}

/* ---- the cache ---- */

static char *chosen; /* of pv_cachedir_use */

void pv_cachedir_use(const char *dir)
{
    free(chosen);
    chosen = dir ? pv_xstrdup(dir) : NULL;
}

/* The caller frees. */
static char *cache_path(struct pv_err *err)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

    if (chosen)
        return pv_xstrdup(chosen);
    if (base && base[0] == '/')
        return pv_xasprintf("%s/provium", base);
    if (home && home[0] == '/')
        return pv_xasprintf("%s/.cache/provium", home);
    pv_err_set(err, PV_E_MISSING,
               "no cache directory: neither XDG_CACHE_HOME nor HOME is set to an absolute path");
    return NULL;
}

/* -1, class usage: `dir` is there, and its owner or others can exchange what is in it. */
static int place_check(const char *dir, struct pv_err *err)
{
    struct stat st;

    if (stat(dir, &st) < 0)
        return 0;
    if (!pv_owner_is_trusted(&st))
        return pv_err_set(err, PV_E_USAGE,
                          "'%s' belongs to user %u, not to user %u, who runs this: set XDG_CACHE_HOME to a "
                          "directory of your own",
                          dir, (unsigned)st.st_uid, (unsigned)geteuid());
    if (st.st_mode & S_IWOTH && !(st.st_mode & S_ISVTX))
        return pv_err_set(
            err, PV_E_USAGE,
            "others may write to '%s', and it is not sticky (mode %04o): set XDG_CACHE_HOME to a "
            "directory of your own",
            dir, (unsigned)st.st_mode & 07777);
    return 0;
}

/* Checks the directories that the user's variables name: $XDG_CACHE_HOME, else $HOME and $HOME/.cache. */
static int places_check(const char *root, struct pv_err *err)
{
    const char *base = getenv("XDG_CACHE_HOME");
    cleanup_free char *parent = pv_path_dirname(root), *home = pv_path_dirname(parent);

    if (!chosen && !(base && base[0] == '/') && place_check(home, err) < 0)
        return -1;
    return place_check(parent, err);
}

static int root_make(struct pv_cachedir *d, struct pv_err *err)
{
    cleanup_free char *parent = NULL;

    d->path = cache_path(err);
    if (!d->path || places_check(d->path, err) < 0)
        return -1;
    parent = pv_path_dirname(d->path);
    if (pv_mkdir_p(parent, 0700, err) < 0)
        return -1;
    d->fd = pv_own_dir_make(AT_FDCWD, d->path, d->path, err);
    if (d->fd < 0)
        return -1;
    if (faccessat(d->fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
        return pv_err_sys(err, errno, "cannot write to cache directory '%s'", d->path);
    return 0;
}

static int root_open(struct pv_cachedir *d, struct pv_err *err)
{
    int rc = root_make(d, err);

    if (rc < 0 && err && err->cls != PV_E_USAGE) /* those have their own remedy */
        pv_err_append(err, "; set XDG_CACHE_HOME to a directory of your own");
    return rc;
}

int pv_cachedir_open(struct pv_cachedir *d, const char *sub, struct pv_err *err)
{
    cleanup_cachedir struct pv_cachedir root = PV_CACHEDIR_INIT;

    *d = (struct pv_cachedir)PV_CACHEDIR_INIT;
    if (root_open(&root, err) < 0)
        return -1;
    if (!sub) {
        d->path = pv_steal(&root.path);
        d->fd = pv_steal_fd(&root.fd);
        return 0;
    }
    d->path = pv_path_join(root.path, sub);
    d->fd = pv_own_dir_make(root.fd, sub, d->path, err);
    return d->fd < 0 ? -1 : 0;
}

void pv_cachedir_close(struct pv_cachedir *d)
{
    pv_close(&d->fd);
    free(pv_steal(&d->path));
}

int pv_cachedir_check(const char *sub, struct pv_err *err)
{
    cleanup_free char *root_path = cache_path(NULL), *path = NULL;
    cleanup_close int root = -1, fd = -1;
    struct pv_err why = PV_ERR_INIT;

    if (!root_path)
        return 0;
    if (places_check(root_path, err) < 0)
        return -1;
    root = pv_own_dir(AT_FDCWD, root_path, root_path, &why);
    if (root >= 0 && sub) {
        path = pv_path_join(root_path, sub);
        fd = pv_own_dir(root, sub, path, &why);
    }
    return why.cls == PV_E_USAGE ? pv_err_set(err, PV_E_USAGE, "%s", why.text) : 0;
}

int pv_cachedir_file(const struct pv_cachedir *d, const char *name, int flags, struct pv_err *err)
{
    /* O_NONBLOCK: opening a fifo must not block. */
    cleanup_close int fd = openat(d->fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    struct stat st;

    if (fd < 0 && errno == ELOOP)
        return pv_err_set(err, PV_E_USAGE, "'%s/%s' is a link: remove it", d->path, name);
    if (fd < 0 || fstat(fd, &st) < 0)
        return pv_err_sys(err, errno, "cannot open '%s/%s'", d->path, name);
    if (!pv_own_file(&st))
        return pv_err_set(err, PV_E_USAGE, "'%s/%s' is no file of user %u alone: remove it", d->path, name,
                          (unsigned)geteuid());
    return pv_steal_fd(&fd);
}

int pv_cachedir_read(const struct pv_cachedir *d, const char *name, size_t max, struct pv_buf *buf,
                     struct pv_err *err)
{
    cleanup_close int fd = pv_cachedir_file(d, name, O_RDONLY, err);
    cleanup_free char *path = pv_path_join(d->path, name);

    return fd < 0 ? -1 : pv_read_fd(fd, path, max, buf, err);
}
