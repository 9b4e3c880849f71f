/* SPDX-License-Identifier: MIT */
/*
 * A file that appears complete or not at all.  With O_TMPFILE it has no name before the commit, so a killed
 * process leaves nothing behind; on file systems without O_TMPFILE its name is ".tmp-RANDOM" until then.
 *
 *     cleanup_newfile struct pv_newfile f = PV_NEWFILE_INIT;
 *
 *     if (pv_newfile_open(&f, &dir, err) < 0 || pv_write_all(f.fd, text, n) < 0)
 *         ...
 *     return pv_newfile_commit(&f, "NAME", true, err);
 */
#ifndef PV_IMAGE_NEWFILE_H
#define PV_IMAGE_NEWFILE_H

#include <stdbool.h>

struct pv_cachedir;
struct pv_err;

struct pv_newfile {
    int fd;
    const struct pv_cachedir *dir;
    char *tmp; /* its temporary name; NULL with O_TMPFILE */
};

#define PV_NEWFILE_INIT \
    { \
        .fd = -1, .dir = NULL, .tmp = NULL \
    }
#define PV_NEWFILE_PREFIX ".tmp-"

/* Creates the file in `dir`, which the caller keeps open, with mode 0600.  -1: class host. */
int pv_newfile_open(struct pv_newfile *f, const struct pv_cachedir *dir, struct pv_err *err);
/*
 * Makes the file read-only and gives it the name `name` in its directory, replacing an older file.  With `flush` its content reaches the disk before
 * the name does (milliseconds); without, a crash of the host may leave an empty file.  f->fd stays open.
 */
int pv_newfile_commit(struct pv_newfile *f, const char *name, bool flush, struct pv_err *err);
/* Closes the file and removes it unless it was committed. */
void pv_newfile_fini(struct pv_newfile *f);
#define cleanup_newfile __attribute__((cleanup(pv_newfile_fini)))

#endif
