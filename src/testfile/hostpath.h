/* SPDX-License-Identifier: MIT */
/* Host paths that a script names. */
#ifndef PV_TESTFILE_HOSTPATH_H
#define PV_TESTFILE_HOSTPATH_H

#include <limits.h>
#include <stdbool.h>

struct pv_strv;
struct pv_testfile;

/*
 * Looks for an absolute path as it is, for others in the working directory, the project root and the test
 * file's directory.  False: there is none.  Records every candidate as an input (reads.h).
 */
bool pv_tf_find(struct pv_testfile *tf, const char *path, char out[static PATH_MAX]);

/*
 * Appends the directories in which `require` looks, in order: the script's and each above it up to the root
 * (for a test file the given directory; for one that was given itself, and for a fixture's script, the project
 * root; a script outside of it has its own alone), the project root, the working directory, which is "".
 */
void pv_tf_require_dirs(const struct pv_testfile *tf, struct pv_strv *dirs);

#endif
