/* SPDX-License-Identifier: MIT */
/* The members of a worker.  Private to src/guest. */
#ifndef PV_GUEST_WORKER_END_H
#define PV_GUEST_WORKER_END_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/agent-conn.h"
#include "guest/env.h"

struct pv_worker {
    struct pv_agent agent;
    char *name;
    bool thread;
    uint32_t process_pid;      /* pid of the agent process that spawned it; a thread ends with that process */
    unsigned generation;       /* the guest's generation at the spawn */
    enum pv_guest_state state; /* running, dead, killed */
    char *end_reason;          /* of a dead worker */
};

/*
 * Makes the host's side of a worker that an agent has spawned; it has no connection yet.  process_pid: pid of
 * the spawning agent process.
 */
struct pv_worker *pv_worker_new(struct pv_guest *g, bool thread, uint32_t port, uint32_t pid,
                                uint32_t process_pid);
/* Marks the worker as dead; takes reason: "was killed by SIGSEGV". */
void pv_worker_end(struct pv_worker *w, char *reason);
/* As pv_agent_check_running, for a running guest. */
int pv_worker_check_running(struct pv_worker *w, const char *what, struct pv_err *err);

#endif
