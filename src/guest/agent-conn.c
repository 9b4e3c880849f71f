/* SPDX-License-Identifier: MIT */
#include "guest/agent-conn.h"

#include <stdio.h>
#include <string.h>

#include "guest/guest-state.h"
#include "guest/instance.h"
#include "guest/session.h"
#include "guest/worker.h"
#include "guest/worker-end.h"
#include "transport/channel.h"
#include "util/clock.h"
#include "vm/vm.h"

/* Limit of one attempt; the kernel's vsock gives up after 2 s, too. */
#define ATTEMPT_LIMIT (2 * PV_NSEC_PER_SEC)
/* Between two attempts a guest that refused goes on booting. */
#define RETRY_PAUSE (3 * PV_NSEC_PER_MSEC)

int pv_agent_check_running(struct pv_agent *a, const char *what, struct pv_err *err)
{
    if (pv_guest_check_running(a->guest, what, err) < 0)
        return -1;
    return a->worker ? pv_worker_check_running(a->worker, what, err) : 0;
}

struct pv_session *pv_agent_session(const struct pv_agent *a)
{
    if (a->worker)
        return a->session;
    return a->guest->instance ? pv_instance_session(a->guest->instance) : NULL;
}

/* Closes the present session, takes s. */
static void agent_set_session(struct pv_agent *a, struct pv_session *s)
{
    if (!a->worker) {
        if (a->guest->instance)
            pv_instance_set_session(a->guest->instance, s);
        return;
    }
    pv_session_free(a->session);
    a->session = s;
}

void pv_agent_disconnect(struct pv_agent *a)
{
    agent_set_session(a, NULL);
}

static struct pv_channel *agent_channel(const struct pv_agent *a)
{
    return pv_instance_channel(a->guest->instance);
}

static bool session_is_settled(void *arg)
{
    const struct pv_session *s = pv_agent_session(arg);

    return s->state == PV_SESSION_OPEN || s->state == PV_SESSION_BROKEN;
}

static bool channel_is_ready(void *arg)
{
    struct pv_channel *c = agent_channel(arg);

    return c->error || c->ops->ready(c);
}

static int channel_broken(const struct pv_agent *a, struct pv_err *err)
{
    const struct pv_channel *c = agent_channel(a);

    pv_err_set(err, PV_E_PROTOCOL, "the %s of %s broke: %s",
               c->kind == PV_CHANNEL_SERIAL ? "agent's port" : "vsock device", a->guest->name, c->error_text);
    pv_guest_add_console(a->guest, err);
    return -1;
}

/* last: how the last connection that stood ended, or "". */
static int connect_timed_out(const struct pv_agent *a, const char *last, struct pv_err *err)
{
    struct pv_channel *c = agent_channel(a);

    if (!c->ops->ready(c) || !*last)
        last = c->ops->describe(c);
    pv_err_set(err, PV_E_TIMEOUT, "the agent of %s did not answer in time on %s port %u: %s", a->name,
               c->kind == PV_CHANNEL_SERIAL ? "serial" : "vsock", a->port, last);
    pv_guest_add_console(a->guest, err);
    return -1;
}

/* The argument of a VM's own agent is its instance, which another guest may adopt with the session. */
static void instance_is_alive(void *arg)
{
    pv_vm_alive_hint(pv_instance_vm(arg));
}

static void worker_is_alive(void *arg)
{
    const struct pv_agent *a = arg;

    if (a->guest->instance && a->worker->generation == a->guest->generation)
        pv_vm_alive_hint(pv_instance_vm(a->guest->instance));
}

static struct pv_session *open_session(struct pv_agent *a, struct pv_err *err)
{
    struct pv_channel *c = agent_channel(a);
    struct pv_stream *stream = c->ops->connect(c, a->port, err);
    struct pv_session *s;

    if (!stream)
        return NULL;
    s = pv_session_new(a->guest->env->host.loop, stream);
    s->alive = a->worker ? worker_is_alive : instance_is_alive;
    s->alive_arg = a->worker ? (void *)a : (void *)a->guest->instance;
    agent_set_session(a, s);
    return s;
}

/* One attempt. 0: open; 1: refused, or the deadline; -1. */
static int connect_once(struct pv_agent *a, int64_t deadline, struct pv_err *err)
{
    int64_t attempt = pv_deadline(ATTEMPT_LIMIT);
    struct pv_session *s = open_session(a, err);
    int r;

    if (!s)
        return -1;
    r = pv_guest_wait(a->guest, session_is_settled, a, attempt < deadline ? attempt : deadline, err);
    if (r < 0)
        return -1;
    if (s->state == PV_SESSION_OPEN)
        return 0;
    if (s->state == PV_SESSION_BROKEN && s->err.cls == PV_E_PROTOCOL) {
        if (err)
            *err = s->err;
        pv_guest_add_console(a->guest, err);
        return -1;
    }
    return 1;
}

static void note_last(const struct pv_session *s, char last[static 128])
{
    if (s->state == PV_SESSION_GREETING)
        snprintf(last, 128, "it took the connection and did not greet");
    else if (s->state == PV_SESSION_BROKEN && !s->connect_errno)
        snprintf(last, 128, "%.120s", s->err.text);
}

int pv_agent_connect(struct pv_agent *a, int64_t deadline, struct pv_err *err)
{
    char last[128] = "";

    const struct pv_session *s = pv_agent_session(a);

    if (s && s->state == PV_SESSION_OPEN)
        return 0;
    for (;;) {
        int64_t pause;
        int r = pv_guest_wait(a->guest, channel_is_ready, a, deadline, err);

        if (r < 0)
            return -1;
        if (agent_channel(a)->error)
            return channel_broken(a, err);
        if (r > 0)
            return connect_timed_out(a, last, err);
        r = connect_once(a, deadline, err);
        if (r <= 0)
            return r;
        note_last(pv_agent_session(a), last);
        if (pv_now() >= deadline)
            return connect_timed_out(a, last, err);
        pv_agent_disconnect(a);
        pause = pv_deadline(RETRY_PAUSE);
        if (pv_guest_wait(a->guest, NULL, NULL, pause < deadline ? pause : deadline, err) < 0)
            return -1;
    }
}
