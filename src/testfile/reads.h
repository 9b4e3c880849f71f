/* SPDX-License-Identifier: MIT */
/*
 * Records the host files, variables and fixtures that a fixture's script reads, in the recipe of its cache
 * entry. Each input is recorded before it is read, so that a change in between is seen.  A test file has no recipe
 * (tf->reads NULL).  With --watch, test file and builder tell the supervisor of each path, too (pv_result_input).
 * An input that cannot be recorded is an error of the build (reads->err).
 */
#ifndef PV_TESTFILE_READS_H
#define PV_TESTFILE_READS_H

#include <stdbool.h>

#include "util/err.h"
#include "util/mem.h"

struct pv_entry;
struct pv_guest_host;
struct pv_profile;
struct pv_recipe;
struct pv_testfile;

struct tf_reads {
    struct pv_recipe *recipe;
    struct pv_strv wrote; /* absolute paths that the script wrote: reading them back is no input */
    bool used_cwd;        /* a relative path was read */
    struct pv_err err;    /* the first input that could not be recorded; class PV_E_NONE: none */
};

/* A file is about to be opened or looked for: its content, or its absence, is an input. */
void pv_tf_reads(struct pv_testfile *tf, const char *path);
/* The same for a file, or a directory with all entries, modes included. */
void pv_tf_reads_tree(struct pv_testfile *tf, const char *path);
/* The script writes path. */
void pv_tf_wrote(struct pv_testfile *tf, const char *path);
/* package.searchpath(name, templates, sep, rep): the candidates that do not exist, and the one that does. */
void pv_tf_reads_search(struct pv_testfile *tf, const char *name, const char *templates, const char *sep,
                        const char *rep);
/* An environment variable. */
void pv_tf_reads_env(struct pv_testfile *tf, const char *name);
/* A profile: its values, the accelerator, and the QEMU program. */
void pv_tf_reads_profile(struct pv_testfile *tf, const struct pv_profile *p);
/* Another fixture's entry. */
void pv_tf_reads_fixture(struct pv_testfile *tf, struct pv_entry *e);
/* --watch: the paths that an entry was made of. */
void pv_tf_reads_inputs_of(struct pv_testfile *tf, const struct pv_entry *e);

/* Inputs of any recipe (r NULL: nothing): a file or a tree, a profile, a named string (inputs.h). */
void pv_tf_reads_add(struct tf_reads *r, const char *path, bool tree);
void pv_tf_reads_add_profile(struct tf_reads *r, const struct pv_guest_host *host,
                             const struct pv_profile *p);
void pv_tf_reads_string(struct tf_reads *r, const char *name, const char *value);

#endif
