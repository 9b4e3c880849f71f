/* SPDX-License-Identifier: MIT */
/* The inside of a worker.  Private to the room. */
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
    uint32_t process_pid;      /* of the agent process that it was spawned from; a thread ends with it */
    unsigned generation;       /* the guest's when it was spawned */
    enum pv_guest_state state; /* running, dead, killed */
    char *end_reason;          /* once it is dead */
};

/* Of a worker that an agent has spawned and that is not connected yet.  process_pid: the spawning agent's. */
struct pv_worker *pv_worker_new(struct pv_guest *g, bool thread, uint32_t port, uint32_t pid,
                                uint32_t process_pid);
/* The worker is dead; reason is taken: "was killed by SIGSEGV". */
void pv_worker_end(struct pv_worker *w, char *reason);
/* As pv_agent_check_running; the guest runs. */
int pv_worker_check_running(struct pv_worker *w, const char *what, struct pv_err *err);

#endif
