/* SPDX-License-Identifier: MIT */
/*
 * One connection to an agent process: frames over a stream.  All bytes of the guest enter here: sizes, types,
 * directions and ids are checked, and callers get decoded frames of their own request.
 *
 * Owned by an instance or a worker, which closes it; a request that is under way keeps the closed object.
 * Works in callbacks of the loop; never blocks.  Its buffers hold one frame each.
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
    PV_SESSION_CONNECTING, /* the stream is connecting */
    PV_SESSION_GREETING,   /* it is connected; READY has not come */
    PV_SESSION_OPEN,
    PV_SESSION_BROKEN, /* err says why; it is only closed then */
};

/* reason: one object for the connection, its request and its buffers */
struct pv_session {
    enum pv_session_state state;
    struct pv_err err; /* once BROKEN */
    int connect_errno; /* ECONNREFUSED and so on when the connection could not be made, else 0 */
    struct pv_stream *stream;
    char release[128]; /* from READY: uname -r */
    uint32_t agent_pid;
    uint64_t version; /* of its process: the number of raw calls that may have changed it */

    /* The current request; id 0: none. */
    uint32_t id, last_id;
    bool replied; /* the final frame of it has come */
    /*
     * Called for each frame of the current request, with the decoder behind the id.  Returns 1 when this
     * frame is the reply's last, 0 when more will come, -1 with *err when the frame is malformed (which
     * breaks the session).
     */
    int (*on_frame)(void *arg, enum pv_msg type, struct pv_dec *d, struct pv_err *err);
    /*
     * Called when the output is drained: queues the next frame (pv_session_chunk or pv_session_more) and
     * returns true; false when there is none.  NULL: the request is a single frame.
     */
    bool (*next_chunk)(void *arg, struct pv_session *s);
    void *arg;
    /* Called (if set) whenever bytes came from the guest, as a sign of life. */
    void (*alive)(void *arg);
    void *alive_arg;

    /* Private part. */
    unsigned refs;
    struct pv_loop *loop;
    struct pv_timer again; /* goes on after the other watches had their turn */
    struct {
        uint8_t *data; /* PV_FRAME_HEADER + PV_FRAME_MAX */
        size_t len;
    } in;
    struct {
        uint8_t *data; /* the same size: one frame, written from `off` on */
        size_t len, off;
    } out;
    struct {
        const uint8_t *data; /* borrowed; follows `out` */
        size_t len;
    } body;
};

/* Takes the stream; the caller has the one reference. */
struct pv_session *pv_session_new(struct pv_loop *loop, struct pv_stream *stream);
struct pv_session *pv_session_ref(struct pv_session *s);
/* Closes and frees it with the last reference. NULL is fine. */
void pv_session_unref(struct pv_session *s);
/* Ends the connection: the session is broken from now on. NULL and a closed one are fine. */
void pv_session_close(struct pv_session *s);

/*
 * Begins a request: *e is an encoder over the output buffer, its id already written.  The output must be
 * drained (no request before it is half sent).
 */
void pv_session_begin(struct pv_session *s, struct pv_enc *e, enum pv_msg type);
/* Sends the encoder's bytes as a frame. -1, class usage, when they do not fit in a frame. */
int pv_session_send(struct pv_session *s, struct pv_enc *e, struct pv_err *err);
/*
 * From next_chunk: the frame `type` {current id, bytes data[n]} is sent next; data is borrowed until the
 * reply has come or pv_session_end.
 */
void pv_session_chunk(struct pv_session *s, enum pv_msg type, const void *data, size_t n);
/*
 * From next_chunk as well: a frame of any shape with the current id.  It must fit (asserted): its callers'
 * fields are bounded.
 */
void pv_session_more(struct pv_session *s, struct pv_enc *e, enum pv_msg type);
void pv_session_more_end(struct pv_session *s, struct pv_enc *e);
/* Asks next_chunk again, which had no frame before. */
void pv_session_kick(struct pv_session *s);
/* Asks the agent to give up the current request; sent after the output that is queued. */
void pv_session_cancel(struct pv_session *s);
/* The request is over for the caller: its callbacks are not called any more. */
void pv_session_end(struct pv_session *s);
/* True when no byte waits to be written. */
bool pv_session_drained(const struct pv_session *s);
/* Marks it broken with an error of the caller's (a timeout, say). */
void pv_session_break(struct pv_session *s, const struct pv_err *err);

#endif
