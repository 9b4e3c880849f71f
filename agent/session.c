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

/* ---- requests ---- */

void ag_request_end(struct ag_session *s)
{
    s->req = AG_IDLE;
    s->head_done = 0;
    if (s->file.fd >= 0)
        close(s->file.fd);
    s->file.fd = -1;
    ag_tree_close(s);
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
    static const char *const doing[] = {
        [AG_READ] = "read", [AG_WRITE] = "write", [AG_KMSG] = "read", [AG_PUT] = "write", [AG_GET] = "read"};

    if (s->req == AG_JOB)
        ag_reply_error(s, id, ECANCELED, "wait for job %u", s->wait.job->id);
    else
        ag_reply_error(s, id, ECANCELED, "%s '%s'", doing[s->req], s->file.path);
    ag_request_end(s);
}

static enum ag_step do_ping(struct ag_session *s, struct pv_dec *d, uint32_t id)
{
    size_t n;
    const void *data = pv_dec_bytes(d, &n);

    if (!pv_dec_done(d))
        return malformed(s, id, PV_MSG_PING);
    struct pv_enc e = ag_begin(s, PV_MSG_PONG, PV_FRAME_HEADER + 8 + n);

    pv_enc_u32(&e, id);
    pv_enc_bytes(&e, data, n);
    ag_end(s, &e);
    return AG_DONE;
}

/* STDIN and WDATA; what belongs to no request any more is dropped. */
static enum ag_step do_data(struct ag_session *s, unsigned type, struct pv_dec *d, uint32_t id)
{
    size_t n;
    const uint8_t *data = pv_dec_bytes(d, &n);

    if (!pv_dec_done(d))
        return malformed(s, id, type);
    if (s->id != id)
        return AG_DONE;
    if (type == PV_MSG_STDIN)
        return s->req == AG_EXEC ? ag_exec_stdin(s, data, n) : AG_DONE;
    return s->req == AG_WRITE ? ag_write_data(s, data, n)
           : s->req == AG_PUT ? ag_put_data(s, data, n)
                              : AG_DONE;
}

/* WENTRY and WHOLE, likewise. */
static enum ag_step do_tree(struct ag_session *s, unsigned type, struct pv_dec *d, uint32_t id)
{
    bool mine = s->id == id && s->req == AG_PUT;

    if (type == PV_MSG_WENTRY) {
        if (mine)
            ag_put_entry(s, d);
        return AG_DONE;
    }
    uint64_t n = pv_dec_u64(d);

    if (!pv_dec_done(d))
        return malformed(s, id, type);
    if (mine)
        ag_put_hole(s, n);
    return AG_DONE;
}

static enum ag_step do_request(struct ag_session *s, unsigned type, struct pv_dec *d, uint32_t id)
{
    if (s->req != AG_IDLE) {
        ag_reply_error(s, id, EBUSY, "%s while another request is worked on", pv_msg_name(type));
        return AG_DONE;
    }
    ag_world_follow(&s->w);
    switch (type) {
    case PV_MSG_SYSCALL:
        ag_syscall(s, id, d);
        return AG_DONE;
    case PV_MSG_JOB_START:
        ag_job_start(s, id, d);
        return AG_DONE;
    case PV_MSG_JOB_WAIT:
    case PV_MSG_JOB_KILL:
        ag_job_ask(s, id, d, type == PV_MSG_JOB_KILL);
        return AG_DONE;
    case PV_MSG_SPAWN:
        ag_spawn(s, id, d);
        return AG_DONE;
    case PV_MSG_STATUS:
        ag_status(s, id, d);
        return AG_DONE;
    case PV_MSG_DMESG:
        if (!pv_dec_done(d))
            return malformed(s, id, type);
        ag_kmsg_start(s, id);
        return AG_DONE;
    case PV_MSG_RESUME:
        ag_resume(s, id, d);
        return AG_DONE;
    case PV_MSG_TREE_PUT:
        ag_put_start(s, id, d);
        return AG_DONE;
    case PV_MSG_TREE_GET:
        ag_get_start(s, id, d);
        return AG_DONE;
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
    case PV_MSG_WENTRY:
    case PV_MSG_WHOLE:
        return do_tree(s, type, &d, id);
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

/* The most that the data in a frame's answer may take. */
static size_t answer_size(unsigned type, uint32_t n)
{
    return type == PV_MSG_PING ? n : type == PV_MSG_SYSCALL ? PV_FRAME_MAX : 0;
}

static void consume(struct ag_session *s, size_t n)
{
    s->in_head += n;
    if (s->in_head == s->in_tail)
        s->in_head = s->in_tail = 0;
}

/*
 * Large data for a file needs not wait for its frame to be whole: what is there already is written, and the
 * frame's beginning forgotten.
 */
static void begin_rest(struct ag_session *s)
{
    struct pv_dec d = {.p = s->in + s->in_head, .n = s->in_tail - s->in_head};
    unsigned type;
    uint32_t n, id, len;

    if (s->dead || s->req != AG_WRITE || d.n < AG_DATA_HEAD || !pv_frame_header(d.p, &type, &n) ||
        type != PV_MSG_WDATA || !ag_write_pieces(s))
        return;
    d.p += PV_FRAME_HEADER;
    id = pv_dec_u32(&d);
    len = pv_dec_u32(&d);
    if (id != s->id || n < AG_DATA_HEAD - PV_FRAME_HEADER || len != n - (AG_DATA_HEAD - PV_FRAME_HEADER))
        return;
    consume(s, AG_DATA_HEAD);
    s->rest = len;
}

/* False when more must come first. */
static bool work_rest(struct ag_session *s)
{
    size_t n = s->in_tail - s->in_head;
    bool last = n >= s->rest;

    if (last)
        n = s->rest;
    if (s->req == AG_WRITE)
        n = ag_write_some(s, s->in + s->in_head, n, last);
    s->rest -= (uint32_t)n;
    consume(s, n);
    return s->rest == 0;
}

static enum stall work_input(struct ag_session *s)
{
    unsigned type;
    uint32_t n;

    while (!s->dead) {
        if (s->rest && !work_rest(s))
            break;
        if (!frame_at(s, 0, &type, &n)) {
            begin_rest(s);
            if (!s->rest)
                break;
            continue;
        }
        uint8_t *payload = s->in + s->in_head + PV_FRAME_HEADER;

        /* Answers must find room: a host that does not read is not worked for. */
        if (sizeof(s->out) - ag_queued(s) < AG_REPLY_MAX + answer_size(type, n))
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
        consume(s, PV_FRAME_HEADER + n);
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
    size_t room = sizeof(s->in) - s->in_tail;

    if (s->rest && s->in_tail - s->in_head < 4096) {
        memmove(s->in, s->in + s->in_head, s->in_tail - s->in_head);
        s->in_tail -= s->in_head;
        s->in_head = 0;
        room = AG_IN_SOME;
    }
    ssize_t n = recv(s->fd, s->in + s->in_tail, room, MSG_DONTWAIT);

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
    p[P_SOCK].events = (short)(POLLRDHUP | (in_full(s) ? 0 : POLLIN) | (ag_queued(s) ? POLLOUT : 0));
    if (s->req == AG_EXEC) {
        p[P_CTL] = (struct pollfd){.fd = x->ctl, .events = POLLIN};
        for (int i = 0; i < 2 && room; i++)
            p[P_OUT + i] = (struct pollfd){.fd = x->out[i], .events = POLLIN};
        if (stall == STALL_FD)
            p[P_WAIT] = (struct pollfd){.fd = x->in, .events = POLLOUT};
    }
    if (s->req == AG_JOB) {
        ag_job_due(s, &p[P_CTL].fd);
        p[P_CTL].events = POLLIN;
    }
    if ((s->req == AG_WRITE || s->req == AG_PUT) && stall == STALL_FD)
        p[P_WAIT] = (struct pollfd){.fd = s->file.fd, .events = POLLOUT};
    if (s->req == AG_READ && room)
        p[P_READ] = (struct pollfd){.fd = s->file.fd, .events = POLLIN};
}

static int poll_timeout(const struct ag_session *s)
{
    int fd;
    int64_t due = s->req == AG_EXEC ? s->exec.due : s->req == AG_JOB ? ag_job_due(s, &fd) : INT64_MAX;

    /* What makes its answer from files waits for room alone. */
    if ((s->req == AG_KMSG || s->req == AG_GET || (s->req == AG_JOB && s->wait.sending)) && ag_data_room(s))
        return 0;
    if (due == INT64_MAX)
        return -1;
    int64_t ms = (due - ag_now() + 999999) / 1000000;

    return ms < 0 ? 0 : ms > 1000000 ? 1000000 : (int)ms;
}

/* Answers that are made a piece at a time, as there is room. */
static void stream_more(struct ag_session *s, const struct pollfd *p)
{
    if (s->req == AG_JOB)
        ag_job_more(s);
    if (!ag_data_room(s))
        return;
    if (s->req == AG_READ && p[P_READ].revents)
        ag_read_more(s);
    else if (s->req == AG_KMSG)
        ag_kmsg_more(s);
    else if (s->req == AG_GET)
        ag_get_more(s);
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

void ag_session_run(struct ag_session *s)
{
    enum stall stall = STALL_NONE;

    ag_send_ready(s);
    while (!s->dead) {
        struct pollfd p[P_N];

        ag_send(s);
        while (stall == STALL_ROOM && !ag_queued(s) && !s->dead) { /* nothing else would wake us for it */
            stall = work_input(s);
            ag_send(s);
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
        stream_more(s, p);
        stall = work_input(s);
    }
}

void ag_session_main(int fd, const struct ag_world *w)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    ag_ignore_signals(true);
    struct ag_session *s = ag_session_new(fd, w);

    if (!s)
        _exit(1);
    ag_session_run(s);
    ag_process_end(s);
}
