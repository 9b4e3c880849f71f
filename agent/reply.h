/* SPDX-License-Identifier: MIT */
/*
 * Replies: frames are put into s->out whole and leave as fast as the socket takes them.  The session works on
 * a frame only while its reply is sure to fit, so none of these can fail for lack of room.
 */
#ifndef PV_AGENT_REPLY_H
#define PV_AGENT_REPLY_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "session.h"
#include "wire/codec.h"

void ag_reply_ok(struct ag_session *s, uint32_t id, uint64_t value);
/* ERROR: an errno, and the action that failed ("open '/x'"). */
void ag_reply_error(struct ag_session *s, uint32_t id, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void ag_reply_verror(struct ag_session *s, uint32_t id, int errnum, const char *fmt, va_list ap);
/* JOB_STATE.  `status`: a wait status, not read while it runs. */
void ag_reply_state(struct ag_session *s, uint32_t id, bool runs, int status);

/* A frame of any other shape: `room` is the most bytes that the whole frame takes. */
struct pv_enc ag_frame_begin(struct ag_session *s, unsigned type, size_t room);
void ag_frame_end(struct ag_session *s, struct pv_enc *e);

/* True when the output buffer has room for a frame of data. */
bool ag_data_room(const struct ag_session *s);
/*
 * Reads up to `max` bytes from fd into a frame {s->id, bytes} of this type; `at`: the file offset, or
 * negative to use the descriptor's own.  Returns the bytes read, 0 at the end, -1 with errno.  Call only
 * while ag_data_room().
 */
ssize_t ag_reply_data(struct ag_session *s, unsigned type, int fd, int64_t at, size_t max);

/* Bytes that wait to be sent. */
size_t ag_reply_queued(const struct ag_session *s);
/* Sends as much as the socket takes now; sets s->dead when the connection has failed. */
void ag_reply_send(struct ag_session *s);
/* Sends everything queued; blocks for at most ms. */
void ag_reply_flush(struct ag_session *s, unsigned ms);

#endif
