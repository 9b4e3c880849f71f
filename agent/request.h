/* SPDX-License-Identifier: MIT */
/* The request that a session works on, and memory that verbs keep from one request to the next. */
#ifndef PV_AGENT_REQUEST_H
#define PV_AGENT_REQUEST_H

#include <stddef.h>

#include "session.h"

/* Ends the request, whose last reply has been queued: closes its descriptors. */
void ag_request_end(struct ag_session *s);
/* Replies ERROR to the request, then ends it. */
void ag_request_fail(struct ag_session *s, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Closes the request's descriptors in a process that goes on without it. */
void ag_request_close(struct ag_session *s);

struct ag_kept_kind {
    size_t size;
    void (*close)(void *memory); /* releases what the block refers to; may run in a fork of the process */
};

/*
 * The session's block of this kind: the same one in each request, zeroed at first.  NULL with errno when
 * there is no memory.  At most AG_KEPT_MAX kinds.
 */
void *ag_keep(struct ag_session *s, const struct ag_kept_kind *kind);
/* Closes all blocks; `release`: and frees their memory. */
void ag_keep_close(struct ag_session *s, bool release);

#endif
