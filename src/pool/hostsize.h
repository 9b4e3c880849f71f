/* SPDX-License-Identifier: MIT */
/* What this process may use of the host: affinity and the limits of its control groups count as its size. */
#ifndef PV_POOL_HOSTSIZE_H
#define PV_POOL_HOSTSIZE_H

#include <stdint.h>
#include <sys/types.h>

struct pv_host {
    unsigned cpus;      /* at least 1; part of a CPU counts as one */
    uint64_t memory;    /* bytes */
    uint64_t available; /* of them, without pushing anything out that is needed: MemAvailable */
};

/* root: "" for this host; tests put a tree of /proc and /sys there. What can not be read is no limit. */
void pv_host_measure(const char *root, struct pv_host *h);

/*
 * Memory of VMs that a process and its descendants really use, bytes, shared pages counted once: what belongs
 * to QEMU, and what others share with it.  0 where the kernel does not tell (before 4.14).
 */
uint64_t pv_host_vm_memory(const char *root, pid_t pid);

#endif
