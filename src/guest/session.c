/* SPDX-License-Identifier: MIT */
/*
 * Input is read in large pieces into one buffer and cut into frames in place.  Output is one frame at a time:
 * a head in `out` and, for file data, a body in the caller's memory, so that a megabyte is copied only once,
 * into the guest.
 */
#include "guest/session.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "transport/stream.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"

enum { BUFFER_SIZE = PV_FRAME_HEADER + PV_FRAME_MAX, MAX_ROUNDS = 16 };

void pv_session_break(struct pv_session *s, const struct pv_err *err)
{
    if (s->state == PV_SESSION_BROKEN)
        return;
    s->state = PV_SESSION_BROKEN;
    s->err = *err;
    pv_debug("session", "broken: %s", err->text);
    pv_stream_want_write(s->stream, false);
}

static void session_broken(struct pv_session *s, enum pv_err_class cls, int errnum, const char *what)
{
    struct pv_err e = PV_ERR_INIT;

    pv_err_set_at(&e, cls, errnum, __FILE__, __LINE__, "%s", what);
    pv_session_break(s, &e);
}

/* READY: the greeting. Anything else before it is a protocol error. */
static int session_on_greeting(struct pv_session *s, unsigned type, struct pv_dec *d, struct pv_err *err)
{
    uint32_t magic, version;

    if (type != PV_MSG_READY)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent greeted with %s instead of READY",
                          pv_msg_name(type));
    magic = pv_dec_u32(d);
    version = pv_dec_u32(d);
    s->agent_pid = pv_dec_u32(d);
    pv_dec_str(d, s->release, sizeof(s->release));
    if (!pv_dec_done(d) || magic != PV_WIRE_MAGIC)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent's READY is malformed");
    if (version != PV_WIRE_VERSION)
        return pv_err_set(err, PV_E_PROTOCOL,
                          "the agent speaks protocol version %" PRIu32 ", this provium speaks %d", version,
                          PV_WIRE_VERSION);
    s->state = PV_SESSION_OPEN;
    return 0;
}

static int session_on_frame(struct pv_session *s, unsigned type, const uint8_t *payload, size_t n,
                            struct pv_err *err)
{
    struct pv_dec d = {.p = payload, .n = n};
    uint32_t id;
    int r;

    if (type < PV_MSG_READY)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent %s, which only the host may send",
                          pv_msg_name(type));
    if (s->state == PV_SESSION_GREETING)
        return session_on_greeting(s, type, &d, err);
    if (type == PV_MSG_READY)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent READY twice");
    id = pv_dec_u32(&d);
    if (d.bad)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent %s without an id", pv_msg_name(type));
    if (id != s->id || s->replied || !s->on_frame) {
        pv_debug("session", "stale %s for request %" PRIu32 " dropped", pv_msg_name(type), id);
        return 0;
    }
    r = s->on_frame(s->arg, (enum pv_msg)type, &d, err);
    if (r > 0)
        s->replied = true;
    return r < 0 ? -1 : 0;
}

/* Handles complete frames; the rest of the input moves to the front. */
static int session_cut_frames(struct pv_session *s, struct pv_err *err)
{
    size_t off = 0;

    while (s->in.len - off >= PV_FRAME_HEADER) {
        unsigned type;
        uint32_t len;

        if (!pv_frame_header(s->in.data + off, &type, &len)) {
            if (!pv_msg_name(type))
                return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a frame of unknown type 0x%02x", type);
            return pv_err_set(err, PV_E_PROTOCOL,
                              "the agent sent a frame of %" PRIu32 " bytes; at most %d are allowed", len,
                              PV_FRAME_MAX);
        }
        if (s->in.len - off - PV_FRAME_HEADER < len)
            break;
        if (session_on_frame(s, type, s->in.data + off + PV_FRAME_HEADER, len, err) < 0)
            return -1;
        off += PV_FRAME_HEADER + len;
    }
    if (off) {
        memmove(s->in.data, s->in.data + off, s->in.len - off);
        s->in.len -= off;
    }
    return 0;
}

static void session_pump_in(struct pv_session *s)
{
    for (int rounds = 0; s->state != PV_SESSION_BROKEN; rounds++) {
        ssize_t n = pv_stream_read(s->stream, s->in.data + s->in.len, BUFFER_SIZE - s->in.len);
        struct pv_err e = PV_ERR_INIT;

        if (n == -EAGAIN)
            return;
        /* A guest that floods must not starve other watches and the deadline. */
        if (rounds == MAX_ROUNDS)
            pv_timer_arm(s->loop, &s->again, pv_now());
        if (n == 0) {
            session_broken(s, PV_E_GUEST_DIED, 0,
                           s->in.len ? "the agent closed the connection in the middle of a frame"
                                     : "the agent closed the connection");
            return;
        }
        if (n < 0) {
            session_broken(s, PV_E_GUEST_DIED, (int)-n, "the connection to the agent broke");
            return;
        }
        s->in.len += (size_t)n;
        if (s->alive)
            s->alive(s->alive_arg);
        if (session_cut_frames(s, &e) < 0)
            pv_session_break(s, &e);
        if (rounds == MAX_ROUNDS)
            return;
    }
}

/* Writes as much as the stream takes. True when all is out. */
static bool session_flush(struct pv_session *s)
{
    while (s->out.off < s->out.len || s->body.len) {
        bool head = s->out.off < s->out.len;
        ssize_t n = head ? pv_stream_write(s->stream, s->out.data + s->out.off, s->out.len - s->out.off)
                         : pv_stream_write(s->stream, s->body.data, s->body.len);

        if (n == -EAGAIN || n == 0)
            return false;
        if (n < 0) {
            /* The agent's last frames may still be readable: only reading breaks the session. */
            pv_debug("session", "write: %s", strerror((int)-n));
            s->out.off = s->out.len = s->body.len = 0;
            return true;
        }
        if (head) {
            s->out.off += (size_t)n;
        } else {
            s->body.data += n;
            s->body.len -= (size_t)n;
        }
    }
    s->out.off = s->out.len = 0;
    return true;
}

static void session_pump_out(struct pv_session *s)
{
    int rounds = 0;

    while (s->state == PV_SESSION_OPEN && session_flush(s)) {
        /* Nor may a peer that takes all output at once. */
        if (s->next_chunk && ++rounds > MAX_ROUNDS) {
            pv_timer_arm(s->loop, &s->again, pv_now());
            break;
        }
        if (!s->next_chunk || !s->next_chunk(s->arg, s))
            break;
    }
    if (s->state == PV_SESSION_OPEN)
        pv_stream_want_write(s->stream, !pv_session_drained(s));
}

static void session_on_event(struct pv_stream *stream, void *arg)
{
    struct pv_session *s = arg;

    if (s->state == PV_SESSION_BROKEN)
        return;
    if (s->state == PV_SESSION_CONNECTING) {
        if (stream->error) {
            s->connect_errno = stream->error;
            session_broken(s, PV_E_GUEST_DIED, stream->error, "cannot connect to the agent");
            return;
        }
        if (stream->connecting)
            return;
        s->state = PV_SESSION_GREETING;
    }
    session_pump_in(s);
    session_pump_out(s);
}

static void session_on_again(struct pv_timer *t)
{
    struct pv_session *s = PV_CONTAINER_OF(t, struct pv_session, again);

    session_on_event(s->stream, s);
}

struct pv_session *pv_session_new(struct pv_loop *loop, struct pv_stream *stream)
{
    struct pv_session *s = pv_xcalloc(1, sizeof(*s));

    s->refs = 1;
    s->loop = loop;
    s->again.fn = session_on_again;
    s->stream = stream;
    s->in.data = pv_xmalloc(BUFFER_SIZE);
    s->out.data = pv_xmalloc(BUFFER_SIZE);
    s->state = PV_SESSION_CONNECTING;
    stream->on_event = session_on_event;
    stream->arg = s;
    if (!stream->connecting || stream->error)
        session_on_event(stream, s);
    return s;
}

struct pv_session *pv_session_ref(struct pv_session *s)
{
    s->refs++;
    return s;
}

void pv_session_unref(struct pv_session *s)
{
    if (!s || --s->refs)
        return;
    pv_session_close(s);
    free(s->in.data);
    free(s->out.data);
    free(s);
}

void pv_session_close(struct pv_session *s)
{
    if (!s || !s->stream)
        return;
    session_broken(s, PV_E_USAGE, 0, "the test ended it");
    pv_timer_cancel(s->loop, &s->again);
    pv_stream_close(s->stream);
    s->stream = NULL;
}

bool pv_session_drained(const struct pv_session *s)
{
    return s->out.off == s->out.len && !s->body.len;
}

void pv_session_begin(struct pv_session *s, struct pv_enc *e, enum pv_msg type)
{
    assert(s->id == 0 && pv_session_drained(s)); /* one at a time */
    s->id = ++s->last_id ? s->last_id : ++s->last_id;
    s->replied = false;
    *e = (struct pv_enc){.p = s->out.data, .cap = BUFFER_SIZE};
    pv_enc_begin(e, type);
    pv_enc_u32(e, s->id);
}

int pv_session_send(struct pv_session *s, struct pv_enc *e, struct pv_err *err)
{
    size_t n = pv_enc_end(e);

    if (!n) {
        s->id = 0;
        return pv_err_set(err, PV_E_USAGE, "the request is larger than %d bytes", PV_FRAME_MAX);
    }
    s->out.len = n;
    s->out.off = 0;
    session_pump_out(s);
    return 0;
}

void pv_session_kick(struct pv_session *s)
{
    session_pump_out(s);
}

void pv_session_chunk(struct pv_session *s, enum pv_msg type, const void *data, size_t n)
{
    struct pv_enc e = {.p = s->out.data, .cap = BUFFER_SIZE};

    pv_enc_begin(&e, type);
    pv_enc_u32(&e, s->id);
    pv_enc_u32(&e, (uint32_t)n);
    pv_frame_put_header(s->out.data, type, (uint32_t)(e.len - PV_FRAME_HEADER + n));
    s->out.len = e.len;
    s->out.off = 0;
    s->body.data = data;
    s->body.len = n;
}

void pv_session_more(struct pv_session *s, struct pv_enc *e, enum pv_msg type)
{
    *e = (struct pv_enc){.p = s->out.data, .cap = BUFFER_SIZE};
    pv_enc_begin(e, type);
    pv_enc_u32(e, s->id);
}

void pv_session_more_end(struct pv_session *s, struct pv_enc *e)
{
    s->out.len = pv_enc_end(e);
    s->out.off = 0;
    assert(s->out.len);
}

void pv_session_cancel(struct pv_session *s)
{
    struct pv_enc e;

    /* A frame or body that is partly written must be completed first. */
    if (s->state != PV_SESSION_OPEN || !s->id || !session_flush(s))
        return;
    e = (struct pv_enc){.p = s->out.data, .cap = BUFFER_SIZE};
    pv_enc_begin(&e, PV_MSG_CANCEL);
    pv_enc_u32(&e, s->id);
    s->out.len = pv_enc_end(&e);
    s->out.off = 0;
    s->next_chunk = NULL;
    session_pump_out(s);
}

void pv_session_end(struct pv_session *s)
{
    s->on_frame = NULL;
    s->next_chunk = NULL;
    s->arg = NULL;
    s->id = 0;
    if (s->body.len) {
        /* The body is borrowed and ends with the request: the frame can not be completed. */
        session_broken(s, PV_E_TIMEOUT, 0, "a request was given up in the middle of a frame");
        s->body.len = 0;
    }
}
