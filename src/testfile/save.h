/* SPDX-License-Identifier: MIT */
/*
 * provium test --save-failed: at the first failure of a file, its VMs go into one file (pvsave/pvsave.h).  The VMs go
 * on; neither the verdict nor a time limit of the test changes, because a save has a limit of its own and its time
 * does not count.  A save that fails is a notice to the user.
 */
#ifndef PV_TESTFILE_SAVE_H
#define PV_TESTFILE_SAVE_H

#include <stdbool.h>

struct pv_testfile;

/* Of one file's process: the supervisor's limit of the file grows by so much. */
#define TF_SAVE_TIME (120 * PV_NSEC_PER_SEC)

struct tf_save {
    bool done; /* the first failure has been met */
};

/*
 * The file, or its innermost sub-test, fails with this message, and nothing of it has ended yet.  Nothing without
 * --save-failed, without VMs, after the first failure, and for a failure that counts for nothing: one that is
 * expected, or of an attempt that is repeated.  Blocks (runs the loop).
 */
void pv_tf_save_failed(struct pv_testfile *tf, const char *message);
/* The same when an unexpected report of a VM's kernel fails the sub-test, or outside of sub-tests the file. */
void pv_tf_save_reported(struct pv_testfile *tf);

#endif
