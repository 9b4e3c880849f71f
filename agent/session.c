/* SPDX-License-Identifier: MIT */
/*
 * The loop of a session.  Received bytes wait in s->in, replies in s->out until the socket takes them.
 * While s->out holds much, verbs read no more data, so a command blocks in its pipe and nothing grows.  A
 * data frame whose verb cannot take it yet stays at the head of s->in, and the loop looks for a CANCEL
 * behind it.
 */
#include "session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "high-fd.h"
#include "process.h"
#include "reply.h"
#include "request.h"
#include "signals.h"
#include "switch-root.h"
#include "util.h"
#include "verb.h"
#include "agent/verbs/table.h"

enum { RECV_SOME = 256 * 1024 }; /* received at once of data taken in parts: stays in the CPU's cache */

/* ---- frames ---- */

static enum ag_step reply_malformed(struct ag_session *s, uint32_t id, unsigned type)
{
    ag_reply_error(s, id, EPROTO, "malformed %s", pv_msg_name(type));
    return AG_DONE;
}

static void cancel_request(struct ag_session *s, uint32_t id)
{
    if (s->verb && s->id == id && s->verb->cancel)
        s->verb->cancel(s);
}

/* A data frame.  Drops it when it belongs to no request (any more). */
static enum ag_step take_input(struct ag_session *s, unsigned type, struct pv_dec *d, uint32_t id)
{
    const struct ag_input *mine = s->verb && s->id == id ? ag_verb_input(s->verb, type) : NULL;
    const struct ag_input *any = mine ? mine : ag_verb_input(NULL, type);

    if (any->valid && !any->valid(*d))
        return reply_malformed(s, id, type);
    return mine ? mine->take(s, d) : AG_DONE;
}

static enum ag_step start_request(struct ag_session *s, const struct ag_verb *verb, struct pv_dec *d,
                                  uint32_t id)
{
    if (verb->any_time)
        return verb->start(s, id, d) ? AG_DONE : reply_malformed(s, id, verb->message);
    if (s->verb) {
        ag_reply_error(s, id, EBUSY, "%s while another request is worked on", pv_msg_name(verb->message));
        return AG_DONE;
    }
    ag_world_follow(&s->w);
    s->verb = verb;
    s->id = id;
    if (!verb->start(s, id, d)) {
        s->verb = NULL;
        return reply_malformed(s, id, verb->message);
    }
    if (s->verb && !verb->more && !verb->input[0].message)
        ag_request_end(s);
    return AG_DONE;
}

static enum ag_step handle_frame(struct ag_session *s, unsigned type, uint8_t *payload, size_t n)
{
    struct pv_dec d = {.p = payload, .n = n};
    const struct ag_verb *verb = ag_verb_of(type);
    uint32_t id = pv_dec_u32(&d);

    if (!verb && type != PV_MSG_CANCEL && !ag_verb_input(NULL, type))
        return AG_BAD;
    if (d.bad)
        return reply_malformed(s, 0, type);
    if (verb)
        return start_request(s, verb, &d, id);
    if (type != PV_MSG_CANCEL)
        return take_input(s, type, &d, id);
    if (!pv_dec_done(&d))
        return reply_malformed(s, id, type);
    cancel_request(s, id);
    return AG_DONE;
}

/* ---- received bytes ---- */

static void consume_input(struct ag_session *s, size_t n)
{
    s->in.head += n;
    if (s->in.head == s->in.tail)
        s->in.head = s->in.tail = 0;
}

/* True when a frame is complete `off` bytes behind the head.  A bad header ends the connection. */
static bool frame_at(struct ag_session *s, size_t off, unsigned *type, uint32_t *n)
{
    size_t have = s->in.tail - s->in.head - off;

    if (have < PV_FRAME_HEADER)
        return false;
    if (!pv_frame_header(s->in.data + s->in.head + off, type, n)) {
        s->dead = true;
        return false;
    }
    return have - PV_FRAME_HEADER >= *n;
}

/* Takes a frame behind the head whose input is urgent; its id becomes 0, so that it is dropped later. */
static void take_urgent(struct ag_session *s, unsigned type, uint8_t *payload, struct pv_dec *d, uint32_t id)
{
    const struct ag_input *input = s->verb && s->id == id ? ag_verb_input(s->verb, type) : NULL;

    if (!input || !input->urgent || !input->valid(*d))
        return;
    input->take(s, d);
    memset(payload, 0, sizeof(id));
}

/* Handles every CANCEL and every urgent frame in s->in, while a data frame waits at its head. */
static void look_for_urgent(struct ag_session *s)
{
    size_t off = 0;
    unsigned type;
    uint32_t n;

    for (; frame_at(s, off, &type, &n); off += PV_FRAME_HEADER + n) {
        uint8_t *payload = s->in.data + s->in.head + off + PV_FRAME_HEADER;
        struct pv_dec d = {.p = payload, .n = n};
        uint32_t id = pv_dec_u32(&d);

        if (d.bad)
            continue;
        if (type == PV_MSG_CANCEL && pv_dec_done(&d))
            cancel_request(s, id);
        else
            take_urgent(s, type, payload, &d, id);
    }
}

/* The request's input for this message, if it may be taken in parts; else NULL. */
static const struct ag_input *input_in_parts(struct ag_session *s, unsigned type)
{
    const struct ag_input *input = s->verb ? ag_verb_input(s->verb, type) : NULL;

    return input && input->in_parts && input->in_parts(s) ? input : NULL;
}

/* Removes the head of an incomplete data frame that may be taken in parts; s->in.rest: the data behind it. */
static void begin_parts(struct ag_session *s)
{
    struct pv_dec d = {.p = s->in.data + s->in.head, .n = s->in.tail - s->in.head};
    unsigned type;
    uint32_t n, id, len;

    if (s->dead || d.n < AG_DATA_HEAD || !pv_frame_header(d.p, &type, &n) || !input_in_parts(s, type))
        return;
    d.p += PV_FRAME_HEADER;
    id = pv_dec_u32(&d);
    len = pv_dec_u32(&d);
    if (id != s->id || n < AG_DATA_HEAD - PV_FRAME_HEADER || len != n - (AG_DATA_HEAD - PV_FRAME_HEADER))
        return;
    consume_input(s, AG_DATA_HEAD);
    s->in.parts = ag_verb_input(s->verb, type);
    s->in.rest = len;
}

/*
 * Hands over data of such a frame, or drops it once the request has ended.  False when the rest is missing.
 */
static bool take_parts(struct ag_session *s)
{
    size_t n = s->in.tail - s->in.head;
    bool last = n >= s->in.rest;

    if (last)
        n = s->in.rest;
    if (s->verb)
        n = s->in.parts->take_part(s, s->in.data + s->in.head, n, last);
    s->in.rest -= (uint32_t)n;
    consume_input(s, n);
    return s->in.rest == 0;
}

/* Why work_input() returned. */
enum stall {
    STALL_NONE, /* no complete frame is left */
    STALL_FD,   /* the verb cannot take the data frame at the head now */
    STALL_ROOM, /* the reply to the frame at the head might not fit into s->out */
};

static bool has_reply_room(const struct ag_session *s, unsigned type, uint32_t n)
{
    const struct ag_verb *verb = ag_verb_of(type);
    size_t data = verb && verb->reply_room ? verb->reply_room(n) : 0;

    return sizeof(s->out.data) - ag_reply_queued(s) >= AG_REPLY_MAX + data;
}

static enum stall work_input(struct ag_session *s)
{
    unsigned type;
    uint32_t n;

    while (!s->dead) {
        if (s->in.rest && !take_parts(s))
            break;
        if (!frame_at(s, 0, &type, &n)) {
            begin_parts(s);
            if (!s->in.rest)
                break;
            continue;
        }
        if (!has_reply_room(s, type, n))
            return STALL_ROOM;
        enum ag_step step = handle_frame(s, type, s->in.data + s->in.head + PV_FRAME_HEADER, n);

        if (step == AG_BAD)
            s->dead = true;
        if (step == AG_WAIT) {
            const struct ag_verb *before = s->verb;

            look_for_urgent(s);
            if (s->verb == before)
                return STALL_FD;
            continue; /* cancelled: the frame at the head will be dropped */
        }
        s->in.done = 0;
        consume_input(s, PV_FRAME_HEADER + n);
    }
    return STALL_NONE;
}

static void move_input_down(struct ag_session *s)
{
    memmove(s->in.data, s->in.data + s->in.head, s->in.tail - s->in.head);
    s->in.tail -= s->in.head;
    s->in.head = 0;
}

static void receive_input(struct ag_session *s)
{
    if (s->in.head && s->in.tail == sizeof(s->in.data))
        move_input_down(s);
    size_t room = sizeof(s->in.data) - s->in.tail;

    if (s->in.rest && s->in.tail - s->in.head < 4096) {
        move_input_down(s);
        room = RECV_SOME;
    }
    ssize_t n = recv(s->fd, s->in.data + s->in.tail, room, MSG_DONTWAIT);

    if (n > 0)
        s->in.tail += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        s->dead = true;
}

/* ---- the loop ---- */

static void fill_pollfds(struct ag_session *s, struct pollfd p[1 + AG_POLL_N], enum stall stall)
{
    bool full = s->in.tail - s->in.head == sizeof(s->in.data);

    for (int i = 0; i < AG_POLL_N; i++)
        p[1 + i] = (struct pollfd){.fd = -1};
    p[0] = (struct pollfd){
        .fd = s->fd, .events = (short)(POLLRDHUP | (full ? 0 : POLLIN) | (ag_reply_queued(s) ? POLLOUT : 0))};
    if (s->verb && s->verb->pollfds)
        s->verb->pollfds(s, p + 1, stall == STALL_FD);
}

/* The host has hung up, even if s->in is full and its last bytes cannot be read. */
static bool is_peer_gone(short revents)
{
    return revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL);
}

static void send_ready(struct ag_session *s)
{
    struct utsname u;
    struct pv_enc e = ag_frame_begin(s, PV_MSG_READY, 256);

    uname(&u);
    pv_enc_u32(&e, PV_WIRE_MAGIC);
    pv_enc_u32(&e, PV_WIRE_VERSION);
    pv_enc_u32(&e, (uint32_t)s->pid);
    pv_enc_bytes(&e, u.release, strlen(u.release));
    ag_frame_end(s, &e);
}

static void session_run(struct ag_session *s)
{
    enum stall stall = STALL_NONE;

    send_ready(s);
    while (!s->dead) {
        struct pollfd p[1 + AG_POLL_N];

        ag_reply_send(s);
        while (stall == STALL_ROOM && !ag_reply_queued(s) && !s->dead) { /* no event would end this stall */
            stall = work_input(s);
            ag_reply_send(s);
        }
        fill_pollfds(s, p, stall);
        if (ag_poll_to(p, 1 + AG_POLL_N, s->verb && s->verb->due ? s->verb->due(s) : INT64_MAX) < 0 &&
            errno != EINTR)
            return;
        if (p[0].revents & POLLIN)
            receive_input(s);
        else if (is_peer_gone(p[0].revents))
            return;
        if (s->verb && s->verb->more)
            s->verb->more(s, p + 1);
        stall = work_input(s);
    }
}

void ag_session_main(int fd, const struct ag_world *w)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    ag_signals_ignore(true);
    struct ag_session *s = ag_session_new(ag_high_fd(fd), w, session_run);

    if (!s)
        _exit(1);
    ag_high_world(&s->w); /* those that the supervisor has moved stay where they are */
    if (ag_switch_hold(s->w.root_switch, s->fd, s->w.dev_fd))
        session_run(s);
    ag_process_end(s);
}
