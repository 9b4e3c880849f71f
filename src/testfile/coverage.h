/* SPDX-License-Identifier: MIT */
/*
 * provium test --coverage: what the kernels of the file's VMs have counted (gcov, in debugfs) goes into DIR/FILE.gcov/N,
 * a directory for each run of a VM, as gcov's tools expect it.  None of VMs of fixtures' builds and of standby VMs.
 * Counters that cannot be had are a notice to the user; neither changes a verdict.
 */
#ifndef PV_TESTFILE_COVERAGE_H
#define PV_TESTFILE_COVERAGE_H

#include <stdbool.h>

struct pv_testfile;
struct tf_guest;

struct tf_coverage {
    unsigned n;      /* directories */
    unsigned failed; /* notices */
    bool begun;      /* what earlier runs of the file have left is gone */
};

/* Behind DIR/FILE: the directory of a file's counters. */
#define TF_COVERAGE_DIR ".gcov"

/*
 * A run of the VM is about to end, or its state to be replaced: takes the counters of its kernel.  Nothing without
 * --coverage, and for a VM that does not run.  Blocks (runs the loop), 60 s at most; limits of sub-tests stand still.
 */
void pv_tf_coverage_take(struct pv_testfile *tf, struct tf_guest *g);
/* The same for all VMs of the file. */
void pv_tf_coverage_take_all(struct pv_testfile *tf);

#endif
