/* SPDX-License-Identifier: MIT */
/*
 * Finds test files below the given directories, except hidden ones and those below a directory called
 * `fixtures`: the files that match the project's patterns; without patterns every *.test.lua of a directory,
 * and in a directory without any every *.lua.  A file given by its path is always a test.  The list is sorted
 * and has each file once, by any number of paths; links to directories are followed, and loops of links are
 * harmless.
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
    bool given; /* by its own path */
    bool alone; /* and first so: scripts that it needs may be in any directory above it in the project */
};

/* The rule by which a file below a given directory is a test. */
struct pv_find_rule {
    const struct pv_strv *patterns; /* pv_glob_match's; NULL or empty: *.test.lua, else *.lua */
    /*
     * The patterns are compared with the path below this directory, and for a file that is elsewhere with
     * the path below the given directory.
     */
    const char *base;
};

struct pv_test_list {
    struct pv_test_file *v;
    size_t n;
};

/*
 * `only`: when not empty, files whose name contains one of these.  Finding none is an error of class usage
 * that names the paths, unless allow_none; a path that does not exist or cannot be read is always an error.
 */
int pv_find_tests(const struct pv_strv *paths, const struct pv_find_rule *rule, const struct pv_strv *only,
                  bool allow_none, struct pv_test_list *out, struct pv_err *err);
void pv_test_file_fini(struct pv_test_file *t);
void pv_test_list_free(struct pv_test_list *l);

#endif
