/* SPDX-License-Identifier: MIT */
/* What a session sends: frames are put in `out` whole and leave as far as the socket takes them. */
#include "session.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
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
    enum { HEAD = PV_FRAME_HEADER + 8 };

    if (max > PV_CHUNK)
        max = PV_CHUNK;
    uint8_t *p = out_room(s, HEAD + max);
    ssize_t n = !p ? 0 : at < 0 ? read(fd, p + HEAD, max) : pread(fd, p + HEAD, max, at);

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

void ag_send(struct ag_session *s)
{
    while (ag_queued(s)) {
        ssize_t n = send(s->fd, s->out + s->out_head, ag_queued(s), MSG_NOSIGNAL | MSG_DONTWAIT);

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
