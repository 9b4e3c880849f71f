/* SPDX-License-Identifier: MIT */
#include "image/newfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cachedir.h"
#include "util/err.h"
#include "util/mem.h"

int pv_newfile_open(struct pv_newfile *f, const struct pv_cachedir *dir, struct pv_err *err)
{
    uint32_t random = 0;

    f->tmp = NULL;
    f->dir = dir;
    f->fd = openat(dir->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (f->fd >= 0)
        return 0;
    if (getrandom(&random, sizeof(random), 0) < 0)
        random = (uint32_t)getpid(); /* a collision is an error of O_EXCL */
    f->tmp = pv_xasprintf(PV_NEWFILE_PREFIX "%08x", random);
    f->fd = openat(dir->fd, f->tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (f->fd < 0) {
        pv_err_sys(err, errno, "cannot make a file in '%s'", dir->path);
        free(pv_steal(&f->tmp));
        return -1;
    }
    return 0;
}

int pv_newfile_commit(struct pv_newfile *f, const char *name, bool flush, struct pv_err *err)
{
    char self[64];

    if (fchmod(f->fd, 0400) < 0)
        return pv_err_sys(err, errno, "cannot chmod '%s/%s'", f->dir->path, name);
    if (flush && fsync(f->fd) < 0)
        return pv_err_sys(err, errno, "cannot write '%s/%s'", f->dir->path, name);
    if (f->tmp) {
        if (renameat(f->dir->fd, f->tmp, f->dir->fd, name) < 0)
            return pv_err_sys(err, errno, "cannot rename '%s/%s' to '%s'", f->dir->path, f->tmp, name);
        free(pv_steal(&f->tmp));
        return 0;
    }
    snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
    /* linkat does not replace.  Between unlink and linkat a reader finds no file and makes its own. */
    for (int tries = 0; tries < 16; tries++) {
        if (linkat(AT_FDCWD, self, f->dir->fd, name, AT_SYMLINK_FOLLOW) == 0)
            return 0;
        if (errno != EEXIST || (unlinkat(f->dir->fd, name, 0) < 0 && errno != ENOENT))
            break;
    }
    return pv_err_sys(err, errno, "cannot make '%s/%s'", f->dir->path, name);
}

void pv_newfile_fini(struct pv_newfile *f)
{
    if (f->tmp)
        unlinkat(f->dir->fd, f->tmp, 0);
    free(pv_steal(&f->tmp));
    pv_close(&f->fd);
}
