/* SPDX-License-Identifier: MIT */
/*
 * What the process of a test file asks the supervisor's pool for: the memory and CPUs of its VMs (pool.h).
 * The second header of the runner, beside result.h, that the code running a test may include.
 *
 *     struct pv_lease_want want = {.vm = "vm1 (default)", .memory = 512 << 20, .cpus = 1};
 *     if (pv_lease_take(l, loop, &want, waiting, arg, err) < 0) ...
 *     pv_lease_give(l, "vm1 (default)");
 *
 * What a process has taken goes back when its handle is freed or the process ends, however that happens.
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
    const char *standby; /* that VM, which stands by, is to be this one; NULL: none */
};

/*
 * Blocks (runs the loop) until it is granted; several may be asked for at a time, by tasks.  `waiting` (may
 * be NULL) is called from the loop, at once and again when the numbers change, with what the wait is for:
 * "waiting for memory (512M; 1.2G of 2G in use)".  Errors: class usage when it is more than there is, missing
 * when the host has had no room for long and nobody in this run could make some, both with the numbers; host
 * when the supervisor is gone.
 *
 * No deadline of its own: the supervisor answers in every case (docs/running.md, "Memory and CPUs").
 */
int pv_lease_take(struct pv_lease *l, struct pv_loop *loop, const struct pv_lease_want *want,
                  void (*waiting)(const char *text, void *arg), void *arg, struct pv_err *err);
/*
 * For a VM that stands by, before anybody has asked for it: answered at once, without a wait for anybody; -1
 * when there is no room beside what others have and wait for.  As soon as its process is known it must be
 * told: the supervisor kills it when somebody waits, and what it had is theirs.
 */
int pv_lease_standby(struct pv_lease *l, struct pv_loop *loop, const struct pv_lease_want *want,
                     struct pv_err *err);
void pv_lease_process(struct pv_lease *l, const char *vm, int pidfd);
/*
 * It is about to be a VM whose memory and CPUs are granted already: 0, and it will not be killed (of one that
 * pv_lease_take has made a VM: 0 at once).  -1: it is wanted by others, or killed.
 */
int pv_lease_claim(struct pv_lease *l, struct pv_loop *loop, const char *vm, struct pv_err *err);
/* Gives back what `vm` has; nothing taken: nothing. Never blocks for long. */
void pv_lease_give(struct pv_lease *l, const char *vm);

int pv_lease_fd(const struct pv_lease *l);

/*
 * A handle for a process that this one is about to fork (the builder of a fixture): what that one takes
 * counts as this file's, so that a file never waits for itself.  The child uses it, both free it; the child
 * must leave the handle of its parent alone.  NULL with *err: class host.
 */
struct pv_lease *pv_lease_fork(struct pv_lease *l, struct pv_err *err);

/*
 * Brackets a wait for another file of this run (one that builds the fixture that this file needs): files that
 * hold memory and wait for each other in such a way are told from files that get on.
 */
void pv_lease_block(struct pv_lease *l, bool blocked);

#endif
