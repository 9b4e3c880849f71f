/* SPDX-License-Identifier: MIT */
/*
 * The loop.  What is sent waits in `out` and is written as far as the socket takes it; while much waits
 * there, no more output of a command or file is taken up, so the command blocks in its pipe and nothing
 * grows.  What comes in waits in `in`; a STDIN or WDATA frame whose bytes can not be written yet stays at
 * its head and is tried again, and CANCEL is looked for behind it.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "util.h"

static struct ag_session session;

/* ---- the root ---- */

void ag_world_init(struct ag_world *w)
{
    struct stat st;

    if (stat("/", &st) < 0) {
        w->follow_init = false;
        return;
    }
    w->root_dev = st.st_dev;
    w->root_ino = st.st_ino;
}

void ag_world_follow(struct ag_world *w)
{
    struct stat init, mine;

    if (!w->follow_init || w->proc_fd < 0 || fstatat(w->proc_fd, "1/root", &init, 0) < 0 ||
        (init.st_dev == w->root_dev && init.st_ino == w->root_ino) || stat("/", &mine) < 0)
        return;
    if (mine.st_dev == w->root_dev && mine.st_ino == w->root_ino) {
        int fd = openat(w->proc_fd, "1/root", O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
            return;
        int r = fchdir(fd) < 0 || chroot(".") < 0;

        close(fd);
        if (r)
            return;
    } else if (mine.st_dev != init.st_dev || mine.st_ino != init.st_ino) {
        return; /* this process went its own way (pivot_root would have taken it along) */
    }
    w->root_dev = init.st_dev;
    w->root_ino = init.st_ino;
}

/* ---- sending ---- */

static size_t queued(const struct ag_session *s)
{
    return s->out_tail - s->out_head;
}

/* n bytes at the tail; there must be room. */
static uint8_t *out_room(struct ag_session *s, size_t n)
{
    if (s->out_head == s->out_tail)
        s->out_head = s->out_tail = 0;
    if (n > sizeof(s->out) - s->out_tail) {
        memmove(s->out, s->out + s->out_head, queued(s));
        s->out_tail -= s->out_head;
        s->out_head = 0;
    }
    return n > sizeof(s->out) - s->out_tail ? NULL : s->out + s->out_tail;
}

static struct pv_enc begin(struct ag_session *s, unsigned type, size_t room)
{
    struct pv_enc e = {.p = out_room(s, room), .cap = room};

    if (!e.p)
        e.cap = 0;
    pv_enc_begin(&e, type);
    return e;
}

static void end(struct ag_session *s, struct pv_enc *e)
{
    s->out_tail += pv_enc_end(e);
}

void ag_reply_ok(struct ag_session *s, uint32_t id, uint64_t value)
{
    struct pv_enc e = begin(s, PV_MSG_OK, 64);

    pv_enc_u32(&e, id);
    pv_enc_u64(&e, value);
    end(s, &e);
}

void ag_reply_exit(struct ag_session *s)
{
    const struct ag_exec *x = &s->exec;
    struct pv_enc e = begin(s, PV_MSG_EXIT, 64);

    pv_enc_u32(&e, s->id);
    pv_enc_u32(&e, x->code);
    pv_enc_u32(&e, x->signal);
    pv_enc_u32(&e, x->flags);
    pv_enc_u64(&e, x->duration);
    end(s, &e);
}

void ag_reply_error(struct ag_session *s, uint32_t id, int errnum, const char *fmt, ...)
{
    char text[PV_PATH_MAX + 256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct pv_enc e = begin(s, PV_MSG_ERROR, sizeof(text) + 64);

    pv_enc_u32(&e, id);
    pv_enc_u32(&e, (uint32_t)errnum);
    pv_enc_bytes(&e, text, strlen(text));
    end(s, &e);
}

bool ag_data_room(const struct ag_session *s)
{
    return queued(s) < AG_DATA_HIGH;
}

ssize_t ag_pump(struct ag_session *s, unsigned type, int fd, size_t max)
{
    enum { HEAD = PV_FRAME_HEADER + 8 };

    if (max > PV_CHUNK)
        max = PV_CHUNK;
    uint8_t *p = out_room(s, HEAD + max);
    ssize_t n = p ? read(fd, p + HEAD, max) : 0;

    if (n <= 0)
        return n;
    /* The bytes are in place already: only what goes before them is encoded. */
    struct pv_enc e = {.p = p, .cap = HEAD};

    pv_enc_begin(&e, type);
    pv_enc_u32(&e, s->id);
    pv_enc_u32(&e, (uint32_t)n);
    pv_frame_put_header(p, type, (uint32_t)(HEAD - PV_FRAME_HEADER) + (uint32_t)n);
    s->out_tail += HEAD + (size_t)n;
    return n;
}

static void send_queued(struct ag_session *s)
{
    while (queued(s)) {
        ssize_t n = send(s->fd, s->out + s->out_head, queued(s), MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
            return;
        if (n <= 0) {
            s->dead = true;
            return;
        }
        s->out_head += (size_t)n;
    }
}

void ag_flush(struct ag_session *s, unsigned ms)
{
    int64_t due = ag_now() + (int64_t)ms * 1000000;

    for (send_queued(s); queued(s) && !s->dead && ag_now() < due; send_queued(s)) {
        struct pollfd p = {.fd = s->fd, .events = POLLOUT};

        poll(&p, 1, 50);
    }
}

static void send_ready(struct ag_session *s)
{
    struct utsname u;
    struct pv_enc e = begin(s, PV_MSG_READY, 256);

    uname(&u);
    pv_enc_u32(&e, PV_WIRE_MAGIC);
    pv_enc_u32(&e, PV_WIRE_VERSION);
    pv_enc_u32(&e, (uint32_t)getpid());
    pv_enc_bytes(&e, u.release, strlen(u.release));
    end(s, &e);
}

/* ---- requests ---- */

void ag_request_end(struct ag_session *s)
{
    s->req = AG_IDLE;
    s->head_done = 0;
    if (s->file.fd >= 0)
        close(s->file.fd);
    s->file.fd = -1;
}

static enum ag_step malformed(struct ag_session *s, uint32_t id, unsigned type)
{
    ag_reply_error(s, id, EPROTO, "malformed %s", pv_msg_name(type));
    return AG_DONE;
}

static void cancel(struct ag_session *s, uint32_t id)
{
    if (s->req == AG_IDLE || s->id != id)
        return;
    if (s->req == AG_EXEC) {
        ag_exec_kill(s, PV_EXIT_CANCELLED);
        return;
    }
    ag_reply_error(s, id, ECANCELED, "%s '%s'", s->req == AG_READ ? "read" : "write", s->file.path);
    ag_request_end(s);
}

static enum ag_step do_ping(struct ag_session *s, struct pv_dec *d, uint32_t id)
{
    size_t n;
    const void *data = pv_dec_bytes(d, &n);

    if (!pv_dec_done(d))
        return malformed(s, id, PV_MSG_PING);
    struct pv_enc e = begin(s, PV_MSG_PONG, PV_FRAME_HEADER + 8 + n);

    pv_enc_u32(&e, id);
    pv_enc_bytes(&e, data, n);
    end(s, &e);
    return AG_DONE;
}

/* STDIN and WDATA; what belongs to no request any more is dropped. */
static enum ag_step do_data(struct ag_session *s, unsigned type, struct pv_dec *d, uint32_t id)
{
    size_t n;
    const uint8_t *data = pv_dec_bytes(d, &n);

    if (!pv_dec_done(d))
        return malformed(s, id, type);
    if (s->id != id || s->req != (type == PV_MSG_STDIN ? AG_EXEC : AG_WRITE))
        return AG_DONE;
    return type == PV_MSG_STDIN ? ag_exec_stdin(s, data, n) : ag_write_data(s, data, n);
}

static enum ag_step do_request(struct ag_session *s, unsigned type, struct pv_dec *d, uint32_t id)
{
    if (s->req != AG_IDLE) {
        ag_reply_error(s, id, EBUSY, "%s while another request is worked on", pv_msg_name(type));
        return AG_DONE;
    }
    ag_world_follow(&s->w);
    switch (type) {
    case PV_MSG_EXEC:
        ag_exec_start(s, id, d);
        return AG_DONE;
    case PV_MSG_READ_FILE:
        ag_read_start(s, id, d);
        return AG_DONE;
    case PV_MSG_WRITE_FILE:
        ag_write_start(s, id, d);
        return AG_DONE;
    case PV_MSG_MOUNT_VFS:
        if (!pv_dec_done(d))
            return malformed(s, id, type);
        ag_mount_vfs(s, id);
        return AG_DONE;
    case PV_MSG_SHUTDOWN: {
        uint32_t how = pv_dec_u32(d);

        if (!pv_dec_done(d) || how > PV_SHUTDOWN_REBOOT)
            return malformed(s, id, type);
        ag_shutdown(s, id, how);
        return AG_DONE;
    }
    default:
        return AG_BAD; /* goes the other way */
    }
}

static enum ag_step do_frame(struct ag_session *s, unsigned type, uint8_t *payload, size_t n)
{
    struct pv_dec d = {.p = payload, .n = n};
    uint32_t id = pv_dec_u32(&d);

    if (type & 0x80)
        return AG_BAD;
    if (d.bad)
        return malformed(s, 0, type);
    switch (type) {
    case PV_MSG_PING:
        return do_ping(s, &d, id);
    case PV_MSG_CANCEL:
        if (!pv_dec_done(&d))
            return malformed(s, id, type);
        cancel(s, id);
        return AG_DONE;
    case PV_MSG_STDIN:
    case PV_MSG_WDATA:
        return do_data(s, type, &d, id);
    default:
        return do_request(s, type, &d, id);
    }
}

/* ---- receiving ---- */

/* The frame at `off` from the head: true when it is whole. A bad header ends the connection. */
static bool frame_at(struct ag_session *s, size_t off, unsigned *type, uint32_t *n)
{
    size_t have = s->in_tail - s->in_head - off;

    if (have < PV_FRAME_HEADER)
        return false;
    if (!pv_frame_header(s->in + s->in_head + off, type, n)) {
        s->dead = true;
        return false;
    }
    return have - PV_FRAME_HEADER >= *n;
}

/* A CANCEL behind a data frame that waits for the command to read. */
static void look_for_cancel(struct ag_session *s)
{
    size_t off = 0;
    unsigned type;
    uint32_t n;

    for (; frame_at(s, off, &type, &n); off += PV_FRAME_HEADER + n) {
        struct pv_dec d = {.p = s->in + s->in_head + off + PV_FRAME_HEADER, .n = n};
        uint32_t id = pv_dec_u32(&d);

        if (type == PV_MSG_CANCEL && pv_dec_done(&d))
            cancel(s, id);
    }
}

/* Why work_input stopped. */
enum stall {
    STALL_NONE, /* all that is whole has been worked on */
    STALL_FD,   /* the frame at the head waits for its descriptor to take its bytes */
    STALL_ROOM, /* its answer might not fit */
};

static enum stall work_input(struct ag_session *s)
{
    unsigned type;
    uint32_t n;

    while (!s->dead && frame_at(s, 0, &type, &n)) {
        uint8_t *payload = s->in + s->in_head + PV_FRAME_HEADER;

        /* Answers must find room: a host that does not read is not worked for. */
        if (sizeof(s->out) - queued(s) < AG_REPLY_MAX + (type == PV_MSG_PING ? (size_t)n : 0))
            return STALL_ROOM;
        enum ag_step step = do_frame(s, type, payload, n);

        if (step == AG_BAD)
            s->dead = true;
        if (step == AG_WAIT) {
            enum ag_req before = s->req;

            look_for_cancel(s);
            if (s->req == before)
                return STALL_FD;
            continue; /* cancelled: the frame at the head is stale now */
        }
        s->head_done = 0;
        s->in_head += PV_FRAME_HEADER + n;
        if (s->in_head == s->in_tail)
            s->in_head = s->in_tail = 0;
    }
    return STALL_NONE;
}

static bool in_full(const struct ag_session *s)
{
    return s->in_tail - s->in_head == sizeof(s->in);
}

static void receive(struct ag_session *s)
{
    if (s->in_head && s->in_tail == sizeof(s->in)) {
        memmove(s->in, s->in + s->in_head, s->in_tail - s->in_head);
        s->in_tail -= s->in_head;
        s->in_head = 0;
    }
    ssize_t n = recv(s->fd, s->in + s->in_tail, sizeof(s->in) - s->in_tail, MSG_DONTWAIT);

    if (n > 0)
        s->in_tail += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        s->dead = true;
}

/* ---- the loop ---- */

enum { P_SOCK, P_CTL, P_OUT, P_ERR, P_WAIT, P_READ, P_N };

static void fill_poll(const struct ag_session *s, struct pollfd *p, enum stall stall)
{
    const struct ag_exec *x = &s->exec;
    bool room = ag_data_room(s);

    for (int i = 0; i < P_N; i++)
        p[i] = (struct pollfd){.fd = -1};
    p[P_SOCK].fd = s->fd;
    p[P_SOCK].events = (short)(POLLRDHUP | (in_full(s) ? 0 : POLLIN) | (queued(s) ? POLLOUT : 0));
    if (s->req == AG_EXEC) {
        p[P_CTL] = (struct pollfd){.fd = x->ctl, .events = POLLIN};
        for (int i = 0; i < 2 && room; i++)
            p[P_OUT + i] = (struct pollfd){.fd = x->out[i], .events = POLLIN};
        if (stall == STALL_FD)
            p[P_WAIT] = (struct pollfd){.fd = x->in, .events = POLLOUT};
    }
    if (s->req == AG_WRITE && stall == STALL_FD)
        p[P_WAIT] = (struct pollfd){.fd = s->file.fd, .events = POLLOUT};
    if (s->req == AG_READ && room)
        p[P_READ] = (struct pollfd){.fd = s->file.fd, .events = POLLIN};
}

static int poll_timeout(const struct ag_session *s)
{
    if (s->req != AG_EXEC || s->exec.due == INT64_MAX)
        return -1;
    int64_t ms = (s->exec.due - ag_now() + 999999) / 1000000;

    return ms < 0 ? 0 : ms > 1000000 ? 1000000 : (int)ms;
}

/*
 * A peer that is gone for good, even where its last bytes are not read yet (a command that does not take
 * its stdin holds them up).
 */
static bool peer_gone(short revents)
{
    return revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL);
}

static void exec_events(struct ag_session *s, const struct pollfd *p)
{
    for (int i = 0; i < 2; i++)
        if (p[P_OUT + i].revents && s->exec.out[i] >= 0 && ag_data_room(s))
            ag_exec_output(s, i);
    if (p[P_CTL].revents)
        ag_exec_ctl(s);
    if (s->req == AG_EXEC && ag_now() >= s->exec.due)
        ag_exec_kill(s, PV_EXIT_TIMED_OUT);
    ag_exec_check(s);
}

static void run(struct ag_session *s)
{
    enum stall stall = STALL_NONE;

    send_ready(s);
    while (!s->dead) {
        struct pollfd p[P_N];

        send_queued(s);
        while (stall == STALL_ROOM && !queued(s) && !s->dead) { /* nothing else would wake us for it */
            stall = work_input(s);
            send_queued(s);
        }
        fill_poll(s, p, stall);
        if (poll(p, P_N, poll_timeout(s)) < 0 && errno != EINTR)
            return;
        if (p[P_SOCK].revents & POLLIN)
            receive(s);
        else if (peer_gone(p[P_SOCK].revents))
            return;
        if (s->req == AG_EXEC)
            exec_events(s, p);
        if (s->req == AG_READ && p[P_READ].revents && ag_data_room(s))
            ag_read_more(s);
        stall = work_input(s);
    }
}

void ag_session_main(int fd, const struct ag_world *w)
{
    struct ag_session *s = &session;
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    ag_ignore_signals(true); /* SIGCHLD too: keepers are reaped by the kernel */
    s->w = *w;
    s->fd = fd;
    s->file.fd = -1;
    s->exec.ctl = s->exec.in = s->exec.out[0] = s->exec.out[1] = -1;
    run(s);
    _exit(0); /* the keeper of a running command sees its end of the line and kills the command */
}
