/* SPDX-License-Identifier: MIT */
#include "image/newfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"

int pv_newfile_open(struct pv_newfile *f, const char *dir, struct pv_err *err)
{
    f->tmp = NULL;
    f->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (f->fd >= 0)
        return 0;
    f->tmp = pv_xasprintf("%s/" PV_NEWFILE_PREFIX "XXXXXX", dir);
    f->fd = mkostemp(f->tmp, O_CLOEXEC);
    if (f->fd < 0) {
        pv_err_sys(err, errno, "cannot make a file in '%s'", dir);
        free(pv_steal(&f->tmp));
        return -1;
    }
    return 0;
}

int pv_newfile_commit(struct pv_newfile *f, const char *path, bool flush, struct pv_err *err)
{
    char self[64];

    if (flush && fsync(f->fd) < 0)
        return pv_err_sys(err, errno, "cannot write '%s'", path);
    if (f->tmp) {
        if (rename(f->tmp, path) < 0)
            return pv_err_sys(err, errno, "cannot rename '%s' to '%s'", f->tmp, path);
        free(pv_steal(&f->tmp));
        return 0;
    }
    snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
    /* linkat does not replace.  Between unlink and linkat a reader finds no file and makes its own. */
    for (int tries = 0; tries < 16; tries++) {
        if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
            return 0;
        if (errno != EEXIST || (unlink(path) < 0 && errno != ENOENT))
            break;
    }
    return pv_err_sys(err, errno, "cannot make '%s'", path);
}

void pv_newfile_fini(struct pv_newfile *f)
{
    if (f->tmp)
        unlink(f->tmp);
    free(pv_steal(&f->tmp));
    pv_close(&f->fd);
}
