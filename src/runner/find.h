/* SPDX-License-Identifier: MIT */
/*
 * Finds test files: every *.lua below the given directories, except hidden ones and those below a directory
 * called `fixtures`; a file given by its path needs no such name.  The list is sorted and has each file once,
 * by any number of paths; links to directories are followed, and loops of links are harmless.
 */
#ifndef PV_RUNNER_FIND_H
#define PV_RUNNER_FIND_H

#include <stdbool.h>
#include <stddef.h>

#include "util/mem.h"

struct pv_err;

struct pv_test_file {
    char *path; /* as reached from the working directory */
    char *name; /* shown: below the given directory, or as given; the path where names would clash */
    char *root; /* the directory that was given, or the one that holds the given file */
};

struct pv_test_list {
    struct pv_test_file *v;
    size_t n;
};

/*
 * `only`: when not empty, files whose name contains one of these.  Finding none is an error of class usage
 * that names the paths, unless allow_none; a path that does not exist or cannot be read is always an error.
 */
int pv_find_tests(const struct pv_strv *paths, const struct pv_strv *only, bool allow_none,
                  struct pv_test_list *out, struct pv_err *err);
void pv_test_file_fini(struct pv_test_file *t);
void pv_test_list_free(struct pv_test_list *l);

#endif
