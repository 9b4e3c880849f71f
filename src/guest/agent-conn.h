/* SPDX-License-Identifier: MIT */
/*
 * The connection to an agent process: what a request (call.h) needs before it is sent and when its session
 * breaks.  Private to the room.
 */
#ifndef PV_GUEST_AGENT_CONN_H
#define PV_GUEST_AGENT_CONN_H

#include <stdint.h>

#include "guest/agent.h"
#include "util/clock.h"

/* How long a call waits for a session, unless it has a longer limit of its own. */
#define PV_AGENT_CONNECT_LIMIT (10 * PV_NSEC_PER_SEC)

struct pv_err;
struct pv_guest;
struct pv_session;
struct pv_turn;
struct pv_worker;

/* job.c: each process of the agent numbers its jobs from 1; the host's ids go on, so that none names two jobs. */
struct pv_job_ids {
    uint64_t base; /* the last id that an earlier process has; 0: none */
    uint64_t last;
    uint32_t pid; /* of the process that has the main session; 0: none yet */
    unsigned generation;
    const char *end; /* how the process before it ended: "rebooted"...; NULL: by itself */
};

struct pv_agent {
    struct pv_guest *guest;
    struct pv_worker *worker;   /* NULL: the VM's own agent process */
    const char *name;           /* for messages; its guest's or worker's */
    unsigned port;              /* where it listens */
    struct pv_session *session; /* of a worker; the one of the VM's own agent is its instance's */
    bool dialing;               /* a task connects the main session */
    struct pv_turn *turns;      /* requests on the main session, in order (call.c): the first has it */
    struct pv_job_ids job_ids;
};

/*
 * Makes sure that there is an open session: connects, retrying while no agent listens, until READY or the
 * deadline.  Errors: timeout, guest-died, protocol.
 */
int pv_agent_connect(struct pv_agent *a, int64_t deadline, struct pv_err *err);

/* Connects to the agent of a guest that is rebooting, which is running then; 0 at once for others. */
int pv_agent_meet_again(struct pv_guest *g, int64_t deadline, struct pv_err *err);

/* The session, as far as there is one; NULL: none. */
struct pv_session *pv_agent_session(const struct pv_agent *a);

/* Closes the main session, if there is one. */
void pv_agent_disconnect(struct pv_agent *a);

/*
 * Auxiliary sessions of a VM: each is another process of the agent, in the state that the agent had at boot:
 * without the descriptors, credentials and namespaces that raw calls made in the main session's process.
 *
 * Takes an idle one out of the VM's pool, or connects one; waits while the pool's 16 are all busy.  NULL
 * with *err.  leave returns it to the pool.
 */
struct pv_session *pv_agent_take_aux(struct pv_agent *a, int64_t deadline, struct pv_err *err);
void pv_agent_leave_aux(struct pv_agent *a, struct pv_session *s);
/*
 * Another kind is a fork of the main session's process, with all that raw calls made there: it serves requests
 * until the next raw call.  The idle one, or NULL; and the connection to a new one, which spawn.c makes.
 */
struct pv_agent_copy {
    uint32_t of; /* pid of the main session's process */
    uint64_t version;
    unsigned port;
};
struct pv_session *pv_agent_idle_copy(struct pv_agent *a);
struct pv_session *pv_agent_open_copy(struct pv_agent *a, const struct pv_agent_copy *copy, int64_t deadline,
                                      struct pv_err *err);
/*
 * Connects one that is the caller's own (the VM must run: pv_agent_check_running); at most 64 of a VM.  It
 * breaks when the VM ends or is restored; the caller closes it in any case.  NULL with *err: as of
 * pv_agent_connect; class usage for a worker, which has one connection, and for the 65th.
 */
struct pv_session *pv_agent_open_aux(struct pv_agent *a, int64_t deadline, struct pv_err *err);
void pv_agent_close_aux(struct pv_agent *a, struct pv_session *s); /* NULL is fine */

/*
 * Class usage, "cannot WHAT: NAME is STATE", unless guest and worker run; class guest-died when one of them
 * has died.  Notices an end of the VM that no call has met yet.  Blocks while the guest is rebooting: until its
 * agent is met, at most for the profile's boot timeout.
 */
int pv_agent_check_running(struct pv_agent *a, const char *what, struct pv_err *err);

/*
 * A session broke during WHAT, as `why` says; pid: of its agent process.  Tells the end of the VM, which has
 * priority, from the end of an agent process in a VM that lives on; *err says how that ended (class
 * guest-died).  A worker ends with its session.  A guest that broke the protocol: class protocol.  ask: send
 * requests to find that out.  The caller has let go of the session.  Always -1.
 */
int pv_agent_lost(struct pv_agent *a, const struct pv_err *why, uint32_t pid, bool ask, const char *what,
                  struct pv_err *err);

#endif
