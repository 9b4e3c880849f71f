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

struct grant {
    char *vm;
    uint32_t id;
    struct grant *next;
};

/* A question that is not answered yet. */
struct taking {
    uint32_t id;
    bool done;
    struct pv_lease_answer answer;
    void (*waiting)(const char *text, void *arg);
    void *arg;
    struct pv_lease *l;
    struct taking *next;
};

struct pv_lease {
    int fd;
    uint32_t last_id;
    struct grant *grants;
    struct pv_watch watch; /* while something is to be answered */
    struct taking *takings;
    bool gone; /* the supervisor is */
};

static void on_answer(struct pv_watch *w, uint32_t events);

struct pv_lease *pv_lease_new(int fd)
{
    struct pv_lease *l = pv_xcalloc(1, sizeof(*l));

    l->fd = fd;
    l->watch = (struct pv_watch){.fd = -1, .fn = on_answer};
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

static int say(struct pv_lease *l, struct pv_lease_ask ask)
{
    ssize_t n;

    do
        n = send(l->fd, &ask, sizeof(ask), MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

/* ---- taking ---- */

static void take_answer(struct pv_lease *l, const struct pv_lease_answer *a)
{
    for (struct taking *t = l->takings; t; t = t->next) {
        if (t->id != a->id)
            continue;
        t->answer = *a;
        t->answer.text[sizeof(t->answer.text) - 1] = '\0';
        t->done = a->reply != PV_LEASE_WAIT;
        if (!t->done && t->waiting)
            t->waiting(t->answer.text, t->arg);
        return;
    }
}

static void on_answer(struct pv_watch *w, uint32_t events)
{
    struct pv_lease *l = PV_CONTAINER_OF(w, struct pv_lease, watch);
    struct pv_lease_answer a;
    ssize_t n;

    (void)events;
    while (!l->gone) {
        n = recv(l->fd, &a, sizeof(a), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n == (ssize_t)sizeof(a))
            take_answer(l, &a);
        else
            l->gone = true;
    }
}

static bool answered(void *arg)
{
    const struct taking *t = arg;

    return t->done || t->l->gone;
}

/* Sends `ask` and waits for the answer to it: 0, t->answer; -1. */
static int inquire(struct pv_lease *l, struct pv_loop *loop, struct pv_lease_ask ask, struct taking *t,
                   struct pv_err *err)
{
    struct taking **at = &l->takings;
    int r;

    t->l = l;
    t->id = ask.id;
    t->next = l->takings;
    if (!l->takings && pv_loop_add(loop, &l->watch, l->fd, EPOLLIN, err) < 0)
        return -1;
    l->takings = t;
    if (say(l, ask) < 0)
        l->gone = true;
    r = pv_loop_run(loop, answered, t, PV_FOREVER, err);
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    if (!l->takings)
        pv_loop_del(loop, &l->watch);
    if (r < 0) {
        say(l, (struct pv_lease_ask){.op = PV_LEASE_GIVE, .id = t->id});
        return -1;
    }
    if (!t->done)
        return pv_err_set(err, PV_E_HOST, "the supervisor, which hands out memory, is gone");
    return 0;
}

static struct grant *find_grant(struct pv_lease *l, const char *vm)
{
    for (struct grant *g = l->grants; g; g = g->next)
        if (!strcmp(g->vm, vm))
            return g;
    return NULL;
}

static void forget_grant(struct pv_lease *l, struct grant *g)
{
    struct grant **at = &l->grants;

    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    free(g->vm);
    free(g);
}

static void add_grant(struct pv_lease *l, const char *vm, uint32_t id)
{
    struct grant *g = pv_xcalloc(1, sizeof(*g));

    *g = (struct grant){.vm = pv_xstrdup(vm), .id = id, .next = l->grants};
    l->grants = g;
}

int pv_lease_take(struct pv_lease *l, struct pv_loop *loop, const struct pv_lease_want *want,
                  void (*waiting)(const char *text, void *arg), void *arg, struct pv_err *err)
{
    struct taking t = {.waiting = waiting, .arg = arg};
    struct grant *standby = want->standby ? find_grant(l, want->standby) : NULL;
    struct pv_lease_ask ask = {
        .op = PV_LEASE_TAKE, .id = ++l->last_id, .memory = want->memory, .cpus = want->cpus};

    if (standby) {
        ask.standby = standby->id;
        forget_grant(l, standby);
    }
    if (inquire(l, loop, ask, &t, err) < 0)
        return -1;
    if (t.answer.reply != PV_LEASE_GRANTED)
        return pv_err_set(err, t.answer.reply == PV_LEASE_NO_ROOM ? PV_E_MISSING : PV_E_USAGE, "%s",
                          t.answer.text);
    add_grant(l, want->vm, ask.id);
    return 0;
}

int pv_lease_standby(struct pv_lease *l, struct pv_loop *loop, const struct pv_lease_want *want,
                     struct pv_err *err)
{
    struct taking t = {0};
    struct pv_lease_ask ask = {
        .op = PV_LEASE_STANDBY, .id = ++l->last_id, .memory = want->memory, .cpus = want->cpus};

    if (inquire(l, loop, ask, &t, err) < 0)
        return -1;
    if (t.answer.reply != PV_LEASE_GRANTED)
        return pv_err_set(err, PV_E_USAGE, "%s", t.answer.text);
    add_grant(l, want->vm, ask.id);
    return 0;
}

int pv_lease_claim(struct pv_lease *l, struct pv_loop *loop, const char *vm, struct pv_err *err)
{
    struct taking t = {0};
    struct grant *g = find_grant(l, vm);
    struct pv_lease_ask ask = {.op = PV_LEASE_CLAIM};

    if (!g)
        return 0;
    ask.id = g->id;
    if (inquire(l, loop, ask, &t, err) < 0)
        return -1;
    if (t.answer.reply != PV_LEASE_GRANTED)
        return pv_err_set(err, PV_E_USAGE, "%s", t.answer.text);
    forget_grant(l, g);
    return 0;
}

void pv_lease_give(struct pv_lease *l, const char *vm)
{
    struct grant *g = find_grant(l, vm);

    if (!g)
        return;
    say(l, (struct pv_lease_ask){.op = PV_LEASE_GIVE, .id = g->id});
    forget_grant(l, g);
}

void pv_lease_block(struct pv_lease *l, bool blocked)
{
    say(l, (struct pv_lease_ask){.op = blocked ? PV_LEASE_BLOCK : PV_LEASE_UNBLOCK});
}

/* 0, or -1 with errno. */
static int say_with_fd(struct pv_lease *l, struct pv_lease_ask ask, int fd)
{
    struct iovec iov = {&ask, sizeof(ask)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    ssize_t n;

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    do
        n = sendmsg(l->fd, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

void pv_lease_process(struct pv_lease *l, const char *vm, int pidfd)
{
    const struct grant *g = find_grant(l, vm);

    if (g)
        say_with_fd(l, (struct pv_lease_ask){.op = PV_LEASE_PROCESS, .id = g->id}, pidfd);
}

struct pv_lease *pv_lease_fork(struct pv_lease *l, struct pv_err *err)
{
    int sv[2], e, r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0) {
        pv_err_sys(err, errno, "cannot make a socket pair");
        return NULL;
    }
    r = say_with_fd(l, (struct pv_lease_ask){.op = PV_LEASE_FORK}, sv[1]);
    e = errno;
    close(sv[1]);
    if (r < 0) {
        close(sv[0]);
        pv_err_sys(err, e, "cannot reach the supervisor, which hands out memory");
        return NULL;
    }
    return pv_lease_new(sv[0]);
}
