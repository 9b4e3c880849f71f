/* SPDX-License-Identifier: MIT */
#include "runner/lease.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "runner/leasemsg.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

struct grant {
    char *vm;
    uint32_t id;
    struct grant *next;
};

struct pv_lease {
    int fd;
    uint32_t last_id;
    struct grant *grants;
};

struct pv_lease *pv_lease_new(int fd)
{
    struct pv_lease *l = pv_xcalloc(1, sizeof(*l));

    l->fd = fd;
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

struct taking {
    struct pv_watch watch;
    uint32_t id;
    bool done, gone;
    struct pv_lease_answer answer;
    void (*waiting)(const char *text, void *arg);
    void *arg;
};

static void on_answer(struct pv_watch *w, uint32_t events)
{
    struct taking *t = PV_CONTAINER_OF(w, struct taking, watch);
    ssize_t n;

    (void)events;
    while (!t->done && !t->gone) {
        n = recv(w->fd, &t->answer, sizeof(t->answer), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n != (ssize_t)sizeof(t->answer)) {
            t->gone = true;
            return;
        }
        t->answer.text[sizeof(t->answer.text) - 1] = '\0';
        if (t->answer.id != t->id)
            continue;
        if (t->answer.reply != PV_LEASE_WAIT)
            t->done = true;
        else if (t->waiting)
            t->waiting(t->answer.text, t->arg);
    }
}

static bool answered(void *arg)
{
    const struct taking *t = arg;

    return t->done || t->gone;
}

int pv_lease_take(struct pv_lease *l, struct pv_loop *loop, const char *vm, uint64_t memory, unsigned cpus,
                  void (*waiting)(const char *text, void *arg), void *arg, struct pv_err *err)
{
    struct taking t = {
        .watch = {.fd = -1, .fn = on_answer}, .id = ++l->last_id, .waiting = waiting, .arg = arg};
    struct grant *g;
    int r;

    if (pv_loop_add(loop, &t.watch, l->fd, EPOLLIN, err) < 0)
        return -1;
    if (say(l, (struct pv_lease_ask){.op = PV_LEASE_TAKE, .id = t.id, .memory = memory, .cpus = cpus}) < 0)
        t.gone = true;
    r = pv_loop_run(loop, answered, &t, PV_FOREVER, err);
    pv_loop_del(loop, &t.watch);
    if (r < 0) {
        say(l, (struct pv_lease_ask){.op = PV_LEASE_GIVE, .id = t.id});
        return -1;
    }
    if (t.gone)
        return pv_err_set(err, PV_E_HOST, "the supervisor, which hands out memory, is gone");
    if (t.answer.reply != PV_LEASE_GRANTED)
        return pv_err_set(err, t.answer.reply == PV_LEASE_NO_ROOM ? PV_E_MISSING : PV_E_USAGE, "%s",
                          t.answer.text);
    g = pv_xcalloc(1, sizeof(*g));
    *g = (struct grant){.vm = pv_xstrdup(vm), .id = t.id, .next = l->grants};
    l->grants = g;
    return 0;
}

void pv_lease_give(struct pv_lease *l, const char *vm)
{
    for (struct grant **at = &l->grants; *at; at = &(*at)->next) {
        struct grant *g = *at;

        if (strcmp(g->vm, vm) != 0)
            continue;
        say(l, (struct pv_lease_ask){.op = PV_LEASE_GIVE, .id = g->id});
        *at = g->next;
        free(g->vm);
        free(g);
        return;
    }
}

void pv_lease_block(struct pv_lease *l, bool blocked)
{
    say(l, (struct pv_lease_ask){.op = blocked ? PV_LEASE_BLOCK : PV_LEASE_UNBLOCK});
}

struct pv_lease *pv_lease_fork(struct pv_lease *l, struct pv_err *err)
{
    struct pv_lease_ask ask = {.op = PV_LEASE_FORK};
    struct iovec iov = {&ask, sizeof(ask)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    int sv[2], e;
    ssize_t n;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0) {
        pv_err_sys(err, errno, "cannot make a socket pair");
        return NULL;
    }
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &sv[1], sizeof(int));
    do
        n = sendmsg(l->fd, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    e = errno;
    close(sv[1]);
    if (n < 0) {
        close(sv[0]);
        pv_err_sys(err, e, "cannot reach the supervisor, which hands out memory");
        return NULL;
    }
    return pv_lease_new(sv[0]);
}
