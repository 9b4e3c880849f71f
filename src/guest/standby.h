/* SPDX-License-Identifier: MIT */
/*
 * The standby pool: for each snapshot at most one standby VM, which is the next resume of it, made while the
 * test does something else.  A standby VM has been resumed, has met the agent, has run one command without
 * effect (so that an emulating QEMU has translated the code that the first real command needs) and was then
 * stopped: it uses no CPU and its time stands still.  The next resume of the snapshot adopts its instance
 * within a few milliseconds.
 *
 * A standby VM is made only when the pool client's try_acquire grants a lease, may be preempted at any time,
 * and its errors fail no call: the resume then makes an instance as usual.  Two errors are exceptions: if its machine
 * ends by itself, or the agent in it, the next resume of the snapshot fails by that, because it would have been that VM.
 *
 *     env.standby_pool = pv_standby_pool_new(&env);   // pv_guest_resume and pv_guest_restore do the rest
 *     ...
 *     pv_standby_pool_free(env.standby_pool);         // before snapshots and the loop
 */
#ifndef PV_GUEST_STANDBY_H
#define PV_GUEST_STANDBY_H

#include <stdbool.h>
#include <stdint.h>

struct pv_conlog;
struct pv_err;
struct pv_guest_env;
struct pv_instance;
struct pv_snapshot;
struct pv_standby_pool;

/* env must outlive it.  NULL is fine as `pool` of all functions below. */
struct pv_standby_pool *pv_standby_pool_new(const struct pv_guest_env *env);
void pv_standby_pool_free(struct pv_standby_pool *pool);
/* Ends all standby VMs. */
void pv_standby_pool_clear(struct pv_standby_pool *pool);

/* Begins to make the snapshot's standby VM, unless there is one.  Goes on within the loop. */
void pv_standby_prepare(struct pv_standby_pool *pool, struct pv_snapshot *s);

/* ---- for resume.c ---- */

/* The name of the snapshot's standby VM, by which the pool knows its lease; NULL: there is none. */
const char *pv_standby_name(struct pv_standby_pool *pool, const struct pv_snapshot *s);
/* -1 with *err, once: the snapshot's standby VM died by itself, not by SIGKILL, or has lost its agent. */
int pv_standby_check(struct pv_standby_pool *pool, const struct pv_snapshot *s, struct pv_err *err);
/*
 * The instance of the snapshot's standby VM, running, the agent met; the caller's.  Its console goes to `log`
 * (NULL: to none).  Blocks (runs the loop) until it is ready or the deadline.  NULL when there is none that is
 * usable.
 */
struct pv_instance *pv_standby_adopt(struct pv_standby_pool *pool, const struct pv_snapshot *s,
                                     struct pv_conlog *log, int64_t deadline);

/* ---- for tests and bench ---- */

/* True when the snapshot's standby VM can be adopted without waiting. */
bool pv_standby_ready(struct pv_standby_pool *pool, const struct pv_snapshot *s);

#endif
