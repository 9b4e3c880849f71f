/* SPDX-License-Identifier: MIT */
/*
 * The supervisor where there is no vsock: it is the multiplexer of the one port, too, because only it knows
 * what a QUIESCE has to wait for, and a session costs no message to anybody else.  It still does nothing that
 * may block.
 *
 * What runs on behalf of a session (itself, its workers, the keepers of its commands and jobs) inherits the
 * writing end of the session's own pipe; the reading end tells when the last of them has gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mux.h"
#include "serve.h"
#include "session.h"
#include "table.h"
#include "util.h"

enum { FAMILIES_MAX = 128, PENDING_MAX = 128, PENDING_MS = 10000, OFF_MS_MAX = 50, SOCKET_BUFFER = 1 << 20 };

struct family {
    pid_t pid; /* of the session; 0: free */
    int life_fd;
};

struct pending {
    uint32_t port; /* 0: free */
    int fd;
    int64_t due;
};

struct sup {
    struct ag_mux mux;
    struct ag_world *w;
    int ctl_fd;
    bool socket; /* the port is one: a test on the host */
    struct family family[FAMILIES_MAX];
    struct pending pending[PENDING_MAX];
    struct {
        pid_t pid; /* 0: there is none */
        int fd;
        bool tried;
    } spare;
    unsigned off_ms;
};

static bool socket_pair(int type, int p[2])
{
    const int size = SOCKET_BUFFER;

    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, p) < 0)
        return false;
    for (int i = 0; i < 2 && type != SOCK_SEQPACKET; i++) {
        fcntl(p[i], F_SETFL, O_NONBLOCK);
        if (setsockopt(p[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
            setsockopt(p[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
    return true;
}

/* ---- sessions ---- */

static void in_child(struct sup *s)
{
    ag_mux_forget(&s->mux);
    close(s->ctl_fd);
    for (size_t i = 0; i < FAMILIES_MAX; i++)
        if (s->family[i].pid)
            close(s->family[i].life_fd);
    for (size_t i = 0; i < PENDING_MAX; i++)
        if (s->pending[i].port)
            close(s->pending[i].fd);
    if (s->spare.pid)
        close(s->spare.fd);
}

static pid_t fork_session(struct sup *s, const int sock[2], const int life[2])
{
    struct ag_slot *slot = s->w->table ? ag_table_take(s->w->table) : NULL;

    if (!slot) {
        errno = EAGAIN;
        return -1;
    }
    pid_t pid = fork();

    if (pid == 0) {
        in_child(s);
        close(sock[0]);
        close(life[0]);
        s->w->life_fd = life[1];
        ag_session_main(sock[1], s->w);
    }
    if (pid < 0) {
        ag_slot_end(slot, 0);
        return -1;
    }
    slot->pid = pid;
    slot->session = true;
    return pid;
}

/* A new session: our end of its socket, and its pid; -1 with errno. */
static int new_session(struct sup *s, pid_t *pid)
{
    int sock[2] = {-1, -1}, life[2] = {-1, -1}, e;
    struct family *f = s->family;

    while (f < s->family + FAMILIES_MAX && f->pid)
        f++;
    errno = EAGAIN;
    *pid = -1;
    if (f < s->family + FAMILIES_MAX && socket_pair(SOCK_STREAM, sock) && pipe2(life, O_CLOEXEC) == 0)
        *pid = fork_session(s, sock, life);
    e = errno;
    if (sock[1] >= 0)
        close(sock[1]);
    if (life[1] >= 0)
        close(life[1]);
    if (*pid > 0) {
        *f = (struct family){*pid, life[0]};
        return sock[0];
    }
    if (sock[0] >= 0)
        close(sock[0]);
    if (life[0] >= 0)
        close(life[0]);
    errno = e;
    return -1;
}

/* Its socket alone is ours: what it began may live on, and is told by its pipe. */
static void drop_spare(struct sup *s)
{
    if (s->spare.pid)
        close(s->spare.fd);
    s->spare.pid = 0;
}

/* True once the session made in advance has greeted, or there can be none. */
static bool spare_stands(struct sup *s)
{
    if (!s->spare.pid && !s->spare.tried) {
        pid_t pid;
        int fd = new_session(s, &pid);

        s->spare.tried = true;
        if (fd >= 0) {
            s->spare.fd = fd;
            s->spare.pid = pid;
        }
    }
    struct pollfd p = {.fd = s->spare.fd, .events = POLLIN};

    return !s->spare.pid || poll(&p, 1, 0) > 0;
}

/* ---- workers that wait for their connection ---- */

static void drop_pending(struct sup *s, int64_t due_before)
{
    for (size_t i = 0; i < PENDING_MAX; i++)
        if (s->pending[i].port && s->pending[i].due <= due_before) {
            close(s->pending[i].fd);
            s->pending[i].port = 0;
        }
}

/* What a session sent: false when there was nothing. */
static bool take_offer(struct sup *s)
{
    uint32_t port = 0;
    char space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {.iov_base = &port, .iov_len = sizeof(port)};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
    ssize_t n = recvmsg(s->ctl_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m);
    int fd = -1;

    if (n < 0)
        return errno == EINTR;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    for (size_t i = 0; i < PENDING_MAX && fd >= 0 && n == sizeof(port) && port; i++)
        if (!s->pending[i].port) {
            s->pending[i] = (struct pending){port, fd, ag_now() + (int64_t)PENDING_MS * 1000000};
            return true;
        }
    if (fd >= 0)
        close(fd); /* its worker sees the end and goes */
    return true;
}

int ag_offer(const struct ag_world *w, uint32_t *port)
{
    char space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {.iov_base = port, .iov_len = sizeof(*port)};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    int p[2];

    if (!w->table || !socket_pair(SOCK_STREAM, p))
        return -1;
    /* Numbers that no listener of a vsock would get, so that nobody takes one for the other. */
    *port = UINT32_C(0x80000000) + atomic_fetch_add(&w->table->ports, 1) % UINT32_C(0x40000000);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &p[0], sizeof(int));
    ssize_t n;

    do
        n = sendmsg(w->ctl_fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    int e = errno;

    close(p[0]);
    if (n == sizeof(*port))
        return p[1];
    close(p[1]);
    errno = e;
    return -1;
}

/* ---- what the multiplexer asks ---- */

static int on_open(void *arg, uint32_t port)
{
    struct sup *s = arg;
    pid_t pid;

    if (port != PV_AGENT_PORT) {
        while (take_offer(s))
            ;
        for (size_t i = 0; i < PENDING_MAX; i++)
            if (s->pending[i].port == port && port) {
                s->pending[i].port = 0;
                return s->pending[i].fd;
            }
        errno = ECONNREFUSED;
        return -1;
    }
    if (s->spare.pid) {
        s->spare.pid = 0;
        return s->spare.fd;
    }
    return new_session(s, &pid);
}

/* The sessions see the ends of their sockets; workers that nobody met are not met any more. */
static void on_reset(void *arg)
{
    drop_pending(arg, INT64_MAX);
}

/* ---- the loop ---- */

static void reap(struct sup *s)
{
    int status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (s->w->table)
            ag_table_gone(s->w->table, pid, status);
        if (pid == s->spare.pid)
            drop_spare(s);
    }
}

/* True when nothing is left of any session, but for the one that waits for the next conversation. */
static bool all_gone(const struct sup *s)
{
    for (size_t i = 0; i < FAMILIES_MAX; i++)
        if (s->family[i].pid && s->family[i].pid != s->spare.pid)
            return false;
    return true;
}

static void seek_rest(struct sup *s)
{
    if (!s->mux.quiesce)
        s->spare.tried = false;
    if (!s->mux.quiesce || s->mux.resting)
        return;
    if (s->mux.idle)
        drop_pending(s, INT64_MAX);
    if (ag_mux_drained(&s->mux) && (!s->mux.idle || all_gone(s)) && spare_stands(s))
        ag_mux_quiesced(&s->mux);
}

static int timeout_ms(struct sup *s)
{
    int64_t due = INT64_MAX, now;

    if (s->mux.off) {
        s->off_ms = s->off_ms ? s->off_ms * 2 : 1;
        if (s->off_ms > OFF_MS_MAX)
            s->off_ms = OFF_MS_MAX;
        return (int)s->off_ms;
    }
    s->off_ms = 0;
    if (s->mux.stuck)
        return 5;
    for (size_t i = 0; i < PENDING_MAX; i++)
        if (s->pending[i].port && s->pending[i].due < due)
            due = s->pending[i].due;
    if (due == INT64_MAX)
        return -1;
    now = ag_now();
    return due <= now ? 0 : (int)((due - now) / 1000000) + 1;
}

enum { POLL_MAX = AG_MUX_POLL + 2 + FAMILIES_MAX };

static void turn(struct sup *s, const sigset_t *mask)
{
    struct pollfd p[POLL_MAX];
    uint16_t who[AG_MUX_POLL];
    size_t n = ag_mux_poll(&s->mux, p, who), mux_n = n, life_n;
    struct family *of[FAMILIES_MAX];
    int ms = timeout_ms(s);
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

    p[n++] = (struct pollfd){.fd = s->ctl_fd, .events = POLLIN};
    /* While it has not greeted, a session made in advance is what a QUIESCE waits for. */
    p[n++] = (struct pollfd){.fd = s->spare.pid && s->mux.quiesce && !s->mux.resting ? s->spare.fd : -1,
                             .events = POLLIN};
    life_n = n;
    for (size_t i = 0; i < FAMILIES_MAX; i++)
        if (s->family[i].pid) {
            of[n - life_n] = &s->family[i];
            p[n++] = (struct pollfd){.fd = s->family[i].life_fd};
        }
    int r = ppoll(p, n, ms < 0 ? NULL : &ts, mask);

    if (ag_children_ended()) /* asked first, so that none is missed */
        reap(s);
    if (r < 0)
        return;
    for (size_t i = life_n; i < n; i++)
        if (p[i].revents) {
            close(of[i - life_n]->life_fd);
            of[i - life_n]->pid = 0;
        }
    while (p[mux_n].revents && take_offer(s))
        ;
    if (ms >= 0)
        drop_pending(s, ag_now());
    ag_mux_turn(&s->mux, p, who, mux_n);
    seek_rest(s);
}

void ag_serve_serial(int port_fd, struct ag_world *w)
{
    static struct sup s;
    struct stat st;
    sigset_t none;
    int ctl[2];

    sigemptyset(&none);
    s.w = w;
    s.socket = fstat(port_fd, &st) == 0 && S_ISSOCK(st.st_mode);
    s.mux.open = on_open;
    s.mux.reset = on_reset;
    s.mux.arg = &s;
    if (!ag_mux_init(&s.mux, port_fd) || !socket_pair(SOCK_SEQPACKET, ctl))
        _exit(3);
    s.ctl_fd = ctl[0];
    w->ctl_fd = ctl[1];
    for (;;) {
        turn(&s, &none);
        if (s.socket && s.mux.off)
            _exit(0);
    }
}
