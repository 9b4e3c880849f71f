/* SPDX-License-Identifier: MIT */
/*
 * The stamp of a path: a number that another content gives another value, as far as stat(2) can tell (inode, size,
 * time, mode), without reading files.
 */
#ifndef PV_UTIL_STAMP_H
#define PV_UTIL_STAMP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The stamp of a file, or (tree) of all below a directory; `path` itself may be a link, which is followed.  A path
 * that does not exist has one, too; of a directory without tree, and of a device, only type and mode count.  Calls
 * visit (may be NULL) for each directory of a tree before it is read.  Blocks on the file system.
 */
uint64_t pv_stamp(const char *path, bool tree, void (*visit)(const char *dir, void *arg), void *arg);
/* A number for a text. */
uint64_t pv_stamp_text(const char *text);

#endif
