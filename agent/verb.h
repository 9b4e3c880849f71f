/* SPDX-License-Identifier: MIT */
/*
 * A verb works on one kind of request.  verbs/NAME.c defines it, verbs/verbs.def lists it; the session's
 * loop knows no verb by name.
 *
 * The session sets s->verb and s->id, then calls start.  A verb without `more` and without input is over
 * when start returns.  Any other goes on until it calls ag_request_end(): `more` is called after every
 * wait, and `take` for each data frame of the request.  Nothing here may block for long: PING and CANCEL
 * wait meanwhile.
 *
 *     AG_STATE(uptime, uptime_state)          // struct uptime *uptime_state(struct ag_session *s)
 *     const struct ag_verb ag_verb_uptime = {
 *         .message = PV_MSG_UPTIME, .start = uptime_start, .more = uptime_more, .due = uptime_due,
 *         .cancel = uptime_cancel, .close = uptime_close};
 */
#ifndef PV_AGENT_VERB_H
#define PV_AGENT_VERB_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reply.h"
#include "request.h"
#include "session.h"
#include "wire/codec.h"
#include "wire/proto.h"

enum { AG_POLL_N = 4, AG_INPUTS_MAX = 4 };

enum ag_step {
    AG_DONE, /* the frame is dealt with */
    AG_WAIT, /* the frame stays at the head until a descriptor of `pollfds` is ready */
    AG_BAD,  /* the frame ends the connection */
};

/* A data frame that a verb accepts while it works on a request. */
struct ag_input {
    unsigned message;
    /* Whether the payload behind the id decodes; NULL: take checks it. */
    bool (*valid)(struct pv_dec d);
    /* It is taken at once, even while an earlier frame stays at the head. */
    bool urgent;
    /* A valid frame.  Bytes of it that were taken before an AG_WAIT are counted in s->in.done. */
    enum ag_step (*take)(struct ag_session *s, struct pv_dec *d);
    /*
     * For {id, bytes} frames that may be taken before they are complete: whether that holds for this request,
     * and take_part, which takes some of n bytes and returns how many.  `last`: the frame ends behind them.
     */
    bool (*in_parts)(struct ag_session *s);
    size_t (*take_part)(struct ag_session *s, const uint8_t *data, size_t n, bool last);
};

struct ag_verb {
    unsigned message;
    bool any_time; /* start replies at once, and is called while another request is worked on as well */
    /* Most data bytes in start's reply to a payload of n bytes; NULL: less than AG_REPLY_MAX. */
    size_t (*reply_room)(uint32_t n);
    /* False when the payload is malformed: the session replies EPROTO.  The state's memory is not cleared. */
    bool (*start)(struct ag_session *s, uint32_t id, struct pv_dec *d);
    struct ag_input input[AG_INPUTS_MAX]; /* ends at message 0 */
    /* Fills in descriptors to wait for; preset to -1.  `stalled`: take returned AG_WAIT. */
    void (*pollfds)(struct ag_session *s, struct pollfd *p, bool stalled);
    /* When `more` is to be called even if no descriptor is ready; NULL, INT64_MAX: never; 0: at once. */
    int64_t (*due)(struct ag_session *s);
    void (*more)(struct ag_session *s, const struct pollfd *p);
    /* CANCEL: replies and ends the request now, or has it end soon. */
    void (*cancel)(struct ag_session *s);
    /* Closes the descriptors of the request, at its end and in forks of the process. */
    void (*close)(struct ag_session *s);
};

/* Defines `name`, which returns the request's state as a struct `type`. */
#define AG_STATE(type, name) \
    static inline struct type *name(struct ag_session *s) \
    { \
        _Static_assert(sizeof(struct type) <= AG_STATE_MAX, "the state of a request is bounded"); \
        return (struct type *)(void *)s->state; \
    }

/* `valid` of a frame {id, bytes}. */
bool ag_bytes_valid(struct pv_dec d);
/* `due` of a verb that makes its reply from files: at once while the output buffer has room. */
int64_t ag_due_with_room(struct ag_session *s);

#endif
