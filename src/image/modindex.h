/* SPDX-License-Identifier: MIT */
/* Indexes (modules.dep and its like) for a modules tree without them. */
#ifndef PV_IMAGE_MODINDEX_H
#define PV_IMAGE_MODINDEX_H

struct pv_err;

/*
 * A directory in the cache that libkmod can use in place of `tree`.  On a miss depmod(8) makes it, and this
 * blocks (about 0.3 s for 1,000 modules, 60 s at most).  NULL with *err: no depmod, no cache directory that is to
 * be trusted, or depmod failed.  The caller frees.
 */
char *pv_modules_index(const char *tree, struct pv_err *err);

#endif
