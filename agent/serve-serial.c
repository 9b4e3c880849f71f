/* SPDX-License-Identifier: MIT */
/*
 * The supervisor of a guest without vsock is also the multiplexer of the agent's virtio-serial port: it
 * alone knows which processes a QUIESCE has to wait for, and a new session needs no message to another
 * process.  It never blocks.
 *
 * Everything that runs for a session (the session, its workers, the reapers of its commands and jobs)
 * inherits the writing end of that session's life pipe; the reading end shows when the last of these
 * processes is gone.
 */
#include "serve.h"

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
#include "offer.h"
#include "session.h"
#include "signals.h"
#include "process-table.h"
#include "util.h"
#include "world.h"

enum { LIVES_MAX = 128, PENDING_MAX = 128, PENDING_MS = 10000, OFF_MS_MAX = 50 };

/* A session whose life pipe is open. */
struct life {
    pid_t pid; /* 0: free */
    int fd;    /* the pipe's reading end */
};

/* A worker that waits for the host to open its port. */
struct pending {
    uint32_t port; /* 0: free */
    int fd;
    int64_t due;
};

struct supervisor {
    struct ag_mux mux;
    struct ag_world *w;
    int ctl_fd;  /* sessions send offers on its peer */
    bool socket; /* the port is a socket: a test on the host */
    struct life life[LIVES_MAX];
    struct pending pending[PENDING_MAX];
    struct {
        pid_t pid; /* 0: none */
        int fd;
        bool tried;
    } spare;         /* a session made in advance */
    unsigned off_ms; /* the last pause while nobody holds the port's other end */
};

/* ---- sessions ---- */

/* In a child: closes the descriptors of the supervisor. */
static void close_in_child(struct supervisor *s)
{
    ag_mux_forget(&s->mux);
    close(s->ctl_fd);
    for (size_t i = 0; i < LIVES_MAX; i++)
        if (s->life[i].pid)
            close(s->life[i].fd);
    for (size_t i = 0; i < PENDING_MAX; i++)
        if (s->pending[i].port)
            close(s->pending[i].fd);
    if (s->spare.pid)
        close(s->spare.fd);
}

static pid_t fork_session(struct supervisor *s, const int sock[2], const int life[2])
{
    struct ag_slot *slot = s->w->table ? ag_process_table_take(s->w->table) : NULL;

    if (!slot) {
        errno = EAGAIN;
        return -1;
    }
    pid_t pid = fork();

    if (pid == 0) {
        close_in_child(s);
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

/* Makes a session: returns the multiplexer's end of its socket and sets *pid; -1 with errno. */
static int new_session(struct supervisor *s, pid_t *pid)
{
    int sock[2] = {-1, -1}, life[2] = {-1, -1}, e;
    struct life *f = s->life;

    while (f < s->life + LIVES_MAX && f->pid)
        f++;
    errno = EAGAIN;
    *pid = -1;
    if (f < s->life + LIVES_MAX && ag_socket_pair(SOCK_STREAM, sock) && pipe2(life, O_CLOEXEC) == 0)
        *pid = fork_session(s, sock, life);
    e = errno;
    if (sock[1] >= 0)
        close(sock[1]);
    if (life[1] >= 0)
        close(life[1]);
    if (*pid > 0) {
        *f = (struct life){*pid, life[0]};
        return sock[0];
    }
    if (sock[0] >= 0)
        close(sock[0]);
    if (life[0] >= 0)
        close(life[0]);
    errno = e;
    return -1;
}

/* Closes the spare session's socket.  Its life pipe stays: the session's processes may live on. */
static void drop_spare(struct supervisor *s)
{
    if (s->spare.pid)
        close(s->spare.fd);
    s->spare.pid = 0;
}

/* Makes the spare session; true once it has sent READY, or when it cannot be made. */
static bool spare_is_ready(struct supervisor *s)
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

/* ---- pending workers ---- */

/* Gives up on workers whose due time has come. */
static void drop_pending(struct supervisor *s, int64_t due_before)
{
    for (size_t i = 0; i < PENDING_MAX; i++)
        if (s->pending[i].port && s->pending[i].due <= due_before) {
            close(s->pending[i].fd);
            s->pending[i].port = 0;
        }
}

/* Takes one offer of a session; false when there is none. */
static bool take_offer(struct supervisor *s)
{
    uint32_t port;
    int fd;

    if (!ag_offer_receive(s->ctl_fd, &fd, &port))
        return false;
    for (size_t i = 0; i < PENDING_MAX && fd >= 0; i++)
        if (!s->pending[i].port) {
            s->pending[i] = (struct pending){port, fd, ag_now() + (int64_t)PENDING_MS * 1000000};
            return true;
        }
    ag_close(&fd); /* no room: its worker sees the end of the socket and exits */
    return true;
}

/* At most as many as can wait, so that a flood of offers does not keep the port from being served. */
static void take_offers(struct supervisor *s)
{
    for (unsigned i = 0; i < PENDING_MAX && take_offer(s); i++)
        ;
}

/* ---- callbacks of the multiplexer ---- */

static int on_open(void *arg, uint32_t port)
{
    struct supervisor *s = arg;
    pid_t pid;

    if (port != PV_AGENT_PORT) {
        take_offers(s);
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

/* The multiplexer closes the sockets of sessions; pending workers have no channel yet. */
static void on_reset(void *arg)
{
    drop_pending(arg, INT64_MAX);
}

/* ---- the loop ---- */

static void reap_children(struct supervisor *s)
{
    int status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (s->w->table)
            ag_process_table_gone(s->w->table, pid, status);
        if (pid == s->spare.pid)
            drop_spare(s);
    }
}

/* True when no process of any session is left, the spare one excepted. */
static bool is_idle(const struct supervisor *s)
{
    for (size_t i = 0; i < LIVES_MAX; i++)
        if (s->life[i].pid && s->life[i].pid != s->spare.pid)
            return false;
    return true;
}

/* Replies to a QUIESCE once its condition holds. */
static void check_quiesce(struct supervisor *s)
{
    if (!s->mux.quiesce)
        s->spare.tried = false;
    if (!s->mux.quiesce || s->mux.resting)
        return;
    if (s->mux.idle)
        drop_pending(s, INT64_MAX);
    if (ag_mux_drained(&s->mux) && (!s->mux.idle || is_idle(s)) && spare_is_ready(s))
        ag_mux_quiesced(&s->mux);
}

static int timeout_ms(struct supervisor *s)
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

enum { POLL_MAX = AG_MUX_POLL + 2 + LIVES_MAX };

static void run_turn(struct supervisor *s, const sigset_t *mask)
{
    struct pollfd p[POLL_MAX];
    uint16_t channels[AG_MUX_POLL];
    size_t n = ag_mux_poll(&s->mux, p, channels), mux_n = n, life_n;
    struct life *of[LIVES_MAX];
    int ms = timeout_ms(s);
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

    p[n++] = (struct pollfd){.fd = s->ctl_fd, .events = POLLIN};
    /* A QUIESCE waits for the spare session's READY. */
    p[n++] = (struct pollfd){.fd = s->spare.pid && s->mux.quiesce && !s->mux.resting ? s->spare.fd : -1,
                             .events = POLLIN};
    life_n = n;
    for (size_t i = 0; i < LIVES_MAX; i++)
        if (s->life[i].pid) {
            of[n - life_n] = &s->life[i];
            p[n++] = (struct pollfd){.fd = s->life[i].fd};
        }
    int r = ppoll(p, n, ms < 0 ? NULL : &ts, mask);

    if (ag_signals_children_ended()) /* even if ppoll() did not fail with EINTR */
        reap_children(s);
    if (r < 0)
        return;
    for (size_t i = life_n; i < n; i++)
        if (p[i].revents) {
            close(of[i - life_n]->fd);
            of[i - life_n]->pid = 0;
        }
    if (p[mux_n].revents)
        take_offers(s);
    if (ms >= 0)
        drop_pending(s, ag_now());
    ag_mux_turn(&s->mux, p, channels, mux_n);
    check_quiesce(s);
}

void ag_serve_serial(int port_fd, struct ag_world *w)
{
    static struct supervisor s;
    struct stat st;
    sigset_t none;
    int ctl[2];

    sigemptyset(&none);
    s.w = w;
    s.socket = fstat(port_fd, &st) == 0 && S_ISSOCK(st.st_mode);
    s.mux.open = on_open;
    s.mux.reset = on_reset;
    s.mux.arg = &s;
    if (!ag_mux_init(&s.mux, port_fd) || !ag_socket_pair(SOCK_SEQPACKET, ctl))
        _exit(3);
    s.ctl_fd = ctl[0];
    w->ctl_fd = ctl[1];
    for (;;) {
        run_turn(&s, &none);
        if (s.socket && s.mux.off)
            _exit(0);
    }
}
