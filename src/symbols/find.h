/* SPDX-License-Identifier: MIT */
/* Debug files below directories. Private to symbols. */
#ifndef PV_SYMBOLS_FIND_H
#define PV_SYMBOLS_FIND_H

#include <stdbool.h>

struct pv_strv;

/*
 * Appends the regular files below dir whose names are those of a vmlinux ("vmlinux", "vmlinux-VERSION") or, with
 * module, of that module ("NAME.ko", "NAME.ko.debug"; '-' and '_' are the same).  Follows no links to directories,
 * looks at no more than 200,000 entries.  Blocks on the file system; a directory that cannot be read is skipped.
 */
void pv_symbols_find(const char *dir, const char *module, struct pv_strv *found);
/* Whether a file of that path would be found for module (NULL: as a vmlinux). */
bool pv_symbols_fits(const char *path, const char *module);

#endif
