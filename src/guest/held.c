/* SPDX-License-Identifier: MIT */
#include "guest/held.h"

#include <inttypes.h>
#include <string.h>

#include "guest/call.h"
#include "guest/guest-state.h"
#include "util/clock.h"
#include "util/mem.h"

#define START_LIMIT (30 * PV_NSEC_PER_SEC)

void pv_held_ref(struct pv_held *h)
{
    h->refs++;
}

void pv_held_unref(struct pv_held *h)
{
    if (!h || --h->refs)
        return;
    free(h->what);
    free(h->opened);
    h->fini(h);
}

/* ---- its end ---- */

/* Closes the session and leaves the guest's list; may free h. */
static void held_release(struct pv_held *h)
{
    struct pv_held **at = &h->guest->held;

    pv_timer_cancel(h->guest->env->host.loop, &h->over);
    if (!h->session)
        return;
    pv_session_end(h->session);
    pv_agent_close_aux(h->agent, pv_steal(&h->session));
    while (*at != h)
        at = &(*at)->next_open;
    *at = h->next_open;
    pv_held_unref(h);
}

static void held_on_over(struct pv_timer *t)
{
    held_release(PV_CONTAINER_OF(t, struct pv_held, over));
}

/* Takes notice of a session that broke. */
static void held_look(struct pv_held *h)
{
    if (h->state > PV_HELD_OPEN || !h->session || h->session->state != PV_SESSION_BROKEN)
        return;
    h->state = PV_HELD_LOST;
    h->err = h->session->err;
    pv_timer_arm(h->guest->env->host.loop, &h->over, pv_now());
}

void pv_held_close(struct pv_held *h)
{
    if (h->state <= PV_HELD_OPEN) {
        h->state = PV_HELD_LOST;
        pv_err_set(&h->err, PV_E_USAGE, "%s was closed", h->what);
    }
    held_release(h);
}

/* ---- frames ---- */

static int held_on_error(struct pv_held *h, struct pv_dec *d, struct pv_err *err)
{
    if (pv_call_dec_error(d, &h->err, err) < 0)
        return -1;
    h->state = PV_HELD_ENDED;
    return 1;
}

static int held_on_started(struct pv_held *h, struct pv_dec *d, struct pv_err *err)
{
    h->pid = pv_dec_u32(d);
    if (!pv_dec_done(d) || h->state != PV_HELD_STARTING || h->pid > INT32_MAX)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed STARTED");
    h->started = true;
    h->state = PV_HELD_OPEN;
    return 0;
}

static int held_on_frame(void *arg, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct pv_held *h = arg;
    int r;

    if (type == PV_MSG_STARTED)
        return held_on_started(h, d, err);
    r = type == PV_MSG_ERROR ? held_on_error(h, d, err) : h->frame(h, type, d, err);
    if (r > 0) {
        h->state = PV_HELD_ENDED;
        pv_timer_arm(h->guest->env->host.loop, &h->over, pv_now());
    }
    return r;
}

static bool held_next(void *arg, struct pv_session *s)
{
    struct pv_held *h = arg;

    return h->state <= PV_HELD_OPEN && h->next && h->next(h, s);
}

/* It has ended with ERROR, or before it was started. Always -1. */
static int held_failed(const struct pv_held *h, const char *what, struct pv_err *err)
{
    if (h->err.cls == PV_E_NONE)
        return pv_err_set(err, PV_E_PROTOCOL, "%s: the agent sent an end without a start", what);
    if (err)
        *err = h->err;
    return -1;
}

/* ---- its start ---- */

int pv_held_begin(struct pv_held *h, struct pv_agent *a, enum pv_msg type, const char *what, struct pv_enc *e,
                  struct pv_err *err)
{
    h->refs = 1;
    h->agent = a;
    h->guest = a->guest;
    h->over.fn = held_on_over;
    h->close = pv_held_close;
    if (pv_agent_check_running(a, what, err) < 0 || pv_guest_check_time(a->guest, what, err) < 0)
        return -1;
    h->session = pv_agent_open_aux(a, pv_guest_deadline(a->guest, PV_AGENT_CONNECT_LIMIT), err);
    if (!h->session)
        return pv_err_wrap(err, "cannot %s", what);
    h->agent_pid = h->session->agent_pid;
    h->generation = a->guest->generation;
    pv_held_ref(h);
    h->next_open = a->guest->held;
    a->guest->held = h;
    pv_session_begin(h->session, e, type);
    h->session->on_frame = held_on_frame;
    h->session->next_chunk = held_next;
    h->session->arg = h;
    return 0;
}

static bool held_has_started(void *arg)
{
    struct pv_held *h = arg;

    held_look(h);
    return h->state != PV_HELD_STARTING;
}

int pv_held_start(struct pv_held *h, struct pv_enc *e, const char *what, struct pv_err *err)
{
    int r;

    if (pv_session_send(h->session, e, err) < 0) {
        pv_held_close(h);
        return pv_err_wrap(err, "%s", what);
    }
    r = pv_guest_wait(h->guest, held_has_started, h, pv_guest_deadline(h->guest, START_LIMIT), err);
    if (r > 0)
        pv_err_set(err, PV_E_TIMEOUT, "%s on %s timed out: it did not start in time", what, h->agent->name);
    if (r == 0 && h->started) /* whatever has come since is told to a later call */
        return 0;
    if (r == 0 && h->state == PV_HELD_LOST) {
        r = pv_held_why(h, what, err);
    } else if (r == 0) {
        r = held_failed(h, what, err);
    }
    if (r != 0)
        pv_held_close(h);
    return r == 0 ? 0 : -1;
}

/* ---- while it goes on ---- */

bool pv_held_is_open(struct pv_held *h)
{
    held_look(h);
    return h->state <= PV_HELD_OPEN;
}

static bool held_is_over(void *arg)
{
    return !pv_held_is_open(arg);
}

int pv_held_why(struct pv_held *h, const char *what, struct pv_err *err)
{
    struct pv_guest *g = h->guest;
    struct pv_err why = h->err;

    if (g->state != PV_GUEST_RUNNING ||
        (why.cls == PV_E_GUEST_DIED && pv_guest_check_running(g, what, NULL) < 0))
        return pv_guest_check_running(g, what, err);
    if (h->generation != g->generation)
        return pv_err_set(err, PV_E_USAGE, "cannot %s: %s ended when %s %s", what, h->what, g->name,
                          g->life.how ? g->life.how : "was restored");
    if (why.cls == PV_E_GUEST_DIED)
        return pv_agent_lost(h->agent, &why, h->agent_pid, true, what, err);
    if (err)
        *err = why;
    return pv_err_wrap(err, "cannot %s", what);
}

int pv_held_wait(struct pv_held *h, int64_t deadline, const char *what, struct pv_err *err)
{
    int r = 0;

    pv_held_ref(h);
    if (pv_held_is_open(h))
        r = pv_guest_wait(h->guest, held_is_over, h, deadline, err);
    if (h->state == PV_HELD_ENDED)
        r = h->err.cls == PV_E_NONE ? 0 : held_failed(h, what, err);
    else if (r == 0)
        r = pv_held_why(h, what, err);
    pv_held_unref(h);
    return r;
}

int pv_held_check_none(const struct pv_guest *g, const char *what, struct pv_err *err)
{
    for (struct pv_held *h = g->held; h; h = h->next_open)
        if (pv_held_is_open(h))
            return pv_err_set(err, PV_E_USAGE, "cannot %s %s: %s is open%s%s; end or close it before", what,
                              g->name, h->what, h->opened ? ", opened at " : "", h->opened ? h->opened : "");
    return 0;
}
