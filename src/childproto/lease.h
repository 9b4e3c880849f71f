/* SPDX-License-Identifier: MIT */
/*
 * The client's side of the supervisor's pool: the process of a test file acquires memory and CPUs for each
 * of its VMs, and releases them.
 *
 *     struct pv_lease_want want = {.vm = "vm1 (default)", .memory = 512 << 20, .cpus = 1};
 *     if (pv_lease_acquire(l, loop, &want, waiting, arg, err) < 0) ...
 *     pv_lease_release(l, "vm1 (default)");
 *
 * Freeing the handle, or the end of the process, releases everything that it acquired.
 */
#ifndef PV_CHILDPROTO_LEASE_H
#define PV_CHILDPROTO_LEASE_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_lease;
struct pv_loop;

/* A handle on a connected SOCK_SEQPACKET socket to the supervisor; takes the descriptor. */
struct pv_lease *pv_lease_new(int fd);
/* NULL is fine. */
void pv_lease_free(struct pv_lease *l);

struct pv_lease_want {
    const char *vm;  /* a name that this process uses once at a time */
    uint64_t memory; /* bytes */
    unsigned cpus;
    const char *standby; /* the standby VM that becomes this VM: its lease is released for it; NULL: none */
};

/*
 * Blocks (runs the loop) until the pool grants it; several tasks may call it at a time.  `waiting` (may be
 * NULL) is called from the loop, at once and whenever the numbers change, with the reason of the wait:
 * "waiting for memory (512M; 1.2G of 2G in use)".  Errors, with the numbers in their text: class usage when
 * the request is unsatisfiable; missing when the host has had no room for long and no file of this run could
 * make some; class host when the supervisor is gone.
 *
 * It has no deadline: the supervisor replies in every case (docs/running.md, "Memory and CPUs").
 */
int pv_lease_acquire(struct pv_lease *l, struct pv_loop *loop, const struct pv_lease_want *want,
                     void (*waiting)(const char *text, void *arg), void *arg, struct pv_err *err);
/*
 * For a standby VM.  The supervisor replies at once: -1 (class usage) when a file waits, or when the other
 * leases leave no room.  The caller must pass the VM's process to pv_lease_preemptible as soon as it is
 * known: the supervisor kills it when a file waits for memory or CPUs.
 */
int pv_lease_try_acquire(struct pv_lease *l, struct pv_loop *loop, const struct pv_lease_want *want,
                         struct pv_err *err);
/* pidfd: of the QEMU of the standby VM `vm`; stays the caller's. */
void pv_lease_preemptible(struct pv_lease *l, const char *vm, int pidfd);
/*
 * Keeps the standby VM from being preempted, before it becomes a VM whose lease is acquired already.  0 also
 * for a name without a lease, which pv_lease_acquire has passed on.  -1: it was preempted.
 */
int pv_lease_claim(struct pv_lease *l, struct pv_loop *loop, const char *vm, struct pv_err *err);
/* Releases the lease of `vm`; without one: nothing. Never blocks for long. */
void pv_lease_release(struct pv_lease *l, const char *vm);

int pv_lease_fd(const struct pv_lease *l);

/*
 * A handle for a process that this one is about to fork (the builder of a fixture): its leases count as this
 * file's, so that a file never waits for itself.  The child uses it, both free it; the child must leave the
 * handle of its parent alone.  NULL with *err: class host.
 */
struct pv_lease *pv_lease_fork(struct pv_lease *l, struct pv_err *err);

/*
 * Brackets a wait for another file of this run, which builds a fixture that this file needs: the arbiter
 * counts a blocked file that holds memory as one that waits.
 */
void pv_lease_block(struct pv_lease *l, bool blocked);

#endif
