/* SPDX-License-Identifier: MIT */
/* The profile's own archive: checked by its first bytes, copied without passing through this process. */
#ifndef PV_IMAGE_INITRD_H
#define PV_IMAGE_INITRD_H

struct pv_err;

/*
 * Opens the archive for reading after the checks of pv_initrd_check; the descriptor, or -1.
 */
int pv_initrd_open(const char *path, struct pv_err *err);

/*
 * Copies it to the position of `out` and pads so that another archive can follow.  A file that changes its
 * size meanwhile is an error.
 */
int pv_initrd_copy(const char *path, int in, int out, struct pv_err *err);

#endif
