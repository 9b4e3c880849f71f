/* SPDX-License-Identifier: MIT */
/* The file as the observer of its VMs: their notices, phases, states, findings and host reads. */
#ifndef PV_TESTFILE_OBSERVER_H
#define PV_TESTFILE_OBSERVER_H

struct pv_testfile;

/* Makes tf->guest_env report to tf, and the supervisor's end ask tf for sizes of console logs. */
void pv_tf_observe(struct pv_testfile *tf);

#endif
