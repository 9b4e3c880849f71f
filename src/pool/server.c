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

/* What stays free of the host's memory without --mem (SPEC 6). */
#define SPARE (UINT64_C(1536) << 20)
#define LOOK_AGAIN (PV_NSEC_PER_SEC / 4)
/* A host is full for a while because others use it; so files wait this long before something is done. */
#define STUCK_LIMIT (5 * PV_NSEC_PER_SEC)
#define HOPELESS_LIMIT (30 * PV_NSEC_PER_SEC)

/* Of what one process can have at once; more is not a test but an accident. */
enum { MAX_LEASES = 512, MAX_CHANNELS = 32, MESSAGES_AT_ONCE = 64 };

void pv_pool_answer(const struct channel *c, uint32_t id, enum pv_lease_status reply, const char *text)
{
    struct pv_lease_reply a = {.reply = reply, .id = id};

    snprintf(a.text, sizeof(a.text), "%s", text);
    /* A client that does not read is stuck or stopped; it has asked for little and misses only texts. */
    while (send(c->fd, &a, sizeof(a), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EINTR)
        ;
}

static void answer(const struct lease *l, enum pv_lease_status reply, const char *text)
{
    pv_pool_answer(l->channel, l->id, reply, text);
}

/* ---- serving ---- */

static bool has_waiting(const struct pv_pool_file *f)
{
    return f->waiting > 0;
}

static void told_waiting(struct pv_pool_server *s, struct pv_pool_file *f, bool did)
{
    if (has_waiting(f) != did && s->o.waits)
        s->o.waits(f, has_waiting(f), s->o.arg);
}

/* What VMs may take: what is there, without the spare, and without what has been granted and not touched yet.
 */
void pv_pool_measure(struct pv_pool_server *s)
{
    struct pv_host h;
    uint64_t kept = SPARE;

    if (!pv_pool_is_free(s->pool))
        return;
    pv_host_measure("", &h);
    for (struct channel *c = s->channels; c; c = c->next) {
        struct channel *before = s->channels;
        uint64_t used;

        while (before != c && before->file != c->file)
            before = before->next;
        if (before != c || !c->file->held.memory) /* counted with its other channel */
            continue;
        used = s->o.used ? s->o.used(c->file, s->o.arg) : 0;
        if (used < c->file->held.memory)
            kept += c->file->held.memory - used;
    }
    pv_pool_set_room(s->pool, h.available > kept ? h.available - kept : 0);
}

static void restart_stuck(struct pv_pool_server *s)
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

static void refuse(struct pv_pool_server *s, struct lease *l, enum pv_lease_status reply, const char *text);

static struct lease *lease_of(const struct pv_pool_request *r)
{
    return PV_CONTAINER_OF(r, struct lease, request);
}

/* Nobody of this run can make room for it, and the host has had none for long. */
static void refuse_hopeless(struct pv_pool_server *s)
{
    struct pv_pool_request *r = pv_pool_hopeless(s->pool);
    char text[PV_POOL_TEXT];
    cleanup_free char *why = NULL;

    if (r != s->hopeless)
        s->hopeless_since = pv_now();
    s->hopeless = r;
    if (!r || pv_now() - s->hopeless_since < HOPELESS_LIMIT)
        return;
    pv_pool_wait_text(s->pool, r, text);
    why =
        pv_xasprintf("%s: for 30 s there was no room, and no VM of another file holds any; --mem SIZE sets a "
                     "budget instead",
                     text);
    s->hopeless = NULL;
    refuse(s, lease_of(r), PV_LEASE_NO_ROOM, why);
}

static void tell_waiting(struct pv_pool_server *s)
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
            answer(l, PV_LEASE_WAIT, text);
        }
}

void pv_pool_serve(struct pv_pool_server *s)
{
    struct pv_pool_request *r;

    if (pv_pool_waits(s->pool))
        pv_pool_measure(s);
    while ((r = pv_pool_next(s->pool))) {
        struct lease *l = lease_of(r);

        l->granted = true;
        pv_debug("pool", "granted %llu MiB, %u CPUs", (unsigned long long)(r->want.memory >> 20),
                 r->want.cpus);
        answer(l, PV_LEASE_GRANTED, "");
        told_waiting(s, r->file, true);
    }
    if (!pv_pool_waits(s->pool)) {
        s->stuck_since = 0;
        s->hopeless = NULL;
        pv_timer_cancel(s->loop, &s->timer);
        return;
    }
    tell_waiting(s);
    if (!pv_pool_revoke_standbys(s)) { /* else there will be more in a moment */
        restart_stuck(s);
        refuse_hopeless(s);
    }
    if (pv_pool_is_free(s->pool))
        pv_timer_arm(s->loop, &s->timer, pv_deadline(LOOK_AGAIN));
}

static void on_timer(struct pv_timer *t)
{
    pv_pool_serve(PV_CONTAINER_OF(t, struct pv_pool_server, timer));
}

/* ---- channels ---- */

static void drop_lease(struct pv_pool_server *s, struct lease *l)
{
    struct lease **at = &l->channel->leases;
    bool waited = has_waiting(l->channel->file);

    if (l->granted)
        pv_pool_give(s->pool, l->channel->file, l->request.want);
    else
        pv_pool_drop(s->pool, &l->request);
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    l->channel->n_leases--;
    told_waiting(s, l->channel->file, waited);
    free(l);
}

static void refuse(struct pv_pool_server *s, struct lease *l, enum pv_lease_status reply, const char *text)
{
    answer(l, reply, text);
    drop_lease(s, l);
}

static void close_channel(struct channel *c)
{
    struct pv_pool_server *s = c->s;
    struct channel **at = &s->channels;

    while (c->leases)
        drop_lease(s, c->leases);
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

/* Takes fd. */
static int open_channel(struct pv_pool_server *s, struct pv_pool_file *f, int fd, bool forked,
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

static void take(struct channel *c, const struct pv_lease_request *ask)
{
    struct lease *l;
    struct standby *b;
    struct pv_err err = PV_ERR_INIT;
    bool waited = has_waiting(c->file);

    if (pv_pool_find_lease(c, ask->id)) /* no client of ours does that */
        return;
    if (ask->standby && (b = pv_pool_find_standby(c, ask->standby)) && !b->revoked)
        pv_pool_drop_standby(b); /* nobody waits, so what it had is there for this request */
    if (c->n_leases == MAX_LEASES) {
        cleanup_free char *text = pv_xasprintf("this file has %d VMs already", MAX_LEASES);

        pv_pool_answer(c, ask->id, PV_LEASE_REFUSED, text);
        return;
    }
    l = pv_xcalloc(1, sizeof(*l));
    *l = (struct lease){.id = ask->id,
                        .request = {.file = c->file, .want = {ask->memory, ask->cpus}},
                        .channel = c,
                        .next = c->leases};
    if (pv_pool_ask(c->s->pool, &l->request, &err) < 0) {
        answer(l, PV_LEASE_REFUSED, err.text);
        free(l);
        return;
    }
    c->leases = l;
    c->n_leases++;
    told_waiting(c->s, c->file, waited);
}

static void block(struct channel *c, bool on)
{
    if (!on && c->blocked) {
        c->blocked--;
        c->file->blocked--;
    } else if (on && c->blocked < MAX_LEASES) {
        c->blocked++;
        c->file->blocked++;
    }
}

static void add_channel(struct channel *c, int *fd)
{
    unsigned n = 0;

    for (struct channel *i = c->s->channels; i; i = i->next)
        n += i->file == c->file;
    if (*fd >= 0 && n < MAX_CHANNELS)
        open_channel(c->s, c->file, pv_steal_fd(fd), true, NULL);
}

/* The only descriptors that are taken are those of FORK and PROCESS; others are closed. */
static ssize_t receive(struct channel *c, struct pv_lease_request *ask, int *fd)
{
    struct iovec iov = {ask, sizeof(*ask)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *cm = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;

    if (cm && cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS &&
        cm->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(fd, CMSG_DATA(cm), sizeof(int));
    return n;
}

/* The process ended; the VMs of a file's own process are known to be gone when the supervisor has reaped it.
 */
static void hang_up(struct channel *c)
{
    if (c->forked) {
        close_channel(c);
        return;
    }
    c->gone = true;
    pv_loop_del(c->s->loop, &c->watch);
    for (struct lease *l = c->leases, *next; l; l = next) {
        next = l->next;
        if (!l->granted)
            drop_lease(c->s, l);
    }
}

/* False once there is nothing more to come. */
static bool one_message(struct channel *c)
{
    struct pv_lease_request ask = {0};
    cleanup_close int fd = -1;
    struct standby *b;
    struct lease *l;
    ssize_t n = receive(c, &ask, &fd);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return errno == EINTR;
    if (n <= 0) {
        hang_up(c);
        return false;
    }
    if (n != (ssize_t)sizeof(ask))
        return true;
    switch (ask.op) {
    case PV_LEASE_ACQUIRE:
        take(c, &ask);
        break;
    case PV_LEASE_RELEASE:
        if ((l = pv_pool_find_lease(c, ask.id)))
            drop_lease(c->s, l);
        else if ((b = pv_pool_find_standby(c, ask.id)))
            pv_pool_drop_standby(b);
        break;
    case PV_LEASE_FORK:
        add_channel(c, &fd);
        break;
    case PV_LEASE_TRY_ACQUIRE:
        pv_pool_stand_by(c, &ask);
        break;
    case PV_LEASE_CLAIM:
        pv_pool_claim_standby(c, ask.id);
        break;
    case PV_LEASE_PREEMPTIBLE:
        pv_pool_standby_process(c, ask.id, &fd);
        break;
    case PV_LEASE_BLOCK:
    case PV_LEASE_UNBLOCK:
        block(c, ask.op == PV_LEASE_BLOCK);
        break;
    default: /* its memory is corrupt; whatever it meant */
        break;
    }
    return true;
}

static void on_channel(struct pv_watch *w, uint32_t events)
{
    struct channel *c = PV_CONTAINER_OF(w, struct channel, watch);
    struct pv_pool_server *s = c->s;

    (void)events;
    for (int i = 0; i < MESSAGES_AT_ONCE && one_message(c); i++)
        ;
    pv_pool_serve(s);
}

/* ---- */

struct pv_pool_server *pv_pool_server_new(struct pv_loop *loop, const struct pv_pool_server_opts *o)
{
    struct pv_pool_server *s = pv_xcalloc(1, sizeof(*s));
    struct pv_host h;

    pv_host_measure("", &h);
    s->loop = loop;
    s->o = *o;
    s->timer.fn = on_timer;
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
        close_channel(s->channels);
    pv_timer_cancel(s->loop, &s->timer);
    pv_pool_free(s->pool);
    free(s);
}

int pv_pool_server_join(struct pv_pool_server *s, struct pv_pool_file *f, struct pv_err *err)
{
    int sv[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
        return pv_err_sys(err, errno, "cannot make a socket pair");
    if (open_channel(s, f, sv[0], false, err) < 0) {
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
            close_channel(c);
    }
    pv_pool_leave(s->pool, f);
    pv_pool_serve(s);
}
