/* SPDX-License-Identifier: MIT */
/*
 * provium test --coverage, where a guest's kernel has KCOV: the lines that commands and system calls of each sub-test have
 * reached, as DIR/FILE.kcov.info in lcov's format (geninfo(1)), with the sub-test as the test's name.  None of VMs of
 * fixtures' builds and of standby VMs.  Lines that cannot be had are a notice to the user; neither changes a verdict.
 */
#ifndef PV_TESTFILE_KCOV_H
#define PV_TESTFILE_KCOV_H

#include <stdbool.h>
#include <stddef.h>

struct pv_testfile;
struct tf_kcov_test;

/* Behind DIR/FILE. */
#define TF_KCOV_INFO ".kcov.info"

struct tf_kcov {
    struct tf_kcov_test *first;
    size_t n;  /* addresses of all sub-tests */
    bool full; /* some are missing */
    bool told; /* why no line is known */
};

/* Puts it into the environment of the file's guests; nothing without --coverage. */
void pv_tf_kcov_connect(struct pv_testfile *tf);
/* At the end of the file: writes what there is.  Blocks on the file system. */
void pv_tf_kcov_write(struct pv_testfile *tf);
void pv_tf_kcov_free(struct tf_kcov *k);

#endif
