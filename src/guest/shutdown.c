/* SPDX-License-Identifier: MIT */
#include "guest/call.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "guest/life.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"

#define SHUTDOWN_LIMIT (10 * PV_NSEC_PER_SEC)

static bool machine_is_off(void *arg)
{
    const struct pv_guest *g = arg;

    return !g->instance || pv_instance_ended(g->instance);
}

static void tell_killed(const struct pv_guest *g, int64_t limit)
{
    const struct pv_guest_observer *o = &g->env->observer;
    cleanup_free char *line =
        pv_xasprintf("%s did not power off within %.3g s and was killed", g->name, (double)limit / 1e9);

    if (o->notice)
        o->notice(line, o->arg);
}

int pv_guest_shutdown(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    int64_t limit = timeout_ns ? timeout_ns : SHUTDOWN_LIMIT, deadline = pv_guest_deadline(g, limit);
    struct pv_err asked = PV_ERR_INIT;

    if (g->state == PV_GUEST_CREATED)
        return pv_err_set(err, PV_E_USAGE, "cannot shut down: %s is %s", g->name,
                          pv_guest_state_name(g->state));
    if (g->state != PV_GUEST_RUNNING || pv_guest_check_machine(g, "shut down", NULL) < 0)
        return 0;
    if (g->life.paused && pv_guest_unpause(g, err) < 0)
        return -1;
    if (g->life.rebooting) { /* there is no agent to be asked */
        pv_guest_end(g, PV_GUEST_SHUT_DOWN, NULL);
        return 0;
    }
    pv_guest_before_end(g); /* a panic's words of before are no panic while it shuts down */
    if (pv_guest_check_running(g, "shut down", NULL) < 0)
        return 0;
    pv_guest_phase(g, "shutting down");
    g->stopping = true;
    /* An agent that does not reply is no reason to fail: the machine goes down either way. */
    if (pv_agent_ask_shutdown(&g->agent, deadline, &asked) < 0)
        pv_debug(g->name, "shutdown: %s", asked.text);
    if (pv_loop_run(g->env->host.loop, machine_is_off, g, deadline, err) < 0)
        return -1;
    if (!machine_is_off(g) && deadline != g->env->until)
        tell_killed(g, limit);
    pv_guest_end(g, PV_GUEST_SHUT_DOWN, NULL);
    if (!g->end.panic)
        return 0;
    pv_err_set(err, PV_E_GUEST_DIED, "%s panicked while it shut down: %s", g->name, g->end.panic);
    pv_err_died(err, PV_DIED_PANIC, g->number);
    pv_guest_add_console(g, err);
    return -1;
}
