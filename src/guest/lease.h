/* SPDX-License-Identifier: MIT */
/* The memory and CPUs that one VM has acquired from the pool.  Private to the room. */
#ifndef PV_GUEST_LEASE_H
#define PV_GUEST_LEASE_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_pool_client;
struct pv_vm_lease;

/*
 * Blocks (runs the loop) until the pool grants it.  standby: as in pv_pool_client.acquire.  The client must
 * outlive the lease.  NULL with *err (class usage: unsatisfiable).
 */
struct pv_vm_lease *pv_vm_lease_acquire(const struct pv_pool_client *pool, const char *vm, uint64_t memory,
                                        unsigned cpus, const char *standby, struct pv_err *err);
/* True when it is of exactly this size: a VM that is restored keeps such a lease. NULL: false. */
bool pv_vm_lease_fits(const struct pv_vm_lease *l, uint64_t memory, unsigned cpus);
/* Gives it back to the pool, frees. NULL is fine. */
void pv_vm_lease_release(struct pv_vm_lease *l);

#endif
