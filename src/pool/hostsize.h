/* SPDX-License-Identifier: MIT */
/* The CPUs and memory that this process may use: those of the host, its affinity and its control groups. */
#ifndef PV_POOL_HOSTSIZE_H
#define PV_POOL_HOSTSIZE_H

#include <stdint.h>
#include <sys/types.h>

struct pv_host {
    unsigned cpus;      /* at least 1; part of a CPU counts as one */
    uint64_t memory;    /* bytes */
    uint64_t available; /* bytes of `memory` that can be allocated without swapping: MemAvailable */
};

/* root: "" for this host; tests pass a tree with a fake /proc and /sys.  An unreadable file sets no limit. */
void pv_host_measure(const char *root, struct pv_host *h);

/*
 * Memory that the VMs of a process and its descendants have touched, bytes, each shared page counted once.  0
 * for kernels without smaps_rollup (before 4.14).
 */
uint64_t pv_host_vm_memory(const char *root, pid_t pid);

#endif
