/* SPDX-License-Identifier: MIT */
#include "guest/agent-conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guest/guest-state.h"
#include "guest/instance.h"
#include "guest/session.h"
#include "guest/worker.h"
#include "guest/worker-end.h"
#include "config/config.h"
#include "transport/channel.h"
#include "util/clock.h"
#include "vm/vm.h"

/*
 * Limit of an attempt; the kernel's vsock gives up after 2 s, too.  Each attempt that was accepted and not greeted
 * doubles it: a guest that gets little of its host's time would not greet within 2 s in any of them.
 */
#define ATTEMPT_LIMIT (2 * PV_NSEC_PER_SEC)
/* Between two attempts a guest that refused goes on booting. */
#define RETRY_PAUSE (3 * PV_NSEC_PER_MSEC)

/* How long a call waits for a guest that reboots, without a boot_timeout of its profile. */
#define REBOOT_LIMIT (30 * PV_NSEC_PER_SEC)

/* Limits of one VM.  The agent serves 128 connections, of which workers and the main session are some, too. */
enum { AUX_REQUESTS_MAX = 16, AUX_HELD_MAX = 64 };

int pv_agent_check_running(struct pv_agent *a, const char *what, struct pv_err *err)
{
    struct pv_guest *g = a->guest;
    int64_t limit = g->profile->boot_timeout_ns ? g->profile->boot_timeout_ns : REBOOT_LIMIT;

    if (pv_guest_check_running(g, what, err) < 0)
        return -1;
    if (g->life.rebooting && !a->worker && pv_agent_meet_again(g, pv_guest_deadline(g, limit), err) < 0)
        return pv_err_wrap(err, "cannot %s: %s %s, and its agent does not serve yet", what, g->name,
                           g->life.how);
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
    pv_session_close(a->session);
    pv_session_unref(a->session);
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

/* One connecting: aux is the entry that gets the session; NULL: the agent's own one. */
struct dial {
    struct pv_agent *a;
    struct pv_aux *aux;
    unsigned port;
};

static struct pv_session *dial_session(const struct dial *d)
{
    return d->aux ? d->aux->session : pv_agent_session(d->a);
}

static void dial_set_session(struct dial *d, struct pv_session *s)
{
    if (!d->aux) {
        agent_set_session(d->a, s);
        return;
    }
    pv_session_close(d->aux->session);
    pv_session_unref(d->aux->session);
    d->aux->session = s;
}

/* A worker or fork listens for one connection, once: closing it in order to try again would end the process. */
static bool dial_is_single(const struct dial *d)
{
    return d->port != PV_AGENT_PORT;
}

static bool session_is_settled(void *arg)
{
    const struct pv_session *s = dial_session(arg);

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
    pv_instance_alive(arg);
}

static void worker_is_alive(void *arg)
{
    const struct pv_agent *a = arg;

    if (a->guest->instance && a->worker->generation == a->guest->generation)
        pv_instance_alive(a->guest->instance);
}

static struct pv_session *open_session(struct dial *d, struct pv_err *err)
{
    struct pv_agent *a = d->a;
    struct pv_channel *c = agent_channel(a);
    struct pv_stream *stream = c->ops->connect(c, d->port, err);
    struct pv_session *s;

    if (!stream)
        return NULL;
    s = pv_session_new(a->guest->env->host.loop, stream);
    s->alive = a->worker ? worker_is_alive : instance_is_alive;
    s->alive_arg = a->worker ? (void *)a : (void *)a->guest->instance;
    dial_set_session(d, s);
    return s;
}

/* One attempt of at most limit ns. 0: open; 1: refused, or the deadline; -1. */
static int connect_once(struct dial *d, int64_t limit, int64_t deadline, struct pv_err *err)
{
    int64_t attempt = pv_deadline(limit);
    struct pv_guest *g = d->a->guest;
    struct pv_session *s = open_session(d, err);
    int r;

    if (!s)
        return -1;
    r = pv_guest_wait(g, session_is_settled, d, attempt < deadline ? attempt : deadline, err);
    if (r < 0)
        return -1;
    if (s->state == PV_SESSION_OPEN)
        return 0;
    if (s->state == PV_SESSION_BROKEN && s->err.cls == PV_E_PROTOCOL) {
        if (err)
            *err = s->err;
        pv_guest_add_console(g, err);
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

/* Connects until READY or the deadline.  When it fails because the guest has ended, d->aux is gone. */
static int dial_run(struct dial *d, int64_t deadline, struct pv_err *err)
{
    struct pv_agent *a = d->a;
    int64_t limit = dial_is_single(d) ? PV_FOREVER : ATTEMPT_LIMIT, settled = pv_deadline(ATTEMPT_LIMIT);
    char last[128] = "";

    for (;;) {
        int64_t pause;
        int r = pv_guest_wait(a->guest, channel_is_ready, a, deadline, err);

        if (r < 0)
            return -1;
        if (agent_channel(a)->error)
            return channel_broken(a, err);
        if (r > 0)
            return connect_timed_out(a, last, err);
        r = connect_once(d, limit, deadline, err);
        if (r <= 0)
            return r;
        note_last(dial_session(d), last);
        if (dial_session(d)->state == PV_SESSION_GREETING && !dial_is_single(d))
            limit *= 2;
        if (pv_now() >= deadline)
            return connect_timed_out(a, last, err);
        /* Not at once: a guest that resets refuses as well, and QEMU tells of the reset later. */
        if (dial_is_single(d) && pv_now() >= settled && dial_session(d)->connect_errno == ECONNREFUSED)
            return pv_err_set_at(err, PV_E_TIMEOUT, ECONNREFUSED, __FILE__, __LINE__,
                                 "a process of the agent of %s that listened on port %u is gone", a->name,
                                 d->port);
        dial_set_session(d, NULL);
        pause = pv_deadline(RETRY_PAUSE);
        if (pv_guest_wait(a->guest, NULL, NULL, pause < deadline ? pause : deadline, err) < 0)
            return -1;
    }
}

static bool agent_is_not_dialing(void *arg)
{
    return !((const struct pv_agent *)arg)->dialing;
}

int pv_agent_connect(struct pv_agent *a, int64_t deadline, struct pv_err *err)
{
    struct dial d = {.a = a, .port = a->port};
    const struct pv_session *s = pv_agent_session(a);
    int r;

    if (!a->dialing && s && s->state == PV_SESSION_OPEN)
        return 0;
    /* Another task may be at it: a second attempt would close its session. */
    r = pv_guest_wait(a->guest, agent_is_not_dialing, a, deadline, err);
    if (r != 0)
        return r < 0 ? -1 : connect_timed_out(a, "", err);
    s = pv_agent_session(a);
    if (s && s->state == PV_SESSION_OPEN)
        return 0;
    a->dialing = true;
    r = dial_run(&d, deadline, err);
    a->dialing = false;
    return r;
}

int pv_agent_meet_again(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    while (g->life.rebooting) {
        unsigned generation = g->generation, panics = g->life.n_panics;

        if (pv_agent_connect(&g->agent, deadline, err) == 0) {
            g->life.rebooting = false;
            return g->met_again ? g->met_again(g, deadline, err) : 0;
        }
        if (g->state != PV_GUEST_RUNNING || g->generation == generation || g->life.n_panics != panics)
            return -1;
        /* It was reset again, by firmware or by a guest that reboots at its first start. */
    }
    return 0;
}

/* ---- auxiliary sessions ---- */

/* A reference to a new session of this use, or NULL with *err.  copy: NULL, or the fork to connect to. */
static struct pv_session *aux_open(struct pv_agent *a, enum pv_aux_use use, const struct pv_agent_copy *copy,
                                   int64_t deadline, struct pv_err *err)
{
    struct pv_instance *i = a->guest->instance;
    unsigned generation = a->guest->generation;
    struct dial d = {.a = a, .aux = pv_instance_add_aux(i), .port = copy ? copy->port : a->port};

    d.aux->use = PV_AUX_BUSY;
    d.aux->copy_of = copy ? copy->of : 0;
    d.aux->version = copy ? copy->version : 0;
    if (dial_run(&d, deadline, err) == 0) {
        d.aux->use = use;
        return pv_session_ref(d.aux->session);
    }
    if (a->guest->instance == i && a->guest->generation == generation)
        pv_instance_drop_aux(i, d.aux);
    return NULL;
}

static unsigned aux_count(const struct pv_instance *i, bool held)
{
    unsigned n = 0;

    for (const struct pv_aux *x = pv_instance_aux(i); x; x = x->next)
        n += (x->use == PV_AUX_HELD) == held;
    return n;
}

/* It is broken, or a fork of a main process that has changed since. */
static bool aux_is_stale(const struct pv_instance *i, const struct pv_aux *x)
{
    const struct pv_session *main = pv_instance_session(i);

    return x->session->state != PV_SESSION_OPEN ||
           (x->copy_of && (!main || main->agent_pid != x->copy_of || main->version != x->version));
}

/* An idle one, which is a fork of the main process or not; stale ones are removed. */
static struct pv_aux *aux_find_idle(struct pv_instance *i, bool copy)
{
    struct pv_aux *next;

    for (struct pv_aux *x = pv_instance_aux(i); x; x = next) {
        next = x->next;
        if (x->use != PV_AUX_IDLE)
            continue;
        if (aux_is_stale(i, x))
            pv_instance_drop_aux(i, x);
        else if ((x->copy_of != 0) == copy)
            return x;
    }
    return NULL;
}

static bool aux_can_be_had(void *arg)
{
    struct pv_instance *i = ((struct pv_agent *)arg)->guest->instance;

    return aux_find_idle(i, false) || aux_count(i, false) < AUX_REQUESTS_MAX;
}

struct pv_session *pv_agent_take_aux(struct pv_agent *a, int64_t deadline, struct pv_err *err)
{
    struct pv_aux *x;
    int r = pv_guest_wait(a->guest, aux_can_be_had, a, deadline, err);

    if (r < 0)
        return NULL;
    if (r > 0) {
        pv_err_set(err, PV_E_TIMEOUT, "%s has %d requests under way, and none of them ended in time", a->name,
                   AUX_REQUESTS_MAX + 1);
        return NULL;
    }
    x = aux_find_idle(a->guest->instance, false);
    if (!x)
        return aux_open(a, PV_AUX_BUSY, NULL, deadline, err);
    x->use = PV_AUX_BUSY;
    return pv_session_ref(x->session);
}

struct pv_session *pv_agent_idle_copy(struct pv_agent *a)
{
    struct pv_aux *x = aux_find_idle(a->guest->instance, true);

    if (!x)
        return NULL;
    x->use = PV_AUX_BUSY;
    return pv_session_ref(x->session);
}

struct pv_session *pv_agent_open_copy(struct pv_agent *a, const struct pv_agent_copy *copy, int64_t deadline,
                                      struct pv_err *err)
{
    return aux_open(a, PV_AUX_BUSY, copy, deadline, err);
}

/* Puts a session with a reference of the caller's back to use, or removes it. */
static void aux_leave(struct pv_agent *a, struct pv_session *s, bool keep)
{
    struct pv_instance *i = a->guest->instance;
    struct pv_aux *x = i ? pv_instance_aux(i) : NULL;

    while (x && x->session != s)
        x = x->next;
    if (x && keep && s->state == PV_SESSION_OPEN)
        x->use = PV_AUX_IDLE;
    else if (x)
        pv_instance_drop_aux(i, x);
    pv_session_unref(s);
}

void pv_agent_leave_aux(struct pv_agent *a, struct pv_session *s)
{
    aux_leave(a, s, true);
}

struct pv_session *pv_agent_open_aux(struct pv_agent *a, int64_t deadline, struct pv_err *err)
{
    if (a->worker) {
        pv_err_set(err, PV_E_USAGE, "%s has one connection; use the VM for this", a->name);
        return NULL;
    }
    if (aux_count(a->guest->instance, true) >= AUX_HELD_MAX) {
        pv_err_set(err, PV_E_USAGE, "%s has %d processes and streams open already; close some", a->name,
                   AUX_HELD_MAX);
        return NULL;
    }
    return aux_open(a, PV_AUX_HELD, NULL, deadline, err);
}

void pv_agent_close_aux(struct pv_agent *a, struct pv_session *s)
{
    if (s)
        aux_leave(a, s, false);
}
