/* SPDX-License-Identifier: MIT */
/* VMs of a file take their memory and CPUs from the supervisor's pool; a wait is a phase, and a step. */
#include <stdio.h>
#include <string.h>

#include "lua/internal.h"
#include "runner/lease.h"
#include "util/clock.h"

/* A wait that is going on: the step is begun with the first text, so that there is none without a wait. */
struct wait {
    struct pv_lua *pl;
    const char *vm;
    uint32_t step;
};

static void waiting(const char *text, void *arg)
{
    struct wait *w = arg;

    pv_lua_phase(w->pl, text);
    if (w->step == PV_NO_STEP && !w->pl->build) /* a builder's wait is part of a step already */
        w->step = pv_result_step_begin(w->pl->env->result, w->vm, PV_STEP_WAIT, text);
}

int pv_lua_pool_take(const char *vm, uint64_t memory, unsigned cpus, void *arg, struct pv_err *err)
{
    struct pv_lua *pl = arg;
    char lane[96];
    struct wait w = {.pl = pl, .vm = lane, .step = PV_NO_STEP};
    int64_t began = pv_now();
    int r;

    snprintf(lane, sizeof(lane), "%.*s", (int)strcspn(vm, " "), vm);
    if (!pl->env->lease)
        return 0;
    r = pv_lease_take(pl->env->lease, pl->loop, vm, memory, cpus, waiting, &w, err);
    pv_lua_limit_waited(pl, pv_now() - began);
    if (w.step == PV_NO_STEP)
        return r;
    pv_result_step_end(pl->env->result, w.step, r == 0);
    pv_lua_phase(pl, pl->doing);
    return r;
}

void pv_lua_pool_give(const char *vm, void *arg)
{
    const struct pv_lua *pl = arg;

    if (pl->env->lease)
        pv_lease_give(pl->env->lease, vm);
}
