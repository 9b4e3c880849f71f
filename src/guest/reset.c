/* SPDX-License-Identifier: MIT */
/*
 * The moment of a reset, QEMU's RESET event: all that ran in the guest is over.  The waits of other calls end by
 * the changed generation.
 */
#include "guest/guest-state.h"
#include "guest/instance.h"
#include "guest/recording.h"
#include "guest/session.h"
#include "transport/channel.h"
#include "transport/serial.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

/* Connections to the old agent end, with the reason. */
static void drop_sessions(struct pv_guest *g)
{
    struct pv_err why = PV_ERR_INIT;
    struct pv_session *s = pv_instance_session(g->instance);

    pv_err_set(&why, PV_E_GUEST_DIED, "%s %s meanwhile, which ended this", g->name, g->life.how);
    if (s)
        pv_session_break(s, &why);
    pv_instance_set_session(g->instance, NULL);
    for (struct pv_aux *x = pv_instance_aux(g->instance); x; x = pv_instance_aux(g->instance)) {
        if (x->session)
            pv_session_break(x->session, &why);
        pv_instance_drop_aux(g->instance, x);
    }
}

void pv_guest_on_reset(const char *panic, void *arg)
{
    struct pv_guest *g = arg;
    struct pv_channel *c = pv_instance_channel(g->instance);
    struct pv_err err = PV_ERR_INIT;
    bool again = g->life.rebooting && g->life.unwaited > 0;

    /* Firmware may reset the machine several times until it starts: the first reset tells the cause. */
    if (!again || panic) {
        g->life.how = panic                             ? "panicked and rebooted"
                      : g->life.asked == PV_ASKED_RESET ? "was reset"
                                                        : "rebooted";
        free(g->life.panic);
        g->life.panic = panic ? pv_xstrdup(panic) : NULL;
        g->life.n_panics += panic != NULL;
        pv_recording_mark(g->console, g->life.how);
    }
    if (g->env->observer.ended)
        g->env->observer.ended(g, panic != NULL, NULL, g->env->observer.arg);
    g->life.rebooting = true;
    g->life.unwaited++;
    g->generation++;
    pv_debug(g->name, "%s", g->life.how);
    pv_instance_stop_asking(g->instance);
    drop_sessions(g);
    pv_instance_release_vsock(g->instance, true);
    pv_instance_renew_grace(g->instance);
    if (c->kind == PV_CHANNEL_SERIAL && pv_serial_restart(c, &err) < 0)
        pv_debug(g->name, "%s", err.text); /* the channel says why it is broken */
}
