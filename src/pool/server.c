/* SPDX-License-Identifier: MIT */
#include "pool/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool/hostsize.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/sock.h"

/* Memory of the host that is kept free without --mem. */
#define SPARE (UINT64_C(1536) << 20)
#define MEASURE_INTERVAL (PV_NSEC_PER_SEC / 4)
/* Free mode: other processes may fill the host for a while, so a deadlock counts only once it has lasted. */
#define STUCK_LIMIT (5 * PV_NSEC_PER_SEC)
#define UNSATISFIABLE_LIMIT (30 * PV_NSEC_PER_SEC)

/* Limits of one channel and of one file, beyond what any sensible test uses. */
enum { MAX_LEASES = 512, MAX_CHANNELS = 32, MESSAGES_AT_ONCE = 64 };

void pv_pool_reply(const struct channel *c, uint32_t id, enum pv_lease_status status, const char *text)
{
    struct pv_lease_reply reply = {.status = status, .id = id};

    snprintf(reply.text, sizeof(reply.text), "%s", text);
    /* A client that does not read is stuck or stopped: its socket is full of WAIT texts, so this one is
     * dropped. */
    pv_send(c->fd, &reply, sizeof(reply), MSG_DONTWAIT);
}

static void lease_reply(const struct lease *l, enum pv_lease_status status, const char *text)
{
    pv_pool_reply(l->channel, l->id, status, text);
}

/* ---- serving ---- */

static bool file_waits(const struct pv_pool_file *f)
{
    return f->waiting > 0;
}

static void file_tell_waiting(struct pv_pool_server *s, struct pv_pool_file *f, bool did)
{
    if (file_waits(f) != did && s->o.waits)
        s->o.waits(f, file_waits(f), s->o.arg);
}

/* Standby VMs have grants of their own, which are no part of what their file holds. */
static uint64_t standby_memory(const struct pv_pool_server *s, const struct pv_pool_file *f)
{
    uint64_t sum = 0;

    for (const struct channel *c = s->channels; c; c = c->next)
        for (const struct standby *b = c->file == f ? c->standbys : NULL; b; b = b->next)
            sum += b->amount.memory;
    return sum;
}

/*
 * Grants against use, file by file: memory that was granted and is not touched yet, and use beyond the grants.  The use
 * is of all QEMUs of the file, its standby VMs too.
 */
static void server_compare(const struct pv_pool_server *s, uint64_t *untouched, uint64_t *beyond)
{
    *untouched = *beyond = 0;
    for (struct channel *c = s->channels; c; c = c->next) {
        struct channel *before = s->channels;
        uint64_t used, granted, held = c->file->held.memory;

        while (before != c && before->file != c->file)
            before = before->next;
        if (before != c || !held) /* counted with another channel of the file */
            continue;
        used = s->o.used ? s->o.used(c->file, s->o.arg) : 0;
        *untouched += used < held ? held - used : 0;
        granted = held + standby_memory(s, c->file);
        *beyond += used > granted ? used - granted : 0;
    }
}

/* Free mode: the host's free memory, less the spare, less what is granted and not touched yet. */
void pv_pool_measure(struct pv_pool_server *s)
{
    struct pv_host h;
    uint64_t kept, beyond;

    server_compare(s, &kept, &beyond);
    if (!pv_pool_is_free(s->pool)) {
        pv_pool_set_beyond(s->pool, beyond);
        return;
    }
    kept += SPARE;
    pv_host_measure("", &h);
    pv_pool_set_room(s->pool, h.available > kept ? h.available - kept : 0);
}

static void server_restart_stuck(struct pv_pool_server *s)
{
    struct pv_pool_file *f;
    bool wait;

    if (!pv_pool_stuck(s->pool)) {
        s->stuck_since = 0;
        return;
    }
    if (!s->stuck_since)
        s->stuck_since = pv_now();
    wait = pv_pool_is_free(s->pool) && pv_now() - s->stuck_since < STUCK_LIMIT;
    if (wait || !(f = pv_pool_victim(s->pool)))
        return;
    s->stuck_since = 0;
    s->o.restart(f, "it and other files waited for memory or CPUs that they hold themselves", s->o.arg);
}

static void lease_refuse(struct pv_pool_server *s, struct lease *l, enum pv_lease_status status,
                         const char *text);

static struct lease *request_lease(const struct pv_pool_request *r)
{
    return PV_CONTAINER_OF(r, struct lease, request);
}

/* No file of this run can make room for the request, and the host has had none for long. */
static void server_refuse_unsatisfiable(struct pv_pool_server *s)
{
    struct pv_pool_request *r = pv_pool_unsatisfiable(s->pool);
    char text[PV_POOL_TEXT];
    cleanup_free char *why = NULL;

    if (r != s->unsatisfiable)
        s->unsatisfiable_since = pv_now();
    s->unsatisfiable = r;
    if (!r || pv_now() - s->unsatisfiable_since < UNSATISFIABLE_LIMIT)
        return;
    pv_pool_wait_text(s->pool, r, text);
    why =
        pv_xasprintf("%s: for 30 s there was no room, and no VM of another file holds any; --mem SIZE sets a "
                     "budget instead",
                     text);
    s->unsatisfiable = NULL;
    lease_refuse(s, request_lease(r), PV_LEASE_NO_ROOM, why);
}

static void server_tell_waiting(struct pv_pool_server *s)
{
    for (struct channel *c = s->channels; c; c = c->next)
        for (struct lease *l = c->leases; l; l = l->next) {
            char text[PV_POOL_TEXT];

            if (l->granted)
                continue;
            pv_pool_wait_text(s->pool, &l->request, text);
            if (!strcmp(text, l->said))
                continue;
            strcpy(l->said, text);
            lease_reply(l, PV_LEASE_WAIT, text);
        }
}

void pv_pool_serve(struct pv_pool_server *s)
{
    struct pv_pool_request *r;

    if (pv_pool_waits(s->pool))
        pv_pool_measure(s);
    while ((r = pv_pool_next(s->pool))) {
        struct lease *l = request_lease(r);

        l->granted = true;
        pv_debug("pool", "granted %llu MiB, %u CPUs", (unsigned long long)(r->want.memory >> 20),
                 r->want.cpus);
        lease_reply(l, PV_LEASE_GRANTED, "");
        file_tell_waiting(s, r->file, true);
    }
    if (!pv_pool_waits(s->pool)) {
        s->stuck_since = 0;
        s->unsatisfiable = NULL;
        pv_timer_cancel(s->loop, &s->timer);
        return;
    }
    server_tell_waiting(s);
    if (!pv_pool_preempt_standbys(s)) {
        server_restart_stuck(s);
        server_refuse_unsatisfiable(s);
    }
    if (pv_pool_is_free(s->pool))
        pv_timer_arm(s->loop, &s->timer, pv_deadline(MEASURE_INTERVAL));
    /* A release is a message, and what it takes of `beyond` shows when QEMU has ended. */
    else if (pv_pool_beyond(s->pool))
        pv_timer_arm(s->loop, &s->timer, pv_deadline(4 * MEASURE_INTERVAL));
}

static void on_server_timer(struct pv_timer *t)
{
    pv_pool_serve(PV_CONTAINER_OF(t, struct pv_pool_server, timer));
}

/* ---- channels ---- */

static void lease_drop(struct pv_pool_server *s, struct lease *l)
{
    struct lease **at = &l->channel->leases;
    bool waited = file_waits(l->channel->file);

    if (l->granted)
        pv_pool_release(s->pool, l->channel->file, l->request.want);
    else
        pv_pool_cancel(s->pool, &l->request);
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    l->channel->n_leases--;
    file_tell_waiting(s, l->channel->file, waited);
    free(l);
}

static void lease_refuse(struct pv_pool_server *s, struct lease *l, enum pv_lease_status status,
                         const char *text)
{
    lease_reply(l, status, text);
    lease_drop(s, l);
}

static void channel_close(struct channel *c)
{
    struct pv_pool_server *s = c->s;
    struct channel **at = &s->channels;

    while (c->leases)
        lease_drop(s, c->leases);
    while (c->standbys)
        pv_pool_drop_standby(c->standbys);
    c->file->blocked -= c->blocked;
    pv_loop_del(s->loop, &c->watch);
    pv_close(&c->fd);
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    free(c);
}

struct lease *pv_pool_find_lease(struct channel *c, uint32_t id)
{
    for (struct lease *l = c->leases; l; l = l->next)
        if (l->id == id)
            return l;
    return NULL;
}

static void on_channel(struct pv_watch *w, uint32_t events);

/* Takes fd. -1 with *err: it is closed. */
static int channel_open(struct pv_pool_server *s, struct pv_pool_file *f, int fd, bool forked,
                        struct pv_err *err)
{
    struct channel *c = pv_xcalloc(1, sizeof(*c));

    *c = (struct channel){
        .s = s, .file = f, .fd = fd, .forked = forked, .watch = {.fd = -1, .fn = on_channel}};
    if (pv_loop_add(s->loop, &c->watch, fd, EPOLLIN, err) < 0) {
        pv_close(&c->fd);
        free(c);
        return -1;
    }
    c->next = s->channels;
    s->channels = c;
    return 0;
}

static void channel_acquire(struct channel *c, const struct pv_lease_request *request)
{
    struct lease *l;
    struct standby *b;
    struct pv_err err = PV_ERR_INIT;
    bool waited = file_waits(c->file);

    if (request->standby && (b = pv_pool_find_standby(c, request->standby)) && !b->preempted)
        pv_pool_drop_standby(
            b); /* no request waits (standbys would be preempted), so this one gets its room */
    if (c->n_leases == MAX_LEASES) {
        cleanup_free char *text = pv_xasprintf("this file has %d VMs already", MAX_LEASES);

        pv_pool_reply(c, request->id, PV_LEASE_REFUSED, text);
        return;
    }
    l = pv_xcalloc(1, sizeof(*l));
    *l = (struct lease){.id = request->id,
                        .request = {.file = c->file, .want = {request->memory, request->cpus}},
                        .channel = c,
                        .next = c->leases};
    if (pv_pool_request(c->s->pool, &l->request, &err) < 0) {
        lease_reply(l, pv_pool_fits_alone(c->s->pool, l->request.want) ? PV_LEASE_HELD : PV_LEASE_REFUSED,
                    err.text);
        free(l);
        return;
    }
    c->leases = l;
    c->n_leases++;
    file_tell_waiting(c->s, c->file, waited);
}

static void channel_block(struct channel *c, bool on)
{
    c->blocked += on ? 1 : -1U;
    c->file->blocked += on ? 1 : -1U;
}

static void channel_fork(struct channel *c, int *fd)
{
    unsigned n = 0;

    for (struct channel *i = c->s->channels; i; i = i->next)
        n += i->file == c->file;
    if (*fd >= 0 && n < MAX_CHANNELS)
        channel_open(c->s, c->file, pv_steal_fd(fd), true, NULL);
}

/*
 * Reads no more of the channel.  VMs may outlive the process that acquired their leases for a moment:
 * pv_pool_server_leave releases them.
 */
static void channel_stop(struct channel *c)
{
    c->gone = true;
    pv_loop_del(c->s->loop, &c->watch);
    for (struct lease *l = c->leases, *next; l; l = next) {
        next = l->next;
        if (!l->granted)
            lease_drop(c->s, l);
    }
}

static void channel_hang_up(struct channel *c)
{
    if (c->forked)
        channel_close(c);
    else
        channel_stop(c);
}

static void channel_serve(struct channel *c, const struct pv_lease_request *request, int *fd)
{
    struct standby *b;
    struct lease *l;

    switch ((enum pv_lease_op)request->op) {
    case PV_LEASE_ACQUIRE:
        channel_acquire(c, request);
        break;
    case PV_LEASE_RELEASE:
        if ((l = pv_pool_find_lease(c, request->id)))
            lease_drop(c->s, l);
        else if ((b = pv_pool_find_standby(c, request->id)))
            pv_pool_drop_standby(b);
        break;
    case PV_LEASE_FORK:
        channel_fork(c, fd);
        break;
    case PV_LEASE_TRY_ACQUIRE:
        pv_pool_try_acquire(c, request);
        break;
    case PV_LEASE_CLAIM:
        pv_pool_claim_standby(c, request->id);
        break;
    case PV_LEASE_PREEMPTIBLE:
        pv_pool_set_preemptible(c, request->id, fd);
        break;
    case PV_LEASE_BLOCK:
    case PV_LEASE_UNBLOCK:
        channel_block(c, request->op == PV_LEASE_BLOCK);
        break;
    }
}

/* False when no message is there, or none will come any more. */
static bool channel_read_one(struct channel *c)
{
    struct pv_lease_request request = {0};
    cleanup_close int fd = -1;
    cleanup_free char *fault = NULL;

    switch (pv_pool_receive(c, &request, &fd, &fault)) {
    case POOL_NOTHING:
        return false;
    case POOL_END:
        channel_hang_up(c);
        return false;
    case POOL_INVALID:
        pv_debug("pool", "%s", fault);
        channel_stop(c);
        c->s->o.fail(c->file, fault, c->s->o.arg);
        return false;
    case POOL_REQUEST:
        channel_serve(c, &request, &fd);
        break;
    }
    return true;
}

static void on_channel(struct pv_watch *w, uint32_t events)
{
    struct channel *c = PV_CONTAINER_OF(w, struct channel, watch);
    struct pv_pool_server *s = c->s;

    (void)events;
    for (int i = 0; i < MESSAGES_AT_ONCE && channel_read_one(c); i++)
        ;
    pv_pool_serve(s);
}

/* ---- the server ---- */

struct pv_pool_server *pv_pool_server_new(struct pv_loop *loop, const struct pv_pool_server_opts *o)
{
    struct pv_pool_server *s = pv_xcalloc(1, sizeof(*s));
    struct pv_host h;

    pv_host_measure("", &h);
    s->loop = loop;
    s->o = *o;
    s->timer.fn = on_server_timer;
    s->pool = pv_pool_new(&(struct pv_pool_opts){.memory = o->memory,
                                                 .cpus = o->cpus,
                                                 .most = h.memory > SPARE ? h.memory - SPARE : 0,
                                                 .spare = SPARE,
                                                 .host = h.cpus});
    return s;
}

void pv_pool_server_free(struct pv_pool_server *s)
{
    if (!s)
        return;
    while (s->channels)
        channel_close(s->channels);
    pv_timer_cancel(s->loop, &s->timer);
    pv_pool_free(s->pool);
    free(s);
}

int pv_pool_server_join(struct pv_pool_server *s, struct pv_pool_file *f, struct pv_err *err)
{
    int sv[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
        return pv_err_sys(err, errno, "cannot make a socket pair");
    if (channel_open(s, f, sv[0], false, err) < 0) {
        close(sv[1]);
        return -1;
    }
    return sv[1];
}

void pv_pool_server_leave(struct pv_pool_server *s, struct pv_pool_file *f)
{
    for (struct channel *c = s->channels, *next; c; c = next) {
        next = c->next;
        if (c->file == f)
            channel_close(c);
    }
    pv_pool_leave(s->pool, f);
    pv_pool_serve(s);
}
