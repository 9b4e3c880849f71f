/* SPDX-License-Identifier: MIT */
/*
 * Who gets memory and CPUs for a VM, and when: the arbiter behind --mem and --cpus (SPEC 6), as a pure
 * machine without clock, descriptors or processes.  poolserver.h puts it to work.
 *
 *     pv_pool_ask(p, &request, &err);              // queued, or refused at once with the numbers
 *     pv_pool_set_room(p, bytes);                  // free mode: what the host has, measured just now
 *     while ((r = pv_pool_next(p))) tell(r);       // granted
 *     if ((f = pv_pool_victim(p))) restart(f);     // files that wait for each other: see below
 *
 * Nobody knows what a file will need, so files that hold VMs and wait for more can come to wait for each
 * other. The rules under which all of them get through all the same, without ever giving out more than there
 * is:
 *
 *   1. What a file has once asked for together is its claim.  A grant is made only if afterwards there is an
 *      order in which all files that hold something can get their claims and end (the banker's rule).
 *   2. Files that hold something come first, the one that has held for longest before the others; while one
 * of them waits, files that hold nothing wait too.  Those come strictly in the order in which they asked.
 *   3. A claim can turn out to be too small.  When all files that hold something wait, rule 1 is waived for
 * the oldest one that fits; when none fits, the youngest is to be started again from its beginning
 *      (pv_pool_victim), with its claim known.
 *
 * The oldest file is never started again, so it ends; claims only grow, at most to the whole, so a file is
 * started again only so often; a file that asks for more than the whole is refused.  So all files end that
 * would end alone.
 *
 * Beside these there is what stands by: VMs that are ready before anybody has asked for them.  It is given
 * out only while nobody waits, and whoever works the pool takes all of it back as soon as somebody does, so
 * it is no part of the rules above.
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

/* The account of a test file, in its owner. Zero-initialised is a file that has asked for nothing. */
struct pv_pool_file {
    struct pv_amount held;
    struct pv_amount claim;    /* what it is known to need at once; survives pv_pool_leave */
    uint64_t first;            /* when it first asked, in asks; survives too; 0: it has not */
    uint64_t since;            /* when it came to hold something, in grants; 0: it holds nothing */
    unsigned waiting, blocked; /* requests that wait; waits for other files, see pv_lease_block */
    bool condemned;            /* chosen by pv_pool_victim and not gone yet */
    bool ends;                 /* private */
    struct pv_pool_file *next; /* private; among those that hold or wait */
};

struct pv_pool_request {
    struct pv_pool_file *file;
    struct pv_amount want;
    struct pv_pool_request *next; /* private */
};

struct pv_pool_opts {
    uint64_t memory; /* --mem, bytes; 0: what the host has (free mode) */
    unsigned cpus;   /* --cpus; 0: no limit */
    uint64_t most;   /* free mode: what could be had if nothing else ran, bytes */
    uint64_t spare;  /* free mode: what stays free beside it, for texts */
    unsigned host;   /* CPUs that VMs and those that stand by have together at most; 0: no limit */
};

struct pv_pool *pv_pool_new(const struct pv_pool_opts *o);
void pv_pool_free(struct pv_pool *p); /* NULL is fine */

/* Queues it; it stays the caller's and must stay. -1 with *err, class usage: more than could ever be had. */
int pv_pool_ask(struct pv_pool *p, struct pv_pool_request *r, struct pv_err *err);
/* Takes it out of the queue. */
void pv_pool_drop(struct pv_pool *p, struct pv_pool_request *r);
/* Free mode: bytes that VMs may take from now on. A grant lessens it, what is given back does not raise it.
 */
void pv_pool_set_room(struct pv_pool *p, uint64_t bytes);
/* Grants the next request that can be granted, takes it out of the queue and returns it; NULL: none can be.
 */
struct pv_pool_request *pv_pool_next(struct pv_pool *p);
void pv_pool_give(struct pv_pool *p, struct pv_pool_file *f, struct pv_amount a);
/* For a VM that stands by; false when somebody waits, or there is no room beside what is given out. */
bool pv_pool_standby(struct pv_pool *p, struct pv_amount a);
void pv_pool_standby_back(struct pv_pool *p, struct pv_amount a);
/* The file's process is gone: it holds nothing. Its requests were dropped. */
void pv_pool_leave(struct pv_pool *p, struct pv_pool_file *f);

/*
 * After pv_pool_next was NULL: the file to end and to start again, which is marked so; NULL when somebody is
 * going to give something back anyhow.
 */
struct pv_pool_file *pv_pool_victim(struct pv_pool *p);
/* The same without marking it: true when pv_pool_victim would find one. */
bool pv_pool_stuck(const struct pv_pool *p);
/*
 * Free mode, after pv_pool_next was NULL: a request that no file of this run could make room for, because
 * none but its own holds anything. NULL: there is no such one.
 */
struct pv_pool_request *pv_pool_hopeless(const struct pv_pool *p);

/* What all files hold together. */
struct pv_amount pv_pool_held(const struct pv_pool *p);
bool pv_pool_waits(const struct pv_pool *p); /* a request does */
bool pv_pool_is_free(const struct pv_pool *p);

enum { PV_POOL_TEXT = 160 };
/* "waiting for memory (512M; 1.2G of 2G in use)" */
void pv_pool_wait_text(const struct pv_pool *p, const struct pv_pool_request *r,
                       char text[static PV_POOL_TEXT]);
/* "512M", "1.2G": for people, rounded. */
const char *pv_pool_size(uint64_t bytes, char buf[static 32]);

#endif
