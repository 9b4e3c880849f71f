/* SPDX-License-Identifier: MIT */
/*
 * Memory of an agent process, for system calls that it makes.  Addresses are those of that process: a worker has
 * its own.  Calls block as those of agent.h; timeout_ns 0: no limit of its own.  Errors of the guest are of class
 * guest, with their errno: EFAULT for an address that is not mapped.
 */
#ifndef PV_GUEST_MEMORY_H
#define PV_GUEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/mem.h"

struct pv_agent;
struct pv_err;

/*
 * Zeroed pages with an inaccessible one behind them; size is at least 1.  shared: workers that are forked later
 * share them, else each gets a copy.  They live until pv_agent_mem_free or the end of the process.
 */
int pv_agent_mem_alloc(struct pv_agent *a, uint64_t size, bool shared, int64_t timeout_ns, uint64_t *address,
                       struct pv_err *err);
/* EINVAL when address is none from pv_agent_mem_alloc, or no longer. */
int pv_agent_mem_free(struct pv_agent *a, uint64_t address, int64_t timeout_ns, struct pv_err *err);
/* Adds n bytes to out. */
int pv_agent_mem_read(struct pv_agent *a, uint64_t address, size_t n, int64_t timeout_ns, struct pv_buf *out,
                      struct pv_err *err);
/* After an error the bytes before the bad address may have been written. */
int pv_agent_mem_write(struct pv_agent *a, uint64_t address, const void *data, size_t n, int64_t timeout_ns,
                       struct pv_err *err);

#endif
