/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "guest/disks.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "guest/machine.h"
#include "guest/served.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "vm/vm.h"

/* A cut in the future.  One for each guest. */
struct pv_power_due {
    struct pv_guest *g;
    struct pv_timer timer;
    struct pv_power_cut cut;
};

static int check_disks(const struct pv_guest *g, struct pv_err *err)
{
    const struct pv_machine *m = pv_instance_machine(g->instance);

    for (size_t i = 0; i < m->n_disks; i++)
        if (!m->disks[i].readonly && (!m->disks[i].served || m->disks[i].plain))
            return pv_err_set(err, PV_E_USAGE,
                              "cannot cut the power of %s: the volatile cache of its disk '%s' is not known; "
                              "attach it with faults = true or readonly = true",
                              g->name, m->disks[i].name);
    return 0;
}

static int power_cut_now(struct pv_guest *g, const struct pv_power_cut *c, struct pv_err *err)
{
    struct pv_disk **disks;
    size_t n = 0;
    int r;

    for (const struct pv_served *s = g->disks; s; s = s->next)
        n++;
    disks = pv_xcalloc(n + 1, sizeof(struct pv_disk *));
    for (const struct pv_served *s = g->disks; s; s = s->next)
        disks[--n] = s->d; /* in the order of the machine */
    for (const struct pv_served *s = g->disks; s; s = s->next) {
        pv_disk_trigger(s->d, PV_DISK_ANY, 0, NULL, NULL);
        n++;
    }
    r = pv_disk_power_cut(disks, n, c->keep, c->torn, c->seed, err);
    free(disks);
    pv_guest_end(g, PV_GUEST_KILLED, NULL);
    return r;
}

static void on_due(struct pv_timer *t)
{
    struct pv_power_due *due = PV_CONTAINER_OF(t, struct pv_power_due, timer);
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = due->g;

    if (pv_guest_state(g) == PV_GUEST_RUNNING && power_cut_now(g, &due->cut, &err) < 0)
        pv_debug(g->name, "power cut: %s", err.text);
}

/* From the disk, before it carries out the request; the cut itself waits for the loop. */
static void on_trigger(struct pv_disk *d, void *arg)
{
    struct pv_power_due *due = arg;

    (void)d;
    for (struct pv_served *s = due->g->disks; s; s = s->next)
        pv_disk_hold(s->d);
    pv_timer_arm(due->g->env->host.loop, &due->timer, pv_now());
}

void pv_guest_power_forget(struct pv_guest *g)
{
    if (!g->power_due)
        return;
    pv_timer_cancel(g->env->host.loop, &g->power_due->timer);
    free(pv_steal(&g->power_due));
}

static int power_cut_later(struct pv_guest *g, const struct pv_power_cut *c, struct pv_err *err)
{
    struct pv_disk *d = pv_guest_disk(g, c->at_disk, err);

    if (!d)
        return -1;
    for (struct pv_served *s = g->disks; s; s = s->next)
        pv_disk_trigger(s->d, PV_DISK_ANY, 0, NULL, NULL);
    if (!g->power_due)
        g->power_due = pv_xcalloc(1, sizeof(*g->power_due));
    g->power_due->g = g;
    g->power_due->cut = *c;
    g->power_due->cut.at_disk = NULL;
    g->power_due->timer.fn = on_due;
    pv_disk_trigger(d, c->at_op, c->at_after, on_trigger, g->power_due);
    return 0;
}

int pv_guest_power_cut(struct pv_guest *g, const struct pv_power_cut *c, struct pv_err *err)
{
    if (pv_guest_check_machine(g, "cut the power", err) < 0 || check_disks(g, err) < 0)
        return -1;
    return c->at_disk ? power_cut_later(g, c, err) : power_cut_now(g, c, err);
}
