/* SPDX-License-Identifier: MIT */
/* The name of what a test file leaves in a directory of the user: of --save-failed, --vmcore and --coverage. */
#ifndef PV_TESTFILE_OUTNAME_H
#define PV_TESTFILE_OUTNAME_H

/* A test file's path as one name: '/' is '+', and what needs quoting is %XX.  The caller frees. */
char *pv_tf_outname(const char *path);

#endif
