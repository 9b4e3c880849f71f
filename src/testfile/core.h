/* SPDX-License-Identifier: MIT */
/*
 * provium test --vmcore: cores of the file's VMs whose kernel panics or oopses, or that stand still, as
 * DIR/FILE-VM.vmcore.  None of VMs of fixtures' builds and of standby VMs, and none for what a test expects or the
 * options let pass.  A core that could not be written is a notice to the user; neither changes a verdict.
 */
#ifndef PV_TESTFILE_CORE_H
#define PV_TESTFILE_CORE_H

struct pv_testfile;
struct tf_core;

struct tf_cores {
    struct tf_core *first; /* the last one first */
};

/* Puts them into the environment of the file's guests; nothing without --vmcore. */
void pv_tf_cores_connect(struct pv_testfile *tf);
void pv_tf_cores_free(struct tf_cores *list);

#endif
