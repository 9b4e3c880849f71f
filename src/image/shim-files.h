/* SPDX-License-Identifier: MIT */
/* The files that a test injects: host files and trees, below PV_BOOT_FILES of the shim archive. */
#ifndef PV_IMAGE_SHIM_FILES_H
#define PV_IMAGE_SHIM_FILES_H

#include "image/image.h"
#include "image/newc.h"

/*
 * Writes them, parents first, each path once.  All guest paths are checked before anything is written:
 * absolute, no "..", none below another one that is a file, none twice.  Errors: see pv_shim_build.
 */
int pv_shim_put_files(struct pv_newc *w, const struct pv_shim_file *files, size_t n, struct pv_err *err);

#endif
