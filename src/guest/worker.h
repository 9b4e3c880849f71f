/* SPDX-License-Identifier: MIT */
/*
 * Workers: further agent processes, or threads of the first one, in a running guest.  A worker has one
 * session in its life; it ends with that session, with its process or with the VM.
 *
 *     struct pv_worker *w = pv_worker_spawn(g, false, 0, &err);
 *     pv_agent_exec(pv_worker_agent(w), &x, &result, &err);
 *     pv_worker_free(w);
 */
#ifndef PV_GUEST_WORKER_H
#define PV_GUEST_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/env.h"

struct pv_agent;
struct pv_err;
struct pv_guest;
struct pv_worker;

/* Blocks until the worker greets; timeout_ns 0: 30 s. NULL with *err: as of a request (agent.h). */
struct pv_worker *pv_worker_spawn(struct pv_guest *g, bool thread, int64_t timeout_ns, struct pv_err *err);
/* Ends it, frees.  Before its guest is freed. NULL is fine. */
void pv_worker_free(struct pv_worker *w);
/* Closes its session, which ends it: "killed". Nothing when it has ended. */
void pv_worker_kill(struct pv_worker *w);

const char *pv_worker_name(const struct pv_worker *w); /* "worker 1 (pid 70) of vm1 (minimal)" */
struct pv_guest *pv_worker_guest(const struct pv_worker *w);
struct pv_agent *pv_worker_agent(struct pv_worker *w);
/* The guest's state while that does not run; "killed" after its guest was restored. */
enum pv_guest_state pv_worker_state(const struct pv_worker *w);

#endif
