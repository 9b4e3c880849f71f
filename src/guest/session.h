/* SPDX-License-Identifier: MIT */
/*
 * One conversation with the agent: frames over a stream.  The door for every byte that a guest sends: sizes,
 * types, directions and ids are checked here, and callers get decoded frames that belong to their request.
 *
 * Owned by a guest; runs in callbacks of the loop; never blocks.  Its buffers are one frame large.
 */
#ifndef PV_GUEST_SESSION_H
#define PV_GUEST_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"
#include "util/err.h"
#include "wire/codec.h"
#include "wire/proto.h"

struct pv_stream;

enum pv_session_state {
    PV_SESSION_CONNECTING, /* the stream does not stand yet */
    PV_SESSION_GREETING,   /* it stands; READY has not come */
    PV_SESSION_OPEN,
    PV_SESSION_BROKEN, /* err says why; only close is left */
};

struct pv_session {
    enum pv_session_state state;
    struct pv_err err; /* once BROKEN */
    int connect_errno; /* ECONNREFUSED and so on when the connection could not be made, else 0 */
    struct pv_stream *stream;
    char release[128]; /* from READY: uname -r */
    uint32_t agent_pid;

    /* The request that is being worked on; id 0 when there is none. */
    uint32_t id, last_id;
    bool answered; /* the final frame of it has come */
    /*
     * Called for each frame of the current request, with the decoder behind the id.  Returns 1 when this
     * frame is the answer's last, 0 when more will come, -1 with *err when the frame is malformed (which
     * breaks the session).
     */
    int (*on_frame)(void *arg, enum pv_msg type, struct pv_dec *d, struct pv_err *err);
    /*
     * Asked for more to send when the output is drained: puts the next frame's head into *head (an encoder
     * whose frame ends with `bytes` of *body, *body_len that are not in it) and returns true; false when
     * there is nothing more.  NULL: the request is a single frame.
     */
    bool (*next_chunk)(void *arg, struct pv_session *s);
    void *arg;
    /* Called (if set) whenever bytes came from the guest: it lives. */
    void (*alive)(void *arg);
    void *alive_arg;

    /* Private part. */
    struct pv_loop *loop;
    struct pv_timer again; /* more input waits, but others had to get their turn */
    uint8_t *in;           /* PV_FRAME_HEADER + PV_FRAME_MAX */
    size_t in_len;
    uint8_t *out; /* the same size: one frame that waits to be written */
    size_t out_len, out_off;
    const uint8_t *body; /* borrowed bytes that follow `out` */
    size_t body_len;
};

/* Takes the stream. */
struct pv_session *pv_session_new(struct pv_loop *loop, struct pv_stream *stream);
void pv_session_free(struct pv_session *s); /* NULL is fine */

/*
 * Begins a request: *e is an encoder over the output buffer, its id already written.  The output must be
 * drained (no request before it is half sent).
 */
void pv_session_begin(struct pv_session *s, struct pv_enc *e, enum pv_msg type);
/* Sends what the encoder holds. -1, class usage, when it does not fit in a frame. */
int pv_session_send(struct pv_session *s, struct pv_enc *e, struct pv_err *err);
/*
 * From next_chunk: the frame `type` {current id, bytes data[n]} is sent next; data is borrowed until the
 * answer has come or pv_session_end.
 */
void pv_session_chunk(struct pv_session *s, enum pv_msg type, const void *data, size_t n);
/*
 * From next_chunk as well: a frame of any shape that carries the current id.  More may not be longer than a
 * frame: asserted, because what the caller puts in is bounded.
 */
void pv_session_more(struct pv_session *s, struct pv_enc *e, enum pv_msg type);
void pv_session_more_end(struct pv_session *s, struct pv_enc *e);
/* Asks the agent to give the current request up; sent behind what is already on its way. */
void pv_session_cancel(struct pv_session *s);
/* The request is over for the caller: its callbacks are not called any more. */
void pv_session_end(struct pv_session *s);
/* True when no byte waits to be written. */
bool pv_session_drained(const struct pv_session *s);
/* Marks it broken with an error of the caller's (a timeout, say). */
void pv_session_break(struct pv_session *s, const struct pv_err *err);

#endif
