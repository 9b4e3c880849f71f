/* SPDX-License-Identifier: MIT */
#include "guest/console.h"

#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "guest/recording.h"
#include "util/clock.h"
#include "util/err.h"
#include "vm/vm.h"

struct pv_spool *pv_guest_console(const struct pv_guest *g, bool raw)
{
    return raw ? pv_recording_raw(g->console) : pv_recording_text(g->console);
}

void pv_guest_console_mark(struct pv_guest *g, const char *what)
{
    pv_recording_mark(g->console, what);
}

bool pv_guest_console_open(const struct pv_guest *g)
{
    enum pv_guest_state s = pv_guest_state(g);

    return s == PV_GUEST_CREATED || s == PV_GUEST_BOOTING || s == PV_GUEST_RUNNING;
}

void pv_guest_console_why(struct pv_guest *g, struct pv_err *err)
{
    /* Notices an end that no call has met yet. */
    if (pv_guest_check_machine(g, "read the console", err) == 0 || g->state != PV_GUEST_DEAD) {
        pv_err_set(err, PV_E_GUEST, "%s is %s", g->name, pv_guest_state_name(g->state));
        return;
    }
    pv_err_set(err, PV_E_GUEST_DIED, "%s died: %s", g->name, g->end.reason);
    pv_err_died(err, g->end.died, g->number);
}

static bool console_is_sent(void *arg)
{
    const struct pv_guest *g = arg;

    return pv_vm_console_unsent(pv_instance_vm(g->instance)) == 0;
}

int pv_guest_console_write(struct pv_guest *g, const void *data, size_t n, int64_t timeout_ns,
                           struct pv_err *err)
{
    static const char what[] = "write to the console";
    int r;

    if (g->state != PV_GUEST_BOOTING && pv_guest_check_machine(g, what, err) < 0)
        return -1;
    if (!g->instance || !pv_instance_vm(g->instance))
        return pv_err_set(err, PV_E_USAGE, "cannot %s: QEMU of %s has not been started yet", what, g->name);
    pv_vm_console_write(pv_instance_vm(g->instance), data, n);
    r = pv_guest_wait(g, console_is_sent, g, pv_guest_deadline(g, timeout_ns), err);
    if (r <= 0)
        return r;
    n = pv_vm_console_unsent(pv_instance_vm(g->instance));
    pv_vm_console_drop_unsent(pv_instance_vm(g->instance));
    return pv_err_set(
        err, PV_E_TIMEOUT,
        "write to the console of %s: %zu bytes were not taken within %.3g s (does a program in the "
        "guest read from its serial line?)",
        g->name, n, (double)timeout_ns / 1e9);
}
