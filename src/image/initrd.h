/* SPDX-License-Identifier: MIT */
/* The profile's own initramfs archive: checked by its first bytes, copied by the kernel (sendfile). */
#ifndef PV_IMAGE_INITRD_H
#define PV_IMAGE_INITRD_H

struct pv_err;

/* Opens the archive after the checks of pv_initrd_check.  A descriptor, which the caller closes, or -1. */
int pv_initrd_open(const char *path, struct pv_err *err);

/*
 * Copies the archive `in` to the position of `out` and pads it, so that another archive can follow.  Blocks.
 * `path` is for messages.  -1: class usage when the file becomes shorter meanwhile, else host.
 */
int pv_initrd_copy(const char *path, int in, int out, struct pv_err *err);

#endif
