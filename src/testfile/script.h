/* SPDX-License-Identifier: MIT */
/* Scripts of fixtures: fixtures/NAME.lua. */
#ifndef PV_TESTFILE_SCRIPT_H
#define PV_TESTFILE_SCRIPT_H

struct pv_err;
struct pv_testfile;

/*
 * The script of fixture `name`, absolute and without links; the caller frees.  Searched as fixtures/NAME.lua
 * in the directory of the asking script and its parents up to the test root (the project root for a fixture's
 * script and a test file that was given itself), in the project root, and in its directory tests.  NULL with *err
 * (class usage): the message lists the searched directories and a similar name.
 */
char *pv_tf_script_find(struct pv_testfile *tf, const char *name, struct pv_err *err);
/* "NAME" of ".../fixtures/NAME.lua"; the caller frees. */
char *pv_tf_script_name(const char *script);

#endif
