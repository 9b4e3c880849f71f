/* SPDX-License-Identifier: MIT */
/* Shared by server.c, receive.c and standby.c only: the connected channels, and the leases of each. */
#ifndef PV_POOL_INTERNAL_H
#define PV_POOL_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "childproto/leasemsg.h"
#include "loop/loop.h"
#include "pool/arbiter.h"
#include "pool/server.h"

/* Memory and CPUs of one VM, requested or granted. */
struct lease {
    uint32_t id;
    bool granted;
    struct pv_pool_request request;
    char said[PV_POOL_TEXT]; /* the text of the last WAIT reply */
    struct channel *channel;
    struct lease *next;
};

/* The lease of a standby VM. */
struct standby {
    uint32_t id;
    struct pv_amount amount;
    int pidfd;             /* -1: its QEMU has not started yet */
    struct pv_watch watch; /* on the end of its QEMU, once that was killed */
    bool preempted;
    struct channel *channel;
    struct standby *next;
};

struct channel {
    struct pv_pool_server *s;
    struct pv_pool_file *file;
    int fd;
    struct pv_watch watch;
    struct lease *leases;
    struct standby *standbys;
    unsigned n_leases, n_standbys, blocked;
    bool forked; /* of a process that the file forked, not the file's own */
    bool gone;   /* it is read no more; pv_pool_server_leave closes it, when the VMs have ended too */
    struct channel *next;
};

struct pv_pool_server {
    struct pv_loop *loop;
    struct pv_pool_server_opts o;
    struct pv_pool *pool;
    struct channel *channels;
    struct pv_timer timer;
    int64_t stuck_since;         /* pv_now() of the first sign of a deadlock of files; 0: none */
    int64_t unsatisfiable_since; /* pv_now() since when `unsatisfiable` is that request */
    const struct pv_pool_request *unsatisfiable;
};

/* ---- server.c ---- */

struct lease *pv_pool_find_lease(struct channel *c, uint32_t id);

void pv_pool_reply(const struct channel *c, uint32_t id, enum pv_lease_status status, const char *text);
/* Grants every request that can be granted, and sends WAIT replies for the others. */
void pv_pool_serve(struct pv_pool_server *s);
/* Free mode: sets the arbiter's room to the memory that may be granted. */
void pv_pool_measure(struct pv_pool_server *s);

/* ---- receive.c ---- */

enum pool_received { POOL_NOTHING, POOL_REQUEST, POOL_INVALID, POOL_END };

/*
 * Takes one message without blocking.  POOL_REQUEST: every field is valid for its op, and *fd is the caller's:
 * the socket of PV_LEASE_FORK, the pidfd of PV_LEASE_PREEMPTIBLE (-1 when this process can have no more), else
 * -1.  POOL_INVALID: *fault, which the
 * caller frees, is the end of a sentence about the process.
 */
enum pool_received pv_pool_receive(struct channel *c, struct pv_lease_request *request, int *fd,
                                   char **fault);

/* ---- standby.c ---- */

/* Releases the lease and frees b. */
void pv_pool_drop_standby(struct standby *b);
struct standby *pv_pool_find_standby(struct channel *c, uint32_t id);
/* Kills all standby VMs, because a request waits; true when there are any: room comes with their ends. */
bool pv_pool_preempt_standbys(struct pv_pool_server *s);
/* The requests TRY_ACQUIRE, CLAIM and PREEMPTIBLE. */
void pv_pool_try_acquire(struct channel *c, const struct pv_lease_request *request);
void pv_pool_claim_standby(struct channel *c, uint32_t id);
void pv_pool_set_preemptible(struct channel *c, uint32_t id, int *pidfd); /* takes *pidfd, which becomes -1 */

#endif
