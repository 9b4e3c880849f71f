/* SPDX-License-Identifier: MIT */
/* Host paths that a script names. */
#ifndef PV_TESTFILE_HOSTPATH_H
#define PV_TESTFILE_HOSTPATH_H

#include <limits.h>
#include <stdbool.h>

struct pv_testfile;

/*
 * Looks for an absolute path as it is, for others in the working directory, the project root and the test
 * file's directory.  False: there is none.  Records every candidate as an input (reads.h).
 */
bool pv_tf_find(struct pv_testfile *tf, const char *path, char out[static PATH_MAX]);

#endif
