/* SPDX-License-Identifier: MIT */
/* VMs of a file take their memory and CPUs from the supervisor's pool; a wait is a phase, and a step. */
#include <stdio.h>
#include <string.h>

#include "guest/standby.h"
#include "lua/internal.h"
#include "childproto/lease.h"
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

    pv_standby_pool_clear(w->pl->guest_env.standby_pool); /* what they have may be just what is missing */
    pv_lua_phase(w->pl, text);
    if (w->step == PV_NO_STEP && !w->pl->build) /* a builder's wait is part of a step already */
        w->step = pv_result_step_begin(w->pl->env->result, w->vm, PV_STEP_WAIT, text);
}

int pv_lua_pool_take(const char *vm, uint64_t memory, unsigned cpus, const char *standby, void *arg,
                     struct pv_err *err)
{
    struct pv_lua *pl = arg;
    struct pv_lease_want want = {.vm = vm, .memory = memory, .cpus = cpus, .standby = standby};
    char lane[96];
    struct wait w = {.pl = pl, .vm = lane, .step = PV_NO_STEP};
    int64_t began = pv_now();
    int r;

    snprintf(lane, sizeof(lane), "%.*s", (int)strcspn(vm, " "), vm);
    if (!pl->env->lease)
        return 0;
    r = pv_lease_take(pl->env->lease, pl->loop, &want, waiting, &w, err);
    pv_lua_limit_waited(pl, pv_now() - began);
    if (w.step == PV_NO_STEP)
        return r;
    pv_result_step_end(pl->env->result, w.step, r == 0);
    pv_lua_phase(pl, pl->doing);
    return r;
}

int pv_lua_pool_stand_by(const char *vm, uint64_t memory, unsigned cpus, void *arg, struct pv_err *err)
{
    const struct pv_lua *pl = arg;
    struct pv_lease_want want = {.vm = vm, .memory = memory, .cpus = cpus};

    return pl->env->lease ? pv_lease_standby(pl->env->lease, pl->loop, &want, err) : 0;
}

void pv_lua_pool_stand_by_process(const char *vm, int pidfd, void *arg)
{
    const struct pv_lua *pl = arg;

    if (pl->env->lease)
        pv_lease_process(pl->env->lease, vm, pidfd);
}

int pv_lua_pool_stand_by_claim(const char *vm, void *arg, struct pv_err *err)
{
    const struct pv_lua *pl = arg;

    return pl->env->lease ? pv_lease_claim(pl->env->lease, pl->loop, vm, err) : 0;
}

void pv_lua_pool_give(const char *vm, void *arg)
{
    const struct pv_lua *pl = arg;

    if (pl->env->lease)
        pv_lease_give(pl->env->lease, vm);
}
