/* SPDX-License-Identifier: MIT */
#include "guest/lease.h"

#include "guest/env.h"
#include "util/mem.h"

struct pv_vm_lease {
    const struct pv_pool_client *pool;
    char *vm;
    uint64_t memory;
    unsigned cpus;
};

struct pv_vm_lease *pv_vm_lease_acquire(const struct pv_pool_client *pool, const char *vm, uint64_t memory,
                                        unsigned cpus, const char *standby, struct pv_err *err)
{
    struct pv_vm_lease *l;

    if (pool->acquire && pool->acquire(vm, memory, cpus, standby, pool->arg, err) < 0)
        return NULL;
    l = pv_xcalloc(1, sizeof(*l));
    *l = (struct pv_vm_lease){.pool = pool, .vm = pv_xstrdup(vm), .memory = memory, .cpus = cpus};
    return l;
}

bool pv_vm_lease_fits(const struct pv_vm_lease *l, uint64_t memory, unsigned cpus)
{
    return l && l->memory == memory && l->cpus == cpus;
}

void pv_vm_lease_release(struct pv_vm_lease *l)
{
    if (!l)
        return;
    if (l->pool->release)
        l->pool->release(l->vm, l->pool->arg);
    free(l->vm);
    free(l);
}
