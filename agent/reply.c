/* SPDX-License-Identifier: MIT */
#include "reply.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"

size_t ag_reply_queued(const struct ag_session *s)
{
    return s->out.tail - s->out.head;
}

/* The place for n more bytes, moved together if need be; NULL when they do not fit. */
static uint8_t *out_room(struct ag_session *s, size_t n)
{
    if (s->out.head == s->out.tail)
        s->out.head = s->out.tail = 0;
    if (n > sizeof(s->out.data) - s->out.tail) {
        memmove(s->out.data, s->out.data + s->out.head, ag_reply_queued(s));
        s->out.tail -= s->out.head;
        s->out.head = 0;
    }
    return n > sizeof(s->out.data) - s->out.tail ? NULL : s->out.data + s->out.tail;
}

struct pv_enc ag_frame_begin(struct ag_session *s, unsigned type, size_t room)
{
    struct pv_enc e = {.p = out_room(s, room), .cap = room};

    if (!e.p)
        e.cap = 0;
    pv_enc_begin(&e, type);
    return e;
}

void ag_frame_end(struct ag_session *s, struct pv_enc *e)
{
    s->out.tail += pv_enc_end(e);
}

void ag_reply_ok(struct ag_session *s, uint32_t id, uint64_t value)
{
    struct pv_enc e = ag_frame_begin(s, PV_MSG_OK, 64);

    pv_enc_u32(&e, id);
    pv_enc_u64(&e, value);
    ag_frame_end(s, &e);
}

void ag_reply_verror(struct ag_session *s, uint32_t id, int errnum, const char *fmt, va_list ap)
{
    char text[PV_PATH_MAX + 256];

    vsnprintf(text, sizeof(text), fmt, ap);
    struct pv_enc e = ag_frame_begin(s, PV_MSG_ERROR, sizeof(text) + 64);

    pv_enc_u32(&e, id);
    pv_enc_u32(&e, (uint32_t)errnum);
    pv_enc_bytes(&e, text, strlen(text));
    ag_frame_end(s, &e);
}

void ag_reply_error(struct ag_session *s, uint32_t id, int errnum, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    ag_reply_verror(s, id, errnum, fmt, ap);
    va_end(ap);
}

void ag_reply_state(struct ag_session *s, uint32_t id, bool runs, int status)
{
    uint32_t sig = !runs && WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
    struct pv_enc e = ag_frame_begin(s, PV_MSG_JOB_STATE, 64);

    pv_enc_u32(&e, id);
    pv_enc_u32(&e, runs);
    pv_enc_u32(&e, runs ? 0 : sig ? 128 + sig : (uint32_t)WEXITSTATUS(status));
    pv_enc_u32(&e, sig);
    ag_frame_end(s, &e);
}

bool ag_data_room(const struct ag_session *s)
{
    return ag_reply_queued(s) < AG_DATA_HIGH;
}

ssize_t ag_reply_data(struct ag_session *s, unsigned type, int fd, int64_t at, size_t max)
{
    if (max > AG_BURST - AG_DATA_HEAD) /* one frame is one burst */
        max = AG_BURST - AG_DATA_HEAD;
    uint8_t *p = out_room(s, AG_DATA_HEAD + max);
    ssize_t n = !p ? 0 : at < 0 ? read(fd, p + AG_DATA_HEAD, max) : pread(fd, p + AG_DATA_HEAD, max, at);

    if (n <= 0)
        return n;
    /* The data is in place already: encode only the head of the frame before it. */
    struct pv_enc e = {.p = p, .cap = AG_DATA_HEAD};

    pv_enc_begin(&e, type);
    pv_enc_u32(&e, s->id);
    pv_enc_u32(&e, (uint32_t)n);
    pv_frame_put_header(p, type, (uint32_t)(AG_DATA_HEAD - PV_FRAME_HEADER) + (uint32_t)n);
    s->out.tail += AG_DATA_HEAD + (size_t)n;
    return n;
}

/* Sends up to max bytes in pieces of AG_PACKET; false when the socket takes no more now. */
static bool send_burst(struct ag_session *s, size_t max)
{
    while (ag_reply_queued(s) && max) {
        size_t piece = s->w.ctl_fd < 0 ? AG_PACKET : ag_reply_queued(s);

        if (piece > ag_reply_queued(s))
            piece = ag_reply_queued(s);
        if (piece > max)
            piece = max;
        ssize_t n = send(s->fd, s->out.data + s->out.head, piece, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
            return false;
        if (n <= 0) {
            s->dead = true;
            return false;
        }
        s->out.head += (size_t)n;
        max -= (size_t)n;
    }
    return true;
}

/*
 * A kernel thread hands each packet to the device and preempts the session for it: on a single CPU that is
 * two switches and an exit to the host for each packet.  With real-time priority for the length of a burst,
 * the packets go together.  Not so where the process has another policy already: a running command's session
 * is real-time (see ag_realtime), and a system call request may have set any.
 */
static bool in_bursts(const struct ag_session *s)
{
    return ag_reply_queued(s) > AG_PACKET && s->w.in_guest && s->w.ctl_fd < 0 &&
           (syscall(SYS_sched_getscheduler, 0) & ~SCHED_RESET_ON_FORK) == SCHED_OTHER;
}

void ag_reply_send(struct ag_session *s)
{
    bool bursts = in_bursts(s), more = true;

    while (more && ag_reply_queued(s)) {
        if (bursts)
            ag_realtime(true);
        more = send_burst(s, bursts ? AG_BURST : SIZE_MAX);
        if (bursts)
            ag_realtime(false);
    }
}

void ag_reply_flush(struct ag_session *s, unsigned ms)
{
    int64_t due = ag_now() + (int64_t)ms * 1000000;

    for (ag_reply_send(s); ag_reply_queued(s) && !s->dead && ag_now() < due; ag_reply_send(s)) {
        struct pollfd p = {.fd = s->fd, .events = POLLOUT};

        poll(&p, 1, 50);
    }
}
