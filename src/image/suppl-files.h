/* SPDX-License-Identifier: MIT */
/* A test's injected files and trees, below PV_BOOT_FILES of the supplementary initramfs. */
#ifndef PV_IMAGE_SUPPL_FILES_H
#define PV_IMAGE_SUPPL_FILES_H

#include "image/image.h"
#include "image/newc.h"

/*
 * Writes the injected files, parents first, each path once.  Checks all guest paths before it writes:
 * absolute, no "..", none below the path of a file, none twice.  -1: as for pv_suppl_build.
 */
int pv_suppl_put_files(struct pv_newc *w, const struct pv_suppl_file *files, size_t n, struct pv_err *err);

#endif
