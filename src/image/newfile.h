/* SPDX-License-Identifier: MIT */
/*
 * A file that appears whole or not at all.  Where the file system can (O_TMPFILE) it has no name until it is
 * complete, so a killed process leaves nothing behind; elsewhere it is called ".tmp-XXXXXX" meanwhile.
 */
#ifndef PV_IMAGE_NEWFILE_H
#define PV_IMAGE_NEWFILE_H

#include <stdbool.h>

struct pv_err;

struct pv_newfile {
    int fd;
    char *tmp; /* its temporary name, NULL when it has none */
};

#define PV_NEWFILE_INIT \
    { \
        .fd = -1, .tmp = NULL \
    }
#define PV_NEWFILE_PREFIX ".tmp-"

/* Mode 0600. */
int pv_newfile_open(struct pv_newfile *f, const char *dir, struct pv_err *err);
/*
 * Gives it the name, replacing what was there.  With `flush` its content reaches the disk before the name
 * does (milliseconds); without, a crash of the host may leave an empty file.  The descriptor stays open.
 */
int pv_newfile_commit(struct pv_newfile *f, const char *path, bool flush, struct pv_err *err);
/* Closes; what was not committed is gone. */
void pv_newfile_fini(struct pv_newfile *f);
#define cleanup_newfile __attribute__((cleanup(pv_newfile_fini)))

#endif
