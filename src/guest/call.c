/* SPDX-License-Identifier: MIT */
#include "guest/call.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "config/config.h"
#include "guest/guest-state.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/parse.h"

#define CANCEL_LIMIT (3 * PV_NSEC_PER_SEC)

static bool call_is_replied(void *arg)
{
    const struct pv_call *c = arg;

    return c->s->state == PV_SESSION_BROKEN || (c->s->replied && pv_session_drained(c->s) && !c->open);
}

/* Another request waits for the session of one that yields. */
static bool call_is_in_the_way(const struct pv_call *c)
{
    return c->yields && !c->aux && c->turn.next;
}

static bool call_is_over(void *arg)
{
    const struct pv_call *c = arg;

    return call_is_replied(arg) || c->local.cls != PV_E_NONE || call_is_in_the_way(c);
}

static bool call_next(void *arg, struct pv_session *s)
{
    struct pv_call *c = arg;

    return c->open && c->local.cls == PV_E_NONE && c->next(c, s);
}

bool pv_call_next_bytes(struct pv_call *c, struct pv_session *s)
{
    struct pv_call_bytes *b = PV_CONTAINER_OF(c, struct pv_call_bytes, c);
    /* After a failure has been replied only the empty frame is still sent. */
    size_t n = s->replied ? 0 : b->left < PV_CHUNK ? b->left : PV_CHUNK;

    pv_session_chunk(s, b->type, b->data, n);
    if (n == 0)
        c->open = false;
    else
        b->data += n;
    b->left -= n;
    return true;
}

int pv_call_unexpected(enum pv_msg type, struct pv_err *err)
{
    return pv_err_set(err, PV_E_PROTOCOL, "the agent sent %s, which is no answer to this request",
                      pv_msg_name(type));
}

int pv_call_add_output(struct pv_call *c, struct pv_buf *buf, struct pv_dec *d, struct pv_err *err)
{
    uint64_t max = c->max_output ? c->max_output : PV_MAX_OUTPUT;
    char size[32];
    size_t n;
    const void *p = pv_dec_bytes(d, &n);

    if (!pv_dec_done(d))
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed data frame");
    if (n > max - c->output) {
        pv_err_set(&c->local, PV_E_GUEST,
                   "the command printed more than max_output, which is %s here: raise it, or let the command "
                   "write to a file and pull that",
                   pv_format_size(max, size));
        return 0;
    }
    c->output += n;
    pv_buf_add(buf, p, n);
    return 0;
}

int pv_call_dec_error(struct pv_dec *d, struct pv_err *failed, struct pv_err *err)
{
    uint32_t number = pv_dec_u32(d);
    char what[PV_PATH_MAX + 64];

    pv_dec_str(d, what, sizeof(what));
    if (!pv_dec_done(d) || number > 4095)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed ERROR");
    /* The text is shown on terminals. */
    for (char *p = what; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    pv_err_set_at(failed, PV_E_GUEST, (int)number, __FILE__, __LINE__, "%s", what);
    return 1;
}

/* The frames that end a reply, but for OK and ERROR. */
static bool ends_reply(enum pv_msg type)
{
    static const enum pv_msg last[] = {PV_MSG_EXIT, PV_MSG_PONG,      PV_MSG_SYSRET,
                                       PV_MSG_JOB,  PV_MSG_JOB_STATE, PV_MSG_WORKER};

    for (size_t i = 0; i < PV_ARRAY_LEN(last); i++)
        if (type == last[i])
            return true;
    return false;
}

static int call_on_frame(void *arg, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct pv_call *c = arg;

    if (type == PV_MSG_ERROR)
        return pv_call_dec_error(d, &c->failed, err);
    if (type == PV_MSG_OK && c->ok) {
        c->value = pv_dec_u64(d);
        return pv_dec_done(d) ? 1 : pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed OK");
    }
    /* Frames that arrive after the host gave up are dropped, up to the last one. */
    if (c->local.cls != PV_E_NONE && type != PV_MSG_OK)
        return ends_reply(type);
    return c->frame ? c->frame(c, type, d, err) : pv_call_unexpected(type, err);
}

/*
 * Descriptors that a test opened by raw system calls are gone with the old process: say it before an EBADF
 * does.
 */
static void tell_fresh_process(const struct pv_agent *a)
{
    const struct pv_guest_observer *o = &a->guest->env->observer;
    const struct pv_session *s = pv_agent_session(a);
    cleanup_free char *line = NULL;

    if (!s || s->state != PV_SESSION_BROKEN || s->err.cls != PV_E_GUEST_DIED || !s->agent_pid || !o->notice)
        return;
    line = pv_xasprintf("the agent process of %s (pid %" PRIu32
                        ") went away between two calls; a fresh one goes "
                        "on, without the descriptors and credentials of the old one",
                        a->name, s->agent_pid);
    o->notice(line, o->arg);
}

/* ---- which session ---- */

struct turn_wait {
    const struct pv_agent *a;
    const struct pv_turn *turn;
};

static bool turn_has_come(void *arg)
{
    const struct turn_wait *w = arg;

    return w->a->turns == w->turn;
}

static void turn_leave(struct pv_agent *a, struct pv_turn *turn)
{
    struct pv_turn **at = &a->turns;

    while (*at != turn)
        at = &(*at)->next;
    *at = turn->next;
    turn->next = NULL;
}

/* Queues for the main session and waits until all requests before this one are over. 0 or -1. */
static int turn_take(struct pv_agent *a, struct pv_call *c, const char *what, struct pv_err *err)
{
    struct turn_wait w = {a, &c->turn};
    struct pv_turn **at = &a->turns;
    int r;

    c->turn = (struct pv_turn){.what = what, .yields = c->yields};
    while (*at)
        at = &(*at)->next;
    *at = &c->turn;
    if (a->turns == &c->turn)
        return 0;
    r = pv_guest_wait(a->guest, turn_has_come, &w, pv_guest_deadline(a->guest, c->turn_ns), err);
    if (r > 0)
        pv_err_set(err, PV_E_TIMEOUT,
                   "%s on %s timed out: the agent's process was busy with %s (a worker of its own, "
                   "vm:spawn(), would not have to wait)",
                   what, a->name, a->turns->what);
    if (r != 0)
        turn_leave(a, &c->turn);
    return r == 0 ? 0 : -1;
}

/* Requests that must run in the main session's process, and those that leave a trace in it. */
static bool is_of_process(enum pv_msg type)
{
    switch (type) {
    case PV_MSG_SYSCALL:
    case PV_MSG_SPAWN:
    case PV_MSG_JOB_START:
    case PV_MSG_JOB_WAIT:
    case PV_MSG_JOB_KILL:
    case PV_MSG_MEM_ALLOC:
    case PV_MSG_MEM_FREE:
    case PV_MSG_MEM_READ:
    case PV_MSG_MEM_WRITE:
        return true;
    default:
        return false;
    }
}

/* Requests of a moment: they take what is free. */
static bool is_short(enum pv_msg type)
{
    return type == PV_MSG_PING || type == PV_MSG_STATUS || type == PV_MSG_RESUME || type == PV_MSG_SHUTDOWN;
}

static bool wants_main(const struct pv_agent *a, enum pv_msg type)
{
    if (a->worker || is_of_process(type))
        return true;
    return !a->turns && (!a->guest->env->tasks || is_short(type) || !pv_agent_session(a));
}

static int64_t call_connect_limit(const struct pv_call *c)
{
    return c->connect_ns > PV_AGENT_CONNECT_LIMIT ? c->connect_ns : PV_AGENT_CONNECT_LIMIT;
}

/*
 * While tasks run beside each other, the main session is kept free for raw calls.  Another process does as well:
 * any one as long as no raw call has been made, else a fork of the main one, if that can be asked for it now.
 */
static struct pv_session *call_take_other(struct pv_agent *a, const struct pv_call *c, enum pv_msg type,
                                          struct pv_err *err)
{
    const struct pv_session *main = pv_agent_session(a);
    int64_t limit = call_connect_limit(c), deadline = pv_guest_deadline(a->guest, limit);
    struct pv_err e = PV_ERR_INIT;
    struct pv_agent_copy copy;
    struct pv_session *s;

    if (!main || !main->version || is_short(type))
        return pv_agent_take_aux(a, deadline, err);
    s = pv_agent_idle_copy(a);
    if (s)
        return s;
    if (a->turns && !a->turns->yields)
        return pv_agent_take_aux(a, deadline, err);
    do {
        if (pv_agent_spawn_copy(a, &copy, limit, err) < 0)
            return NULL;
        s = pv_agent_open_copy(a, &copy, deadline, &e);
    } while (!s && e.errnum == ECONNREFUSED && pv_now() < deadline); /* it waited for the host for too long */
    if (!s && err)
        *err = e;
    return s;
}

/* The call's turn on the main session, which is open then. 0 or -1. */
static int call_enter_main(struct pv_agent *a, struct pv_call *c, enum pv_msg type, const char *what,
                           struct pv_err *err)
{
    int r;

    if (turn_take(a, c, what, err) < 0)
        return -1;
    /* A worker has one session in its life; a VM's agent accepts a new one. */
    if (a->worker && pv_agent_check_running(a, what, err) < 0) {
        r = -1;
    } else if (a->worker && a->session->state == PV_SESSION_BROKEN) {
        struct pv_err why = a->session->err;
        uint32_t pid = a->session->agent_pid;

        turn_leave(a, &c->turn);
        pv_agent_disconnect(a);
        return pv_agent_lost(a, &why, pid, true, what, err);
    } else {
        tell_fresh_process(a);
        r = pv_agent_connect(a, pv_guest_deadline(a->guest, call_connect_limit(c)), err);
    }
    if (r < 0) {
        turn_leave(a, &c->turn);
        return -1;
    }
    c->s = pv_session_ref(pv_agent_session(a));
    c->s->version += type == PV_MSG_SYSCALL;
    return 0;
}

int pv_call_begin(struct pv_agent *a, struct pv_call *c, enum pv_msg type, const char *what, struct pv_enc *e,
                  struct pv_err *err)
{
    if (pv_agent_check_running(a, what, err) < 0 || pv_guest_check_time(a->guest, what, err) < 0)
        return -1;
    c->aux = !wants_main(a, type);
    if (c->aux)
        c->s = call_take_other(a, c, type, err);
    else if (call_enter_main(a, c, type, what, err) < 0)
        return -1;
    if (!c->s)
        return -1;
    pv_session_begin(c->s, e, type);
    c->s->on_frame = call_on_frame;
    c->s->arg = c;
    c->deaf = type == PV_MSG_SYSCALL;
    return 0;
}

/* The request is over: the next one may have its session. */
void pv_call_drop(struct pv_agent *a, struct pv_call *c)
{
    pv_session_end(c->s);
    if (c->aux) {
        pv_agent_leave_aux(a, c->s);
    } else {
        turn_leave(a, &c->turn);
        pv_session_unref(c->s);
    }
    c->s = NULL;
}

/* ---- sending, waiting ---- */

/*
 * Ends a request without a reply, also for a task that is cancelled. 0: it is over, 1: the session had to be
 * dropped, -1: the guest died.
 */
static int call_cancel(struct pv_agent *a, struct pv_call *c, const struct pv_err *why, struct pv_err *err)
{
    const struct pv_loop *loop = a->guest->env->host.loop;
    int64_t limit = c->deaf && pv_task_cancelled(loop) ? 0 : CANCEL_LIMIT;
    int r;

    c->open = false;
    pv_session_cancel(c->s);
    pv_task_shield(loop, true);
    r = pv_guest_wait(a->guest, call_is_replied, c, pv_deadline(limit), err);
    pv_task_shield(loop, false);
    if (r != 0)
        pv_session_break(c->s, why);
    return r;
}

/* The deadline has passed, or the host could not go on. Always -1. */
static int call_give_up(struct pv_agent *a, struct pv_call *c, const char *what, int64_t timeout_ns,
                        struct pv_err *err)
{
    struct pv_err why = c->local;
    int r;

    if (why.cls == PV_E_NONE && timeout_ns)
        pv_err_set(&why, PV_E_TIMEOUT, "%s on %s timed out: no answer within %.3g s", what, a->name,
                   (double)timeout_ns / 1e9);
    else if (why.cls == PV_E_NONE)
        pv_err_set(&why, PV_E_TIMEOUT, "%s on %s timed out: no answer in the time that was left", what,
                   a->name);
    r = call_cancel(a, c, &why, err);
    if (r < 0)
        return -1;
    if (r > 0 && why.cls == PV_E_TIMEOUT)
        pv_guest_add_console(a->guest, &why);
    if (err)
        *err = why;
    return -1;
}

/* Sends and waits. 0: replied; 1: the session broke; -1. */
static int call_run(struct pv_agent *a, struct pv_call *c, struct pv_enc *e, const char *what,
                    int64_t timeout_ns, struct pv_err *err)
{
    struct pv_err gone = PV_ERR_INIT;
    int r;

    pv_err_set(&gone, PV_E_USAGE, "the task of %s was given up", what);
    if (c->open)
        c->s->next_chunk = call_next;
    if (pv_session_send(c->s, e, err) < 0)
        return pv_err_wrap(err, "%s", what);
    r = pv_guest_wait(a->guest, call_is_over, c, pv_guest_deadline(a->guest, timeout_ns), err);
    if (r == 0 && !call_is_replied(c) && c->local.cls == PV_E_NONE) {
        c->yielded = true;
        pv_err_set(&c->local, PV_E_HOST, "%s gave way to another request", what);
    }
    if (r > 0 || (r == 0 && c->local.cls != PV_E_NONE && !call_is_replied(c)))
        return call_give_up(a, c, what, timeout_ns, err);
    if (r < 0 && c->s->state == PV_SESSION_OPEN) { /* the task is cancelled, and the guest works on it */
        call_cancel(a, c, &gone, NULL);
        return -1;
    }
    /* EOF after the reply's last frame is a normal close. */
    return r < 0 ? -1 : c->s->state == PV_SESSION_BROKEN && !c->s->replied;
}

int pv_call_finish(struct pv_agent *a, struct pv_call *c, struct pv_enc *e, const char *what,
                   int64_t timeout_ns, struct pv_err *err)
{
    struct pv_err why;
    uint32_t pid;
    int r;

    pv_guest_phase(a->guest, what);
    r = call_run(a, c, e, what, timeout_ns, err);
    why = c->s->err;
    pid = c->s->agent_pid;
    if (r > 0 && !c->aux && pv_agent_session(a) == c->s)
        pv_agent_disconnect(a);
    pv_call_drop(a, c);
    if (r > 0)
        return pv_agent_lost(a, &why, pid, !c->probe, what, err);
    if (r < 0)
        return -1;
    if (c->local.cls != PV_E_NONE || c->failed.cls != PV_E_NONE) {
        if (err)
            *err = c->local.cls != PV_E_NONE ? c->local : c->failed;
        return -1;
    }
    return 0;
}

int pv_call_check_path(const char *path, struct pv_err *err)
{
    if (path[0] == '\0' || strlen(path) >= PV_PATH_MAX)
        return pv_err_set(err, PV_E_USAGE, "a guest path must have 1 to %d bytes, this one has %zu",
                          PV_PATH_MAX - 1, strlen(path));
    return 0;
}

int64_t pv_call_limit(int64_t timeout_ns)
{
    if (timeout_ns == 0)
        return 0;
    return timeout_ns < PV_FOREVER - PV_CALL_GRACE ? timeout_ns + PV_CALL_GRACE : PV_FOREVER;
}
