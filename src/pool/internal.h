/* SPDX-License-Identifier: MIT */
/* Shared by poolserver.c and poolstandby.c only: who is connected, and what each has. */
#ifndef PV_POOL_INTERNAL_H
#define PV_POOL_INTERNAL_H

#include "loop/loop.h"
#include "childproto/leasemsg.h"
#include "pool/server.h"

/* Memory and CPUs of one VM, asked for or granted. */
struct lease {
    uint32_t id;
    bool granted;
    struct pv_pool_request request;
    char said[PV_POOL_TEXT]; /* of the wait, what the client knows */
    struct channel *channel;
    struct lease *next;
};

/* Of a VM that stands by. */
struct standby {
    uint32_t id;
    struct pv_amount amount;
    int pidfd;             /* -1: not started yet */
    struct pv_watch watch; /* on its end, once it was killed */
    bool revoked;
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
    bool forked; /* not the file's own, but of a process that it forked */
    bool gone;   /* nobody is at the other end; closed by pv_pool_server_leave, when the VMs are gone too */
    struct channel *next;
};

struct pv_pool_server {
    struct pv_loop *loop;
    struct pv_pool_server_opts o;
    struct pv_pool *pool;
    struct channel *channels;
    struct pv_timer timer;
    int64_t stuck_since, hopeless_since; /* 0: not so */
    const struct pv_pool_request *hopeless;
};

/* ---- poolserver.c ---- */

struct lease *pv_pool_find_lease(struct channel *c, uint32_t id);

void pv_pool_answer(const struct channel *c, uint32_t id, enum pv_lease_status reply, const char *text);
/* Grants what can be granted, tells those who wait. */
void pv_pool_serve(struct pv_pool_server *s);
/* Free mode: what VMs may take now. */
void pv_pool_measure(struct pv_pool_server *s);

/* ---- poolstandby.c: VMs that stand by ---- */

/* What it had is there again. */
void pv_pool_drop_standby(struct standby *b);
struct standby *pv_pool_find_standby(struct channel *c, uint32_t id);
/* Kills all of them, because somebody waits; true when there are any, and more to give out in a moment. */
bool pv_pool_revoke_standbys(struct pv_pool_server *s);
/* The messages STANDBY, CLAIM and PROCESS. */
void pv_pool_stand_by(struct channel *c, const struct pv_lease_request *ask);
void pv_pool_claim_standby(struct channel *c, uint32_t id);
void pv_pool_standby_process(struct channel *c, uint32_t id, int *fd); /* takes it */

#endif
