/* SPDX-License-Identifier: MIT */
/*
 * Workers: further agent processes (or threads) in a VM.  On the host a worker is a guest handle with a
 * parent and a conversation of its own, at its own port; the conversation's end is the worker's end.
 */
#include "guest/call.h"

#include <inttypes.h>

#include "util/clock.h"

#define SPAWN_LIMIT (30 * PV_NSEC_PER_SEC)

struct spawn_call {
    struct pv_call c;
    uint32_t port, pid;
};

static int worker_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct spawn_call *s = PV_CONTAINER_OF(c, struct spawn_call, c);

    if (type != PV_MSG_WORKER)
        return pv_call_unexpected(type, err);
    s->port = pv_dec_u32(d);
    s->pid = pv_dec_u32(d);
    if (!pv_dec_done(d) || s->port == PV_AGENT_PORT)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed WORKER");
    return 1;
}

static struct pv_guest *worker_new(struct pv_guest *parent, const struct spawn_call *s, bool thread)
{
    struct pv_guest *w = pv_xcalloc(1, sizeof(*w));

    w->env = parent->env;
    w->profile = parent->profile;
    w->parent = parent;
    w->name = pv_xasprintf("worker %u (%s %" PRIu32 ") of %s", ++parent->n_workers, thread ? "tid" : "pid",
                           s->pid, parent->name);
    w->generation = parent->generation;
    w->memory_fd = -1;
    w->port = s->port;
    w->pid = s->pid;
    w->thread = thread;
    w->process_pid = parent->session->agent_pid;
    w->state = PV_GUEST_BOOTING;
    return w;
}

struct pv_guest *pv_guest_spawn(struct pv_guest *g, bool thread, int64_t timeout_ns, struct pv_err *err)
{
    int64_t deadline = pv_guest_deadline(g, timeout_ns ? timeout_ns : SPAWN_LIMIT);
    struct spawn_call s = {.c = {.frame = worker_frame}};
    struct pv_guest *w;
    struct pv_enc e;

    if (g->parent) {
        pv_err_set(err, PV_E_USAGE, "cannot spawn from %s: only a VM has workers", g->name);
        return NULL;
    }
    if (pv_call_begin(g, &s.c, PV_MSG_SPAWN, "spawn", &e, err) < 0)
        return NULL;
    pv_enc_u32(&e, thread ? PV_SPAWN_THREAD : 0);
    if (pv_call_finish(g, &s.c, &e, "spawn", timeout_ns ? timeout_ns : SPAWN_LIMIT, err) < 0)
        return NULL;
    w = worker_new(g, &s, thread);
    if (pv_guest_connect(w, deadline, err) < 0) {
        pv_err_wrap(err, "spawn on %s", g->name);
        pv_guest_free(w);
        return NULL;
    }
    pv_guest_set_state(w, PV_GUEST_RUNNING);
    return w;
}
