/* SPDX-License-Identifier: MIT */
/* Copies of whole sparse files. */
#ifndef PV_UTIL_COPY_H
#define PV_UTIL_COPY_H

struct pv_err;

/*
 * Makes `to` (empty, writable) equal to `from`: shares the blocks where the file system can (FICLONE), else
 * copies the data and leaves the holes.  Blocks on both files.  Their offsets are undefined afterwards.
 * -1: class host, with the errno.
 */
int pv_copy_sparse(int from, int to, struct pv_err *err);

#endif
