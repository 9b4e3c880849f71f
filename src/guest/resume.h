/* SPDX-License-Identifier: MIT */
/* The steps of a resume, which a standby VM takes as well.  Private to the room. */
#ifndef PV_GUEST_RESUME_H
#define PV_GUEST_RESUME_H

#include <stdint.h>

struct pv_err;
struct pv_guest;
struct pv_snapshot;

/* Starts QEMU in the guest's instance, which has a lease and nothing else. */
int pv_resume_start(struct pv_guest *g, struct pv_snapshot *s, struct pv_err *err);
/* Loads memory and vmstate, lets the machine run and meets the agent. */
int pv_resume_load(struct pv_guest *g, const struct pv_snapshot *s, int64_t deadline, struct pv_err *err);
/* Tells the running guest the time, and gives it random bytes of its own. */
int pv_resume_meet(struct pv_guest *g, int64_t deadline, struct pv_err *err);

#endif
