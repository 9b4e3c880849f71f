/* SPDX-License-Identifier: MIT */
/* Patterns of paths, such as those that provium.toml gives for test files. */
#ifndef PV_UTIL_GLOB_H
#define PV_UTIL_GLOB_H

#include <stdbool.h>

/*
 * True when the relative path matches as a whole.  Components are compared one by one with fnmatch(3): `*`,
 * `?` and `[...]` do not match a slash.  A component `**` matches any number of directories, none too.  A
 * pattern without a slash is compared with the last component of the path alone.  Pure.
 */
bool pv_glob_match(const char *pattern, const char *path);

#endif
