/* SPDX-License-Identifier: MIT */
#include "child/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/sock.h"

/* MESSAGES_AT_ONCE: other watches of the loop get their turn between so many messages. */
enum { MESSAGES_AT_ONCE = 64, FDS_MAX = 8, PLACE_BASE = PV_CHILD_FDS + FDS_MAX };

/*
 * Limits of each drain after the exit: a process that left the group may hold the other end and go on writing.
 * A socket or pipe holds less than REST_PIECES at the exit, and these come however slow this process is.
 */
enum { REST_PIECES = 1024, REST_BYTES = 16 << 20 };
#define REST_TIME (PV_NSEC_PER_SEC / 2)

/* ---- in the child ---- */

/* The part of the parent's stack that the child uses. */
struct child_start {
    const struct pv_child_opts *o;
    int sock, out; /* the child's ends; out: -1 without capture */
    pid_t parent;
};

/* out: where the parent looks for output, or standard error. */
static _Noreturn void child_end_unplaced(int out)
{
    dprintf(out >= 0 ? out : 2, "provium: cannot move the descriptors of a new process: %s\n",
            strerror(errno));
    _exit(126);
}

/* Moves the descriptors to 0, 1, 2, PV_CHILD_SOCK, PV_CHILD_FDS... and closes all others. */
static void child_place_fds(const struct child_start *st)
{
    const struct pv_child_opts *o = st->o;
    int from[PV_CHILD_FDS + FDS_MAX], n = PV_CHILD_FDS + (int)o->n_fds,
                                      first = o->capture ? 0 : PV_CHILD_SOCK;

    if (o->capture) {
        from[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (from[0] < 0)
            child_end_unplaced(st->out); /* with the errno of the cause */
        from[1] = from[2] = st->out;
    }
    from[PV_CHILD_SOCK] = st->sock;
    for (size_t i = 0; i < o->n_fds; i++)
        from[PV_CHILD_FDS + i] = o->fds[i];
    /* Out of the way first: a descriptor may have a number that is another's place. */
    for (int i = first; i < n; i++)
        if ((i < PV_CHILD_FDS || from[i] >= 0) && (from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, PLACE_BASE)) < 0)
            child_end_unplaced(st->out);
    for (int i = first; i < n; i++) {
        if (from[i] < 0)
            close(i);
        else if (dup3(from[i], i, i >= PV_CHILD_SOCK ? O_CLOEXEC : 0) < 0)
            child_end_unplaced(o->capture ? from[1] : 2);
    }
    syscall(SYS_close_range, (unsigned)n, ~0U, 0);
}

static _Noreturn void child_main(const struct child_start *st)
{
    const struct pv_child_opts *o = st->o;
    struct sigaction sa = {.sa_handler = o->on_term ? o->on_term : SIG_DFL};
    int death = o->on_term ? SIGTERM : SIGKILL;
    sigset_t none;

    if (o->own_group)
        setpgid(0, 0);
    child_place_fds(st);
    sigaction(SIGTERM, &sa, NULL);
    prctl(PR_SET_PDEATHSIG, death);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A parent that died before the prctl sends no signal. */
    if (getppid() != st->parent)
        raise(death);
    o->main(o->arg);
    fflush(NULL);
    _exit(0);
}

/* ---- in the parent ---- */

static void child_close_sock(struct pv_child *c)
{
    pv_loop_del(c->loop, &c->sock_watch);
    pv_close(&c->sock);
}

static void child_close_out(struct pv_child *c)
{
    pv_loop_del(c->loop, &c->out_watch);
    pv_close(&c->out);
}

/* Delivers one message. Its length, or -1 when there is none; at the end of the socket, closes it. */
static ssize_t child_take_message(struct pv_child *c)
{
    unsigned char buf[PV_CHILD_MESSAGE_MAX + 1];
    ssize_t n;

    if (c->sock < 0)
        return -1;
    n = pv_recv(c->sock, buf, sizeof(buf));
    if (n < 0 && errno == EAGAIN)
        return -1;
    if (n < 0 || (n == 0 && pv_sock_has_ended(c->sock))) {
        child_close_sock(c);
        return -1;
    }
    c->ops->message(c, buf, (size_t)n);
    return n;
}

/* The same for a piece of the output. */
static ssize_t child_take_output(struct pv_child *c)
{
    char buf[16384];
    ssize_t n;

    if (c->out < 0)
        return -1;
    do
        n = read(c->out, buf, sizeof(buf));
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return -1;
    if (n <= 0) {
        child_close_out(c);
        return -1;
    }
    c->ops->output(c, buf, (size_t)n);
    return n;
}

void pv_child_drain(struct pv_child *c, int most)
{
    while (most-- > 0 && child_take_message(c) >= 0)
        ;
}

void pv_child_hold(struct pv_child *c, bool on)
{
    if (c->sock >= 0)
        pv_loop_set(c->loop, &c->sock_watch, on ? 0 : EPOLLIN);
    if (c->out >= 0)
        pv_loop_set(c->loop, &c->out_watch, on ? 0 : EPOLLIN);
}

static void on_child_sock(struct pv_watch *w, uint32_t events)
{
    (void)events;
    pv_child_drain(PV_CONTAINER_OF(w, struct pv_child, sock_watch), MESSAGES_AT_ONCE);
}

static void on_child_out(struct pv_watch *w, uint32_t events)
{
    struct pv_child *c = PV_CONTAINER_OF(w, struct pv_child, out_watch);

    (void)events;
    for (int i = 0; i < MESSAGES_AT_ONCE && child_take_output(c) >= 0; i++)
        ;
}

/* Returns the child's wait status. Blocks until the kernel has ended the child. */
static int child_reap(struct pv_child *c)
{
    int status = 0;

    if (c->own_group)
        kill(-c->pid, SIGKILL);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
    pv_loop_del(c->loop, &c->proc_watch);
    pv_close(&c->pidfd);
    return status;
}

static void child_take_rest(struct pv_child *c, ssize_t (*take_one)(struct pv_child *c))
{
    int64_t until = pv_deadline(REST_TIME);
    ssize_t bytes = 0, n;

    for (int i = 0; bytes < REST_BYTES && (i < REST_PIECES || pv_now() < until); i++) {
        if ((n = take_one(c)) < 0)
            return;
        bytes += n;
    }
}

/* Delivers the messages and the output of a child that was reaped, then closes their descriptors. */
static void child_drain_rest(struct pv_child *c)
{
    child_take_rest(c, child_take_message);
    child_take_rest(c, child_take_output);
    child_close_sock(c);
    child_close_out(c);
}

static void on_child_exit(struct pv_watch *w, uint32_t events)
{
    struct pv_child *c = PV_CONTAINER_OF(w, struct pv_child, proc_watch);
    int status = child_reap(c);

    (void)events;
    child_drain_rest(c);
    c->ops->exit(c, status);
}

/* The descriptors at both ends of the socket and of the output pipe; -1: none. */
struct child_ends {
    int sock[2], out[2];
};

static void child_close_ends(struct child_ends *e)
{
    for (int i = 0; i < 2; i++) {
        pv_close(&e->sock[i]);
        pv_close(&e->out[i]);
    }
}

static int child_open_ends(struct child_ends *e, bool capture, struct pv_err *err)
{
    *e = (struct child_ends){{-1, -1}, {-1, -1}};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, e->sock) < 0)
        return pv_err_sys(err, errno, "cannot make a socket pair");
    if (capture && pipe2(e->out, O_CLOEXEC) < 0) {
        pv_err_sys(err, errno, "cannot make a pipe");
        child_close_ends(e);
        return -1;
    }
    return 0;
}

static int child_watch(struct pv_child *c, struct pv_err *err)
{
    c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    if (c->pidfd < 0)
        return pv_err_sys(err, errno, "cannot open a pidfd (Linux 5.3 or newer is needed)");
    if (c->out >= 0 && pv_set_nonblocking(c->out) < 0)
        return pv_err_sys(err, errno, "cannot make a pipe non-blocking");
    if (pv_loop_add(c->loop, &c->proc_watch, c->pidfd, EPOLLIN, err) < 0 ||
        pv_loop_add(c->loop, &c->sock_watch, c->sock, EPOLLIN, err) < 0 ||
        (c->out >= 0 && pv_loop_add(c->loop, &c->out_watch, c->out, EPOLLIN, err) < 0))
        return -1;
    return 0;
}

int pv_child_start(struct pv_child *c, struct pv_loop *loop, const struct pv_child_opts *o,
                   struct pv_err *err)
{
    struct child_ends ends;
    pid_t parent = getpid();

    assert(o->n_fds <= FDS_MAX);
    *c = (struct pv_child){.loop = loop,
                           .ops = o->ops,
                           .own_group = o->own_group,
                           .pidfd = -1,
                           .sock = -1,
                           .out = -1,
                           .proc_watch = {.fd = -1, .fn = on_child_exit},
                           .sock_watch = {.fd = -1, .fn = on_child_sock},
                           .out_watch = {.fd = -1, .fn = on_child_out}};
    if (child_open_ends(&ends, o->capture, err) < 0)
        return -1;
    fflush(NULL); /* else the child would write it again */
    c->pid = fork();
    if (c->pid == 0)
        child_main(&(struct child_start){o, ends.sock[1], ends.out[1], parent});
    if (c->pid < 0) {
        c->pid = 0;
        pv_err_sys(err, errno, "cannot fork");
        child_close_ends(&ends);
        return -1;
    }
    c->sock = ends.sock[0];
    c->out = ends.out[0];
    ends.sock[0] = ends.out[0] = -1; /* c owns them now */
    child_close_ends(&ends);
    if (o->own_group)
        setpgid(c->pid, c->pid); /* here and in the child: a signal must find the group at once */
    if (child_watch(c, err) == 0)
        return 0;
    kill(c->pid, SIGKILL);
    child_reap(c);
    child_close_sock(c);
    child_close_out(c);
    return -1;
}

void pv_child_term(struct pv_child *c)
{
    if (c->pid > 0)
        kill(c->pid, SIGTERM);
}

void pv_child_kill(struct pv_child *c)
{
    if (c->pid > 0)
        kill(c->own_group ? -c->pid : c->pid, SIGKILL);
}

void pv_child_end(struct pv_child *c)
{
    if (c->pid > 0) {
        pv_child_kill(c);
        child_reap(c);
    }
    if (c->loop)
        child_drain_rest(c);
}

void pv_child_plain_name(char *name)
{
    for (; *name; name++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", *name))
            *name = '_';
}
