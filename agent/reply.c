/* SPDX-License-Identifier: MIT */
/* What a session sends: frames are put in `out` whole and leave as far as the socket takes them. */
#include "session.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "util.h"

size_t ag_queued(const struct ag_session *s)
{
    return s->out_tail - s->out_head;
}

/* n bytes at the tail; there must be room. */
static uint8_t *out_room(struct ag_session *s, size_t n)
{
    if (s->out_head == s->out_tail)
        s->out_head = s->out_tail = 0;
    if (n > sizeof(s->out) - s->out_tail) {
        memmove(s->out, s->out + s->out_head, ag_queued(s));
        s->out_tail -= s->out_head;
        s->out_head = 0;
    }
    return n > sizeof(s->out) - s->out_tail ? NULL : s->out + s->out_tail;
}

struct pv_enc ag_begin(struct ag_session *s, unsigned type, size_t room)
{
    struct pv_enc e = {.p = out_room(s, room), .cap = room};

    if (!e.p)
        e.cap = 0;
    pv_enc_begin(&e, type);
    return e;
}

void ag_end(struct ag_session *s, struct pv_enc *e)
{
    s->out_tail += pv_enc_end(e);
}

void ag_reply_ok(struct ag_session *s, uint32_t id, uint64_t value)
{
    struct pv_enc e = ag_begin(s, PV_MSG_OK, 64);

    pv_enc_u32(&e, id);
    pv_enc_u64(&e, value);
    ag_end(s, &e);
}

void ag_reply_exit(struct ag_session *s)
{
    const struct ag_exec *x = &s->exec;
    struct pv_enc e = ag_begin(s, PV_MSG_EXIT, 64);

    pv_enc_u32(&e, s->id);
    pv_enc_u32(&e, x->code);
    pv_enc_u32(&e, x->signal);
    pv_enc_u32(&e, x->flags);
    pv_enc_u64(&e, x->duration);
    ag_end(s, &e);
}

void ag_reply_error(struct ag_session *s, uint32_t id, int errnum, const char *fmt, ...)
{
    char text[PV_PATH_MAX + 256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct pv_enc e = ag_begin(s, PV_MSG_ERROR, sizeof(text) + 64);

    pv_enc_u32(&e, id);
    pv_enc_u32(&e, (uint32_t)errnum);
    pv_enc_bytes(&e, text, strlen(text));
    ag_end(s, &e);
}

bool ag_data_room(const struct ag_session *s)
{
    return ag_queued(s) < AG_DATA_HIGH;
}

ssize_t ag_pump(struct ag_session *s, unsigned type, int fd, int64_t at, size_t max)
{
    if (max > AG_BURST - AG_DATA_HEAD) /* a frame is a burst */
        max = AG_BURST - AG_DATA_HEAD;
    uint8_t *p = out_room(s, AG_DATA_HEAD + max);
    ssize_t n = !p ? 0 : at < 0 ? read(fd, p + AG_DATA_HEAD, max) : pread(fd, p + AG_DATA_HEAD, max, at);

    if (n <= 0)
        return n;
    /* The bytes are in place already: only what goes before them is encoded. */
    struct pv_enc e = {.p = p, .cap = AG_DATA_HEAD};

    pv_enc_begin(&e, type);
    pv_enc_u32(&e, s->id);
    pv_enc_u32(&e, (uint32_t)n);
    pv_frame_put_header(p, type, (uint32_t)(AG_DATA_HEAD - PV_FRAME_HEADER) + (uint32_t)n);
    s->out_tail += AG_DATA_HEAD + (size_t)n;
    return n;
}

/* Up to max bytes in pieces of AG_PACKET; false when the socket takes no more now. */
static bool send_some(struct ag_session *s, size_t max)
{
    while (ag_queued(s) && max) {
        size_t piece = s->w.ctl_fd < 0 ? AG_PACKET : ag_queued(s);

        if (piece > ag_queued(s))
            piece = ag_queued(s);
        if (piece > max)
            piece = max;
        ssize_t n = send(s->fd, s->out + s->out_head, piece, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
            return false;
        if (n <= 0) {
            s->dead = true;
            return false;
        }
        s->out_head += (size_t)n;
        max -= (size_t)n;
    }
    return true;
}

/*
 * A packet is handed to the device by a kernel thread that takes the CPU from us as soon as there is one: on
 * a single CPU that is two switches and an exit to the host for each.  With real-time priority for as long
 * as a burst lasts, all of it goes at once.  A command's keeper has it anyway (see ag_urgent); a test that
 * gave the session another policy is left alone.
 */
static bool in_bursts(const struct ag_session *s)
{
    return ag_queued(s) > AG_PACKET && s->w.may_halt && s->w.ctl_fd < 0 && s->req != AG_EXEC &&
           (syscall(SYS_sched_getscheduler, 0) & ~SCHED_RESET_ON_FORK) == SCHED_OTHER;
}

void ag_send(struct ag_session *s)
{
    bool bursts = in_bursts(s), more = true;

    while (more && ag_queued(s)) {
        if (bursts)
            ag_urgent(true);
        more = send_some(s, bursts ? AG_BURST : SIZE_MAX);
        if (bursts)
            ag_urgent(false);
    }
}

void ag_flush(struct ag_session *s, unsigned ms)
{
    int64_t due = ag_now() + (int64_t)ms * 1000000;

    for (ag_send(s); ag_queued(s) && !s->dead && ag_now() < due; ag_send(s)) {
        struct pollfd p = {.fd = s->fd, .events = POLLOUT};

        poll(&p, 1, 50);
    }
}

void ag_send_ready(struct ag_session *s)
{
    struct utsname u;
    struct pv_enc e = ag_begin(s, PV_MSG_READY, 256);

    uname(&u);
    pv_enc_u32(&e, PV_WIRE_MAGIC);
    pv_enc_u32(&e, PV_WIRE_VERSION);
    pv_enc_u32(&e, (uint32_t)s->pid);
    pv_enc_bytes(&e, u.release, strlen(u.release));
    ag_end(s, &e);
}
