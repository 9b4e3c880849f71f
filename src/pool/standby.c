/* SPDX-License-Identifier: MIT */
/*
 * Leases of standby VMs.  They are granted while no request waits.  When one waits, the supervisor itself
 * kills the QEMUs of standby VMs, because the process that made them may be busy.
 */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/internal.h"
#include "util/log.h"
#include "util/mem.h"

/* Limit of one channel. */
enum { MAX_STANDBYS = 8 };

void pv_pool_drop_standby(struct standby *b)
{
    struct channel *c = b->channel;
    struct standby **at = &c->standbys;

    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    c->n_standbys--;
    pv_pool_release_standby(c->s->pool, b->amount);
    pv_loop_del(c->s->loop, &b->watch);
    pv_close(&b->pidfd);
    free(b);
}

struct standby *pv_pool_find_standby(struct channel *c, uint32_t id)
{
    for (struct standby *b = c->standbys; b; b = b->next)
        if (b->id == id)
            return b;
    return NULL;
}

static void on_standby_end(struct pv_watch *w, uint32_t events)
{
    struct standby *b = PV_CONTAINER_OF(w, struct standby, watch);
    struct pv_pool_server *s = b->channel->s;

    (void)events;
    pv_pool_drop_standby(b);
    pv_pool_serve(s);
}

/* on_standby_end releases its lease. */
static void standby_preempt(struct standby *b)
{
    b->preempted = true;
    if (b->pidfd < 0 || b->watch.fd >= 0)
        return;
    pv_debug("pool", "preempting a standby VM of %llu MiB", (unsigned long long)(b->amount.memory >> 20));
    syscall(SYS_pidfd_send_signal, b->pidfd, SIGKILL, NULL, 0);
    if (pv_loop_add(b->channel->s->loop, &b->watch, b->pidfd, EPOLLIN, NULL) < 0)
        pv_pool_drop_standby(b);
}

bool pv_pool_preempt_standbys(struct pv_pool_server *s)
{
    bool any = false;

    for (struct channel *c = s->channels; c; c = c->next)
        for (struct standby *b = c->standbys, *next; b; b = next) {
            next = b->next;
            any = true;
            standby_preempt(b);
        }
    return any;
}

void pv_pool_try_acquire(struct channel *c, const struct pv_lease_request *request)
{
    struct pv_amount a = {request->memory, request->cpus};
    struct standby *b;

    pv_pool_measure(c->s);
    if (request->memory > UINT64_MAX / 4 || c->n_standbys == MAX_STANDBYS ||
        !pv_pool_acquire_standby(c->s->pool, a)) {
        pv_pool_reply(c, request->id, PV_LEASE_REFUSED, "no room for a standby VM");
        return;
    }
    b = pv_xcalloc(1, sizeof(*b));
    *b = (struct standby){.id = request->id,
                          .amount = a,
                          .pidfd = -1,
                          .watch = {.fd = -1, .fn = on_standby_end},
                          .channel = c,
                          .next = c->standbys};
    c->standbys = b;
    c->n_standbys++;
    pv_pool_reply(c, request->id, PV_LEASE_GRANTED, "");
}

void pv_pool_claim_standby(struct channel *c, uint32_t id)
{
    struct standby *b = pv_pool_find_standby(c, id);

    if (b && !b->preempted) {
        pv_pool_drop_standby(b);
        pv_pool_reply(c, id, PV_LEASE_GRANTED, "");
    } else {
        pv_pool_reply(c, id, PV_LEASE_REFUSED, "it was preempted");
    }
}

void pv_pool_set_preemptible(struct channel *c, uint32_t id, int *pidfd)
{
    struct standby *b = pv_pool_find_standby(c, id);

    if (!b || b->pidfd >= 0 || *pidfd < 0)
        return;
    b->pidfd = pv_steal_fd(pidfd);
    if (b->preempted)
        standby_preempt(b);
}
