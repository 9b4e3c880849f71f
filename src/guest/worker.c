/* SPDX-License-Identifier: MIT */
#include "guest/worker.h"

#include <inttypes.h>

#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/worker-end.h"
#include "util/log.h"
#include "util/mem.h"

struct pv_worker *pv_worker_new(struct pv_guest *g, bool thread, uint32_t port, uint32_t pid,
                                uint32_t process_pid)
{
    struct pv_worker *w = pv_xcalloc(1, sizeof(*w));

    w->name = pv_xasprintf("worker %u (%s %" PRIu32 ") of %s", ++g->n_workers, thread ? "tid" : "pid", pid,
                           g->name);
    w->agent = (struct pv_agent){.guest = g, .worker = w, .name = w->name, .port = port};
    w->thread = thread;
    w->process_pid = process_pid;
    w->generation = g->generation;
    w->state = PV_GUEST_RUNNING;
    return w;
}

void pv_worker_free(struct pv_worker *w)
{
    if (!w)
        return;
    pv_agent_disconnect(&w->agent);
    free(w->end_reason);
    free(w->name);
    free(w);
}

void pv_worker_end(struct pv_worker *w, char *reason)
{
    pv_agent_disconnect(&w->agent);
    if (w->state == PV_GUEST_RUNNING) {
        pv_debug(w->name, "%s", reason);
        w->state = PV_GUEST_DEAD;
        w->end_reason = pv_steal(&reason);
    }
    free(reason);
}

void pv_worker_kill(struct pv_worker *w)
{
    pv_agent_disconnect(&w->agent);
    if (w->state == PV_GUEST_RUNNING)
        w->state = PV_GUEST_KILLED;
}

const char *pv_worker_name(const struct pv_worker *w)
{
    return w->name;
}

struct pv_guest *pv_worker_guest(const struct pv_worker *w)
{
    return w->agent.guest;
}

struct pv_agent *pv_worker_agent(struct pv_worker *w)
{
    return &w->agent;
}

enum pv_guest_state pv_worker_state(const struct pv_worker *w)
{
    enum pv_guest_state s = pv_guest_state(w->agent.guest);

    /*
     * An end of the VM that no call has met yet: that of the machine which the worker was in, or a later one.
     */
    if (s != PV_GUEST_RUNNING && w->agent.guest->state == PV_GUEST_RUNNING)
        return s;
    if (w->generation != w->agent.guest->generation)
        return PV_GUEST_KILLED;
    return s != PV_GUEST_RUNNING ? s : w->state;
}

int pv_worker_check_running(struct pv_worker *w, const char *what, struct pv_err *err)
{
    const struct pv_guest *g = w->agent.guest;

    if (w->generation != g->generation && g->life.how)
        pv_worker_end(w, pv_xasprintf("ended, because its VM %s", g->life.how));
    else if (w->generation != g->generation)
        pv_worker_kill(w);
    if (w->state == PV_GUEST_RUNNING)
        return 0;
    if (w->state == PV_GUEST_DEAD)
        return pv_err_set(err, PV_E_GUEST_DIED, "cannot %s: %s %s", what, w->name, w->end_reason);
    return pv_err_set(err, PV_E_USAGE, "cannot %s: %s is %s", what, w->name, pv_guest_state_name(w->state));
}
