/* SPDX-License-Identifier: MIT */
/* The request that makes a worker. */
#include "guest/call.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/session.h"
#include "guest/worker-end.h"
#include "guest/worker.h"
#include "util/clock.h"

#define SPAWN_LIMIT (30 * PV_NSEC_PER_SEC)

/* A vsock listener of the agent never has another port; to these, a connect fails on the host. */
#define PORT_MIN 1024
#define PORT_ANY UINT32_MAX

struct spawn_call {
    struct pv_call c;
    uint32_t port, pid;
    uint32_t process_pid; /* of the agent process that spawns */
};

static int worker_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct spawn_call *s = PV_CONTAINER_OF(c, struct spawn_call, c);

    if (type != PV_MSG_WORKER)
        return pv_call_unexpected(type, err);
    s->port = pv_dec_u32(d);
    s->pid = pv_dec_u32(d);
    if (!pv_dec_done(d) || s->port < PORT_MIN || s->port == PORT_ANY || s->port == PV_AGENT_PORT)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed WORKER");
    return 1;
}

/* The request.  s->process_pid and *version (may be NULL): of the process that spawned. */
static int spawn_ask(struct pv_agent *a, struct spawn_call *s, bool thread, uint64_t *version, int64_t limit,
                     struct pv_err *err)
{
    struct pv_enc e;

    *s = (struct spawn_call){.c = {.frame = worker_frame, .turn_ns = limit}};
    if (pv_call_begin(a, &s->c, PV_MSG_SPAWN, "spawn", &e, err) < 0)
        return -1;
    s->process_pid = s->c.s->agent_pid;
    if (version)
        *version = s->c.s->version;
    pv_enc_u32(&e, thread ? PV_SPAWN_THREAD : 0);
    return pv_call_finish(a, &s->c, &e, "spawn", limit, err);
}

int pv_agent_spawn_copy(struct pv_agent *a, struct pv_agent_copy *copy, int64_t timeout_ns,
                        struct pv_err *err)
{
    struct spawn_call s;

    if (spawn_ask(a, &s, false, &copy->version, timeout_ns, err) < 0)
        return -1;
    copy->of = s.process_pid;
    copy->port = s.port;
    return 0;
}

struct pv_worker *pv_worker_spawn(struct pv_guest *g, bool thread, int64_t timeout_ns, struct pv_err *err)
{
    int64_t limit = timeout_ns ? timeout_ns : SPAWN_LIMIT, deadline = pv_guest_deadline(g, limit);
    struct pv_agent *a = pv_guest_agent(g);
    struct spawn_call s;
    struct pv_worker *w;

    if (spawn_ask(a, &s, thread, NULL, limit, err) < 0)
        return NULL;
    w = pv_worker_new(g, thread, s.port, s.pid, s.process_pid);
    if (pv_agent_connect(&w->agent, deadline, err) < 0) {
        pv_err_wrap(err, "spawn on %s", g->name);
        pv_worker_free(w);
        return NULL;
    }
    return w;
}
