/* SPDX-License-Identifier: MIT */
/*
 * VMs that stand by, as the pool sees them: they have what nobody waits for, and the supervisor itself kills
 * them when somebody does, so that nobody depends on what the process that made them is busy with.
 */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/internal.h"
#include "util/log.h"
#include "util/mem.h"

/* Of one process. */
enum { MAX_STANDBYS = 8 };

void pv_pool_drop_standby(struct standby *b)
{
    struct channel *c = b->channel;
    struct standby **at = &c->standbys;

    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    c->n_standbys--;
    pv_pool_standby_back(c->s->pool, b->amount);
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

/* What it has is there again when it has ended. */
static void revoke_standby(struct standby *b)
{
    b->revoked = true;
    if (b->pidfd < 0 || b->watch.fd >= 0)
        return;
    pv_debug("pool", "a VM that stands by is ended: %llu MiB are wanted",
             (unsigned long long)(b->amount.memory >> 20));
    syscall(SYS_pidfd_send_signal, b->pidfd, SIGKILL, NULL, 0);
    if (pv_loop_add(b->channel->s->loop, &b->watch, b->pidfd, EPOLLIN, NULL) < 0)
        pv_pool_drop_standby(b);
}

/* True when there are any. */
bool pv_pool_revoke_standbys(struct pv_pool_server *s)
{
    bool any = false;

    for (struct channel *c = s->channels; c; c = c->next)
        for (struct standby *b = c->standbys, *next; b; b = next) {
            next = b->next;
            any = true;
            revoke_standby(b);
        }
    return any;
}

void pv_pool_stand_by(struct channel *c, const struct pv_lease_request *ask)
{
    struct pv_amount a = {ask->memory, ask->cpus};
    struct standby *b;

    if (pv_pool_find_lease(c, ask->id) || pv_pool_find_standby(c, ask->id))
        return;
    pv_pool_measure(c->s);
    if (ask->memory > UINT64_MAX / 4 || c->n_standbys == MAX_STANDBYS || !pv_pool_standby(c->s->pool, a)) {
        pv_pool_answer(c, ask->id, PV_LEASE_REFUSED, "no room for a VM that nobody has asked for yet");
        return;
    }
    b = pv_xcalloc(1, sizeof(*b));
    *b = (struct standby){.id = ask->id,
                          .amount = a,
                          .pidfd = -1,
                          .watch = {.fd = -1, .fn = on_standby_end},
                          .channel = c,
                          .next = c->standbys};
    c->standbys = b;
    c->n_standbys++;
    pv_pool_answer(c, ask->id, PV_LEASE_GRANTED, "");
}

/* From here on it is not killed. */
void pv_pool_claim_standby(struct channel *c, uint32_t id)
{
    struct standby *b = pv_pool_find_standby(c, id);

    if (b && !b->revoked) {
        pv_pool_drop_standby(b);
        pv_pool_answer(c, id, PV_LEASE_GRANTED, "");
    } else {
        pv_pool_answer(c, id, PV_LEASE_REFUSED, "it is wanted by others");
    }
}

void pv_pool_standby_process(struct channel *c, uint32_t id, int *fd)
{
    struct standby *b = pv_pool_find_standby(c, id);

    if (!b || b->pidfd >= 0 || *fd < 0)
        return;
    b->pidfd = pv_steal_fd(fd);
    if (b->revoked)
        revoke_standby(b);
}
