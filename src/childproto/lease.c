/* SPDX-License-Identifier: MIT */
#include "childproto/lease.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "childproto/leasemsg.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/sock.h"

struct grant {
    char *vm;
    uint32_t id;
    struct grant *next;
};

/* A request that waits for its reply; on the stack of lease_exchange's caller. */
struct exchange {
    uint32_t id;
    bool done;
    struct pv_lease_reply reply;
    void (*waiting)(const char *text, void *arg);
    void *arg;
    struct pv_lease *l;
    struct exchange *next;
};

struct pv_lease {
    int fd;
    uint32_t last_id;
    struct grant *grants;
    struct pv_watch watch; /* while exchanges is not empty */
    struct exchange *exchanges;
    bool hung_up; /* by the supervisor */
};

static void on_lease_reply(struct pv_watch *w, uint32_t events);

struct pv_lease *pv_lease_new(int fd)
{
    struct pv_lease *l = pv_xcalloc(1, sizeof(*l));

    l->fd = fd;
    l->watch = (struct pv_watch){.fd = -1, .fn = on_lease_reply};
    return l;
}

int pv_lease_fd(const struct pv_lease *l)
{
    return l->fd;
}

void pv_lease_free(struct pv_lease *l)
{
    if (!l)
        return;
    while (l->grants) {
        struct grant *g = l->grants;

        l->grants = g->next;
        free(g->vm);
        free(g);
    }
    pv_close(&l->fd);
    free(l);
}

static int lease_send(struct pv_lease *l, struct pv_lease_request request)
{
    return pv_send(l->fd, &request, sizeof(request), 0) < 0 ? -1 : 0;
}

/* ---- exchanges ---- */

static void lease_take_reply(struct pv_lease *l, const struct pv_lease_reply *a)
{
    for (struct exchange *t = l->exchanges; t; t = t->next) {
        if (t->id != a->id)
            continue;
        t->reply = *a;
        t->reply.text[sizeof(t->reply.text) - 1] = '\0';
        t->done = a->status != PV_LEASE_WAIT;
        if (!t->done && t->waiting)
            t->waiting(t->reply.text, t->arg);
        return;
    }
}

static void on_lease_reply(struct pv_watch *w, uint32_t events)
{
    struct pv_lease *l = PV_CONTAINER_OF(w, struct pv_lease, watch);
    struct pv_lease_reply a;
    ssize_t n;

    (void)events;
    while (!l->hung_up) {
        n = pv_recv(l->fd, &a, sizeof(a));
        if (n < 0 && errno == EAGAIN)
            return;
        if (n == (ssize_t)sizeof(a))
            lease_take_reply(l, &a);
        else
            l->hung_up = true;
    }
}

static bool exchange_done(void *arg)
{
    const struct exchange *t = arg;

    return t->done || t->l->hung_up;
}

/* Sends the request and runs the loop until t->reply is its last reply, or the supervisor is gone: -1. */
static int lease_exchange(struct pv_lease *l, struct pv_loop *loop, struct pv_lease_request request,
                          struct exchange *t, struct pv_err *err)
{
    struct exchange **at = &l->exchanges;
    int r;

    t->l = l;
    t->id = request.id;
    t->next = l->exchanges;
    if (!l->exchanges && pv_loop_add(loop, &l->watch, l->fd, EPOLLIN, err) < 0)
        return -1;
    l->exchanges = t;
    if (lease_send(l, request) < 0)
        l->hung_up = true;
    r = pv_loop_run(loop, exchange_done, t, PV_FOREVER, err);
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    if (!l->exchanges)
        pv_loop_del(loop, &l->watch);
    if (r < 0) {
        lease_send(l, (struct pv_lease_request){.op = PV_LEASE_RELEASE, .id = t->id});
        return -1;
    }
    if (!t->done)
        return pv_err_set(err, PV_E_HOST, "the supervisor, whose pool grants memory, is gone");
    return 0;
}

static struct grant *lease_find_grant(struct pv_lease *l, const char *vm)
{
    for (struct grant *g = l->grants; g; g = g->next)
        if (!strcmp(g->vm, vm))
            return g;
    return NULL;
}

static void lease_forget_grant(struct pv_lease *l, struct grant *g)
{
    struct grant **at = &l->grants;

    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    free(g->vm);
    free(g);
}

static void lease_add_grant(struct pv_lease *l, const char *vm, uint32_t id)
{
    struct grant *g = pv_xcalloc(1, sizeof(*g));

    *g = (struct grant){.vm = pv_xstrdup(vm), .id = id, .next = l->grants};
    l->grants = g;
}

int pv_lease_acquire(struct pv_lease *l, struct pv_loop *loop, const struct pv_lease_want *want,
                     void (*waiting)(const char *text, void *arg), void *arg, struct pv_err *err)
{
    struct exchange t = {.waiting = waiting, .arg = arg};
    struct grant *standby = want->standby ? lease_find_grant(l, want->standby) : NULL;
    struct pv_lease_request request = {
        .op = PV_LEASE_ACQUIRE, .id = ++l->last_id, .memory = want->memory, .cpus = want->cpus};

    if (standby) {
        request.standby = standby->id;
        lease_forget_grant(l, standby);
    }
    if (lease_exchange(l, loop, request, &t, err) < 0)
        return -1;
    if (t.reply.status != PV_LEASE_GRANTED)
        return pv_err_set_at(err, t.reply.status == PV_LEASE_NO_ROOM ? PV_E_MISSING : PV_E_USAGE,
                             t.reply.status == PV_LEASE_HELD ? EBUSY : 0, __FILE__, __LINE__, "%s",
                             t.reply.text);
    lease_add_grant(l, want->vm, request.id);
    return 0;
}

int pv_lease_try_acquire(struct pv_lease *l, struct pv_loop *loop, const struct pv_lease_want *want,
                         struct pv_err *err)
{
    struct exchange t = {0};
    struct pv_lease_request request = {
        .op = PV_LEASE_TRY_ACQUIRE, .id = ++l->last_id, .memory = want->memory, .cpus = want->cpus};

    if (lease_exchange(l, loop, request, &t, err) < 0)
        return -1;
    if (t.reply.status != PV_LEASE_GRANTED)
        return pv_err_set(err, PV_E_USAGE, "%s", t.reply.text);
    lease_add_grant(l, want->vm, request.id);
    return 0;
}

int pv_lease_claim(struct pv_lease *l, struct pv_loop *loop, const char *vm, struct pv_err *err)
{
    struct exchange t = {0};
    struct grant *g = lease_find_grant(l, vm);
    struct pv_lease_request request = {.op = PV_LEASE_CLAIM};

    if (!g)
        return 0;
    request.id = g->id;
    if (lease_exchange(l, loop, request, &t, err) < 0)
        return -1;
    if (t.reply.status != PV_LEASE_GRANTED)
        return pv_err_set(err, PV_E_USAGE, "%s", t.reply.text);
    lease_forget_grant(l, g);
    return 0;
}

void pv_lease_release(struct pv_lease *l, const char *vm)
{
    struct grant *g = lease_find_grant(l, vm);

    if (!g)
        return;
    lease_send(l, (struct pv_lease_request){.op = PV_LEASE_RELEASE, .id = g->id});
    lease_forget_grant(l, g);
}

void pv_lease_block(struct pv_lease *l, bool blocked)
{
    lease_send(l, (struct pv_lease_request){.op = blocked ? PV_LEASE_BLOCK : PV_LEASE_UNBLOCK});
}

/* 0, or -1 with errno. */
static int lease_send_fd(struct pv_lease *l, struct pv_lease_request request, int fd)
{
    struct iovec iov = {&request, sizeof(request)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    return pv_sendmsg(l->fd, &msg, 0) < 0 ? -1 : 0;
}

void pv_lease_preemptible(struct pv_lease *l, const char *vm, int pidfd)
{
    const struct grant *g = lease_find_grant(l, vm);

    if (g)
        lease_send_fd(l, (struct pv_lease_request){.op = PV_LEASE_PREEMPTIBLE, .id = g->id}, pidfd);
}

struct pv_lease *pv_lease_fork(struct pv_lease *l, struct pv_err *err)
{
    int sv[2], e, r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0) {
        pv_err_sys(err, errno, "cannot make a socket pair");
        return NULL;
    }
    r = lease_send_fd(l, (struct pv_lease_request){.op = PV_LEASE_FORK}, sv[1]);
    e = errno;
    close(sv[1]);
    if (r < 0) {
        close(sv[0]);
        pv_err_sys(err, e, "cannot reach the supervisor, whose pool grants memory");
        return NULL;
    }
    return pv_lease_new(sv[0]);
}
