/* SPDX-License-Identifier: MIT */
/* The file's VMs as clients of the supervisor's pool of memory and CPUs (childproto/lease.h). */
#ifndef PV_TESTFILE_POOL_H
#define PV_TESTFILE_POOL_H

struct pv_testfile;

/*
 * Makes tf->guest_env acquire from and release to tf->env->lease.  A wait is a phase and a step of the
 * timeline, does not count for deadlines of sub-tests, and ends the file's own standby VMs.
 */
void pv_tf_pool_connect(struct pv_testfile *tf);

#endif
