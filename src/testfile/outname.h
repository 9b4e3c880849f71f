/* SPDX-License-Identifier: MIT */
/* Names of what a test file leaves in a directory of the user: of --save-failed, --vmcore and --coverage. */
#ifndef PV_TESTFILE_OUTNAME_H
#define PV_TESTFILE_OUTNAME_H

/* A test file's path as one name: '/' is '+', and what needs quoting is %XX.  The caller frees. */
char *pv_tf_outname(const char *path);

/* A text as lcov's name of a test, which has letters, digits and underscores only.  The caller frees. */
char *pv_tf_lcov_name(const char *text);

#endif
