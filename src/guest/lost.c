/* SPDX-License-Identifier: MIT */
/*
 * A session broke: did the machine end, or one process in it?  A machine that lives replies to STATUS within
 * milliseconds; one that dies ends QEMU.  The first of the two decides.
 */
#include "guest/call.h"
#include "guest/guest-state.h"
#include "guest/instance.h"
#include "guest/worker-end.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "transport/channel.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/spawn.h"

/* For either of them. */
#define DECIDE_LIMIT (1500 * PV_NSEC_PER_MSEC)
/* A process that closed its connection has nearly ended; its exit status follows a moment later. */
#define STATUS_LIMIT (250 * PV_NSEC_PER_MSEC)

/*
 * The guest's driver of the vsock device is gone: the machine is being reset, which QEMU tells a moment later (seconds,
 * on a host with too much to do), or something in the guest has unbound the driver.
 */
#define RESET_LIMIT (10 * PV_NSEC_PER_SEC)

struct status_call {
    struct pv_call c;
    bool running;
    int code, sig;
};

static int status_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct status_call *s = PV_CONTAINER_OF(c, struct status_call, c);

    if (type != PV_MSG_JOB_STATE)
        return pv_call_unexpected(type, err);
    return pv_job_dec_state(d, &s->running, &s->code, &s->sig, err);
}

static bool channel_works(const struct pv_guest *g)
{
    return g->state == PV_GUEST_RUNNING && !pv_instance_channel(g->instance)->error;
}

/* Asks the VM's own agent once. */
static int probe_once(struct pv_agent *a, uint32_t pid, struct status_call *s, int64_t deadline,
                      struct pv_err *err)
{
    struct pv_enc e;

    *s = (struct status_call){.c = {.frame = status_frame, .probe = true}};
    if (pv_agent_connect(a, deadline, err) < 0)
        return -1;
    if (pv_call_begin(a, &s->c, PV_MSG_STATUS, "ask how a process ended", &e, err) < 0)
        return -1;
    pv_enc_u32(&e, pid);
    return pv_call_finish(a, &s->c, &e, "status", pv_left(deadline), err);
}

/* *how: "was killed by SIGSEGV", "exited with status 1" and so on.  -1 when there was no reply. */
static int probe_process(struct pv_guest *root, uint32_t pid, char *how, size_t cap, struct pv_err *err)
{
    int64_t deadline = pv_deadline(DECIDE_LIMIT), settle = pv_deadline(STATUS_LIMIT);
    struct status_call s;
    char text[64];

    for (;;) {
        int r = probe_once(&root->agent, pid, &s, deadline, err);

        /* The session that was asked had itself just ended: a new one knows more. */
        if (r < 0 && (pv_agent_session(&root->agent) || !channel_works(root) || pv_now() >= deadline))
            return -1;
        if (r == 0 && (!s.running || pv_now() >= settle))
            break;
        if (pv_guest_wait(root, NULL, NULL, pv_deadline(5 * PV_NSEC_PER_MSEC), err) < 0)
            return -1;
    }
    if (s.running)
        snprintf(how, cap, "closed its connection, but still runs");
    else if (s.sig)
        snprintf(how, cap, "was %s", pv_wait_status_text(s.sig, text));
    else
        snprintf(how, cap, "exited with status %d", s.code);
    return 0;
}

/* How the process of a's broken session ended. -1: *err says why it can not be known. */
static int find_process_end(struct pv_agent *a, uint32_t pid, char *how, size_t cap, struct pv_err *err)
{
    struct pv_guest *root = a->guest;
    struct pv_err e = PV_ERR_INIT;
    char process[128];

    if (probe_process(root, pid, how, cap, &e) == 0)
        return 0;
    /* A thread ends with its process, and the agent forgets it with that. */
    if (a->worker && a->worker->thread && root->state == PV_GUEST_RUNNING &&
        probe_process(root, a->worker->process_pid, process, sizeof(process), NULL) == 0) {
        snprintf(how, cap, "ended with its process (pid %" PRIu32 "), which %s", a->worker->process_pid,
                 process);
        return 0;
    }
    if (err)
        *err = e;
    return -1;
}

/* A session that was dropped by the host, or by the guest's breach of the protocol. */
static int session_dropped(struct pv_agent *a, const char *what, const struct pv_err *why, struct pv_err *err)
{
    if (err)
        *err = *why;
    if (a->worker)
        pv_worker_end(a->worker, pv_xasprintf("ended: its session was given up (%s)", why->text));
    pv_err_wrap(err, "%s on %s", what, a->name);
    pv_guest_add_console(a->guest, err);
    return -1;
}

/* a's process ended as `how` says, in a VM that lives on. */
static int process_ended(struct pv_agent *a, const char *what, uint32_t pid, const char *how,
                         struct pv_err *err)
{
    if (a->worker) {
        pv_worker_end(a->worker, pv_xstrdup(how));
        pv_err_set(err, PV_E_GUEST_DIED, "%s: %s %s", what, a->name, how);
    } else {
        pv_err_set(err, PV_E_GUEST_DIED,
                   "%s on %s: the agent process (pid %" PRIu32 ") %s; the next call gets a fresh one", what,
                   a->name, pid, how);
    }
    pv_guest_add_console(a->guest, err);
    return -1;
}

struct reset_wait {
    const struct pv_guest *g;
    unsigned generation;
};

static bool reset_is_decided(void *arg)
{
    const struct reset_wait *w = arg;
    struct pv_channel *c = w->g->instance ? pv_instance_channel(w->g->instance) : NULL;

    return !c || c->error || w->g->generation != w->generation || c->ops->ready(c);
}

/*
 * Waits for the reset of the machine, if a device without its driver is a sign of one.  *died becomes the machine's end,
 * if that comes first.
 */
static void reset_await(struct pv_guest *g, unsigned generation, struct pv_err *died)
{
    struct reset_wait w = {g, generation};
    struct pv_err end = PV_ERR_INIT;

    if (!reset_is_decided(&w) && pv_guest_wait(g, reset_is_decided, &w, pv_deadline(RESET_LIMIT), &end) < 0)
        *died = end;
}

int pv_agent_lost(struct pv_agent *a, const struct pv_err *why, uint32_t pid, bool ask, const char *what,
                  struct pv_err *err)
{
    struct pv_err died = PV_ERR_INIT;
    struct pv_guest *g = a->guest;
    unsigned generation = g->generation;
    char how[256];
    int r;

    if (why->cls == PV_E_GUEST_DIED && g->stopping) { /* another task shuts the guest down */
        if (a->worker)
            pv_worker_end(a->worker, pv_xasprintf("ended: %s was shut down", g->name));
        return pv_err_set(err, PV_E_USAGE, "%s: %s was shut down while it ran", what, a->name);
    }
    if (why->cls != PV_E_GUEST_DIED || !ask)
        return session_dropped(a, what, why, err);
    r = find_process_end(a, pid, how, sizeof(how), &died);
    if (r < 0 && g->state == PV_GUEST_RUNNING)
        reset_await(g, generation, &died);
    if (r < 0 && g->generation != generation && g->life.how) {
        pv_guest_reset_error(g, err);
        return pv_err_wrap(err, "%s", what);
    }
    if (r < 0 && g->generation != generation) {
        if (err)
            *err = died;
        return pv_err_wrap(err, "%s", what);
    }
    if (g->state != PV_GUEST_RUNNING && died.cls != PV_E_GUEST_DIED)
        return pv_guest_check_machine(g, what, err);
    if (!channel_works(g)) {
        if (err)
            *err = died;
        return -1;
    }
    if (r < 0) {
        pv_debug(a->name, "how pid %" PRIu32 " ended is not known: %s", pid, died.text);
        snprintf(how, sizeof(how), "is gone (%.160s; how it ended is not known)", why->text);
    }
    return process_ended(a, what, pid, how, err);
}
