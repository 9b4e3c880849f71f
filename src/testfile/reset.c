/* SPDX-License-Identifier: MIT */
#include "testfile/reset.h"

#include <stdlib.h>

#include "guest/snapshot.h"
#include "guest/standby.h"
#include "testfile/netsaved.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

#define RESET "reset_between_tests"
/* The first test's own timeout does not pay for the snapshots. */
#define SNAPSHOT_NS (60 * PV_NSEC_PER_SEC)

struct tf_reset_vm {
    struct tf_guest *g; /* held */
    struct pv_snapshot *s;
};

static void reset_set_last(struct tf_reset *r, struct tf_guest *g)
{
    if (r->last)
        r->last->n_holds--;
    r->last = g;
    if (g)
        g->n_holds++;
}

void pv_tf_reset_free(struct tf_reset *r)
{
    for (size_t i = 0; i < r->n; i++) {
        pv_snapshot_unref(r->vms[i].s);
        r->vms[i].g->n_holds--;
    }
    free(r->vms);
    r->vms = NULL;
    r->n = 0;
    reset_set_last(r, NULL);
}

void pv_tf_reset_set(struct pv_testfile *tf, bool on)
{
    tf->reset.on = on;
    tf->guest_env.host.auto_transport = on ? PV_TRANSPORT_SERIAL : PV_TRANSPORT_AUTO;
    if (!on)
        pv_tf_reset_free(&tf->reset);
}

static int reset_take_snapshots(struct pv_testfile *tf, struct pv_err *err)
{
    struct tf_reset *r = &tf->reset;

    for (struct tf_guest *g = tf->guests.first; g; g = g->next) {
        struct pv_snapshot *s;

        reset_set_last(r, g);
        if (pv_guest_state(g->g) != PV_GUEST_RUNNING)
            continue;
        pv_tf_call_begin(tf, g->name, "taking a snapshot of %s for " RESET, g->name);
        s = pv_guest_snapshot(g->g, SNAPSHOT_NS, err);
        pv_tf_step_end(tf, s != NULL);
        if (!s)
            return pv_err_wrap(err, "provium." RESET "%s",
                               err->cls == PV_E_USAGE ? " must be set in front of vm:boot" : "");
        r->vms = pv_xrealloc(r->vms, (r->n + 1) * sizeof(*r->vms));
        r->vms[r->n++] = (struct tf_reset_vm){g, s};
        g->n_holds++;
        pv_standby_prepare(tf->guest_env.standby_pool, s); /* for the second test */
    }
    r->begun = true;
    return 0;
}

/* The first VM that is younger than the first test. */
static struct tf_guest *reset_first_newer(const struct pv_testfile *tf)
{
    return tf->reset.last ? tf->reset.last->next : tf->guests.first;
}

/* Only VMs from before the first test may run: each test's end ends its own. */
static int reset_check_newer(const struct pv_testfile *tf, struct pv_err *err)
{
    for (const struct tf_guest *g = reset_first_newer(tf); g; g = g->next)
        if (pv_guest_state(g->g) == PV_GUEST_RUNNING)
            return pv_err_set(err, PV_E_USAGE,
                              RESET
                              ": %s was started between tests, and the first test began without it; start "
                              "it in front of the first test, or inside of a test",
                              g->name);
    return 0;
}

void pv_tf_reset_halt(struct pv_testfile *tf)
{
    for (size_t i = 0; tf->reset.on && tf->reset.begun && i < tf->reset.n; i++)
        pv_guest_halt(tf->reset.vms[i].g->g);
}

int pv_tf_reset_begin(struct pv_testfile *tf, struct pv_err *err)
{
    struct tf_reset *r = &tf->reset;

    if (!r->on)
        return 0;
    if (!r->begun) {
        pv_tf_reset_free(r); /* snapshots of an attempt that failed */
        return reset_take_snapshots(tf, err);
    }
    if (reset_check_newer(tf, err) < 0)
        return -1;
    for (size_t i = 0; i < r->n; i++) {
        struct tf_guest *g = r->vms[i].g;
        int rc;

        pv_tf_step_begin(tf, g->name, PV_STEP_RESUME, "restoring %s for the next test", g->name);
        pv_tf_coverage_take(tf, g);
        rc = pv_tf_restore(tf, g->g, r->vms[i].s, 0, err);
        pv_tf_step_end(tf, rc == 0);
        if (rc < 0)
            return pv_err_wrap(err, RESET);
    }
    return 0;
}

void pv_tf_reset_end(struct pv_testfile *tf)
{
    if (!tf->reset.on || !tf->reset.begun)
        return;
    for (struct tf_guest *g = reset_first_newer(tf); g; g = g->next) {
        pv_tf_coverage_take(tf, g);
        pv_guest_kill(g->g);
    }
}
