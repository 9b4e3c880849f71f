/* SPDX-License-Identifier: MIT */
/*
 * The arbiter behind --mem and --cpus: it decides which VM is granted memory and CPUs, and when.  It is pure,
 * without clock, descriptors or processes; the server (server.h) drives it.
 *
 *     pv_pool_request(p, &request, &err);          // queued, or refused at once with the numbers
 *     pv_pool_set_room(p, bytes);                  // free mode: the host's free memory, as measured
 *     while ((r = pv_pool_next(p))) tell(r);       // granted
 *     if ((f = pv_pool_victim(p))) restart(f);     // a deadlock of files, see below
 *
 * The needs of a file are not known in advance, so files that hold VMs and wait for more can deadlock.  These
 * rules let all of them end, and never grant more than the whole:
 *
 *   1. The most that a file has held or asked for at once is its claim.  A grant is made only if afterwards
 *      there is an order in which all holders can get their claims and end (the banker's algorithm).
 *   2. Holders (files that hold something) come before newcomers (files that hold nothing), the holder of
 *      the oldest grant first; while a holder waits, newcomers wait too.  Newcomers are served in the order
 *      in which they asked.
 *   3. A claim can turn out to be too small.  When all holders wait, rule 1 is waived for the oldest one that
 *      fits; when none fits, the youngest is restarted from its beginning (pv_pool_victim), with its claim
 *      known.
 *
 * The oldest holder is never restarted, so it ends; claims only grow, at most to the whole, so the number of
 * restarts is bounded; an unsatisfiable request is refused.  So every file ends that would end alone.
 *
 * These rules do not cover standby VMs: they are granted only while no request waits, and the server preempts
 * all of them as soon as a request waits.
 */
#ifndef PV_POOL_ARBITER_H
#define PV_POOL_ARBITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_err;
struct pv_pool;

struct pv_amount {
    uint64_t memory; /* bytes */
    unsigned cpus;
};

/* The account of a test file; embedded in the scheduler's item. Zero-initialised: no request was made. */
struct pv_pool_file {
    struct pv_amount held;
    struct pv_amount claim;    /* rule 1; survives pv_pool_leave */
    uint64_t first;            /* number of its first request; survives pv_pool_leave; 0: none */
    uint64_t since;            /* number of the grant that made it a holder; 0: it holds nothing */
    unsigned waiting, blocked; /* its requests in the queue; waits for other files, see pv_lease_block */
    bool condemned;            /* chosen by pv_pool_victim, and its process has not ended yet */
    bool ends;                 /* private */
    struct pv_pool_file *next; /* private; among those that hold or wait */
};

struct pv_pool_request {
    struct pv_pool_file *file;
    struct pv_amount want;
    struct pv_pool_request *next; /* private */
};

struct pv_pool_opts {
    uint64_t memory; /* --mem, bytes; 0: the memory that the host has free (free mode) */
    unsigned cpus;   /* --cpus; 0: no limit */
    uint64_t most;   /* free mode: the most that VMs can ever have, bytes */
    uint64_t spare;  /* free mode: memory kept free for the host, bytes; for texts */
    unsigned host;   /* limit of the CPUs of all VMs when a standby VM is granted; 0: no limit */
};

struct pv_pool *pv_pool_new(const struct pv_pool_opts *o);
void pv_pool_free(struct pv_pool *p); /* NULL is fine */

/* Whether a file without other VMs could have it. */
bool pv_pool_fits_alone(const struct pv_pool *p, struct pv_amount want);
/* Queues r, which the caller owns and must not move. -1 with *err, class usage: unsatisfiable. */
int pv_pool_request(struct pv_pool *p, struct pv_pool_request *r, struct pv_err *err);
/* Takes r out of the queue. */
void pv_pool_cancel(struct pv_pool *p, struct pv_pool_request *r);
/* Free mode: bytes that may be granted from now on. A grant reduces them, a release does not raise them. */
void pv_pool_set_room(struct pv_pool *p, uint64_t bytes);
/*
 * A fixed budget: bytes of the host that VMs use beyond what was granted, as measured (QEMU's own memory). While other
 * files hold VMs, a request waits until it fits beside these, too.
 */
void pv_pool_set_beyond(struct pv_pool *p, uint64_t bytes);
uint64_t pv_pool_beyond(const struct pv_pool *p);
/* Grants the next request that can be granted and takes it out of the queue; NULL: none can be. */
struct pv_pool_request *pv_pool_next(struct pv_pool *p);
void pv_pool_release(struct pv_pool *p, struct pv_pool_file *f, struct pv_amount a);
/* Grants a standby VM; false when a request waits, or when the grants leave no room. */
bool pv_pool_acquire_standby(struct pv_pool *p, struct pv_amount a);
void pv_pool_release_standby(struct pv_pool *p, struct pv_amount a);
/* The file's process has ended: it holds nothing. Its requests were cancelled before. */
void pv_pool_leave(struct pv_pool *p, struct pv_pool_file *f);

/*
 * After pv_pool_next returned NULL: the file to restart, which is marked as condemned; NULL when the files do
 * not wait for each other.
 */
struct pv_pool_file *pv_pool_victim(struct pv_pool *p);
/* True when pv_pool_victim would find a file; marks none. */
bool pv_pool_stuck(const struct pv_pool *p);
/*
 * Free mode, after pv_pool_next returned NULL: a request that no other file of this run can make room for,
 * because only its own file holds anything.  NULL: there is none.
 */
struct pv_pool_request *pv_pool_unsatisfiable(const struct pv_pool *p);

/* The sum of all grants that files hold. */
struct pv_amount pv_pool_held(const struct pv_pool *p);
bool pv_pool_waits(const struct pv_pool *p); /* a request is in the queue */
bool pv_pool_is_free(const struct pv_pool *p);

enum { PV_POOL_TEXT = 160 };
/* "waiting for memory (512M; 1.2G of 2G in use)" */
void pv_pool_wait_text(const struct pv_pool *p, const struct pv_pool_request *r,
                       char text[static PV_POOL_TEXT]);
/* "512M", "1.2G": for people, rounded. */
const char *pv_pool_size(uint64_t bytes, char buf[static 32]);

#endif
