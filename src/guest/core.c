/* SPDX-License-Identifier: MIT */
#include "guest/core.h"

#include "guest/guest-state.h"
#include "guest/instance.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "vm/core.h"

static struct pv_vm *core_vm(const struct pv_guest *g)
{
    return g->instance ? pv_instance_vm(g->instance) : NULL;
}

static int core_open(void *arg)
{
    const struct pv_guest *g = arg;

    return g->env->cores.open(g, g->env->cores.arg);
}

static void core_done(const char *format, const char *failure, void *arg)
{
    const struct pv_guest *g = arg;

    g->env->cores.done(g, format, failure, g->env->cores.arg);
}

void pv_guest_core_connect(struct pv_guest *g)
{
    static const struct pv_vm_core_ops ops = {core_open, core_done};
    struct pv_vm *vm = core_vm(g);

    if (vm)
        pv_vm_on_core(vm, g->env->cores.open ? &ops : NULL, g);
}

void pv_guest_core(const struct pv_guest *g)
{
    struct pv_vm *vm = core_vm(g);

    if (vm)
        pv_vm_core(vm);
}

static bool core_is_over(void *arg)
{
    const struct pv_vm *vm = core_vm(arg);

    return !vm || !pv_vm_core_began(vm);
}

bool pv_guest_core_wait(struct pv_guest *g, int64_t *deadline)
{
    const struct pv_vm *vm = core_vm(g);
    int64_t began = vm ? pv_vm_core_began(vm) : 0;

    if (!began)
        return false;
    pv_loop_run(g->env->host.loop, core_is_over, g, PV_FOREVER, NULL);
    if (deadline && *deadline != PV_FOREVER)
        *deadline = pv_now() + (*deadline > began ? *deadline - began : 0);
    return true;
}
