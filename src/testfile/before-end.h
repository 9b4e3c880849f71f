/* SPDX-License-Identifier: MIT */
/* The end of a VM's run by a call: its kernel is asked before. */
#ifndef PV_TESTFILE_BEFORE_END_H
#define PV_TESTFILE_BEFORE_END_H

struct pv_testfile;
struct tf_guest;

/*
 * A run of the VM is about to end, or its state to be replaced, because a call says so: decides its doubtful findings and
 * takes its coverage, while its kernel can still be asked.  Blocks (runs the loop).
 */
void pv_tf_before_end(struct pv_testfile *tf, struct tf_guest *g);

#endif
