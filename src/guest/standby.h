/* SPDX-License-Identifier: MIT */
/*
 * VMs that stand by: the next resume of a snapshot, made before anybody asks for it, while a test does
 * something else.  Such a VM has been resumed, has met the agent, has run one command that does nothing (so
 * that an emulating QEMU has translated what the first real one needs), and then was stopped: it uses no CPU
 * and its time stands still.  Whoever resumes that snapshot next gets it in a few milliseconds.
 *
 * It is never in the way: it is made only where env->pool.try_acquire grants memory and CPUs, may be killed by
 * anybody at any time, and what goes wrong with it is nobody's error; the resume is then made as usual.
 *
 *     env.standby_pool = pv_standby_pool_new(&env);     // pv_guest_resume and pv_guest_restore do the rest
 *     ...
 *     pv_standby_pool_free(env.standby_pool);           // before snapshots and the loop
 */
#ifndef PV_GUEST_STANDBY_H
#define PV_GUEST_STANDBY_H

#include <stdbool.h>
#include <stdint.h>

struct pv_guest;
struct pv_guest_env;
struct pv_snapshot;
struct pv_standby_pool;

struct pv_standby_pool *pv_standby_pool_new(const struct pv_guest_env *env); /* env outlives it */
/* Ends all of them. NULL is fine, for all of these. */
void pv_standby_pool_free(struct pv_standby_pool *all);
void pv_standby_pool_clear(struct pv_standby_pool *all);

/* Begins to make one for the snapshot, unless there is one.  Goes on within the loop. */
void pv_standby_prepare(struct pv_standby_pool *all, struct pv_snapshot *s);

/* ---- for resume.c ---- */

/* The name by which the pool knows the one that there is for it; NULL: none. */
const char *pv_standby_name(struct pv_standby_pool *all, const struct pv_snapshot *s);
/*
 * Makes its QEMU that of g, which has none, running and met.  Blocks (runs the loop) until it is ready or the
 * deadline.  False when there is none that is any good.
 */
bool pv_standby_take(struct pv_standby_pool *all, const struct pv_snapshot *s, struct pv_guest *g,
                     int64_t deadline);

/* ---- for tests and bench ---- */

/* Whether the one that there is for it is ready to be taken. */
bool pv_standby_ready(struct pv_standby_pool *all, const struct pv_snapshot *s);

#endif
