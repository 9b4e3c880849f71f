/* SPDX-License-Identifier: MIT */
/*
 * A held request: one that goes on while its caller does something else, on an auxiliary session of its own.
 * Processes and followed files embed one.  Private to the room.
 *
 * A guest lists its open ones.  Each open one has a reference of the list's, so it goes on when all others are
 * gone, until the request or the guest ends.
 */
#ifndef PV_GUEST_HELD_H
#define PV_GUEST_HELD_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/session.h"
#include "loop/loop.h"
#include "util/err.h"

struct pv_agent;
struct pv_guest;

enum pv_held_state {
    PV_HELD_STARTING, /* sent; STARTED has not come */
    PV_HELD_OPEN,
    PV_HELD_ENDED, /* the last frame of its reply has come */
    PV_HELD_LOST,  /* the session broke, or it was closed */
};

struct pv_held {
    /* set by the embedder */
    char *what;   /* for messages: "the process 'sleep 5'"; owned */
    char *opened; /* where the test opened it: "x.lua:12"; owned, NULL: unknown */
    /* As of pv_call.  STARTED and ERROR do not get here. */
    int (*frame)(struct pv_held *h, enum pv_msg type, struct pv_dec *d, struct pv_err *err);
    bool (*next)(struct pv_held *h, struct pv_session *s); /* as of pv_session; NULL: no frames are sent */
    void (*fini)(struct pv_held *h);                       /* frees the embedder with the last reference */

    enum pv_held_state state;
    bool started;      /* STARTED has come */
    uint32_t pid;      /* from STARTED */
    struct pv_err err; /* from ERROR; class none while there was none */

    /* Private part. */
    unsigned refs;
    struct pv_agent *agent;
    struct pv_guest *guest;
    struct pv_session *session; /* NULL once it is over */
    uint32_t agent_pid;         /* of the session's process */
    unsigned generation;        /* of the guest */
    struct pv_timer over;       /* closes the session outside of its callbacks */
    void (*close)(
        struct pv_held *h); /* pv_held_close, for the guest, which calls no higher file of the room */
    struct pv_held *next_open;
};

void pv_held_ref(struct pv_held *h);
void pv_held_unref(struct pv_held *h);

/*
 * Opens the session; *e is ready for the fields of a request of this type.  *h is zeroed but for the embedder's
 * part, and has one reference, the caller's.  -1 with *err: as of pv_call_begin, and pv_agent_open_aux.
 */
int pv_held_begin(struct pv_held *h, struct pv_agent *a, enum pv_msg type, const char *what, struct pv_enc *e,
                  struct pv_err *err);
/* Sends it and waits for STARTED.  -1 with *err: it did not come; the held request is over. */
int pv_held_start(struct pv_held *h, struct pv_enc *e, const char *what, struct pv_err *err);

/* True while STARTING or OPEN.  Does not wait. */
bool pv_held_is_open(struct pv_held *h);
/* Waits until it is over: 0; 1 at the deadline; -1, class guest-died or usage, when it is LOST. */
int pv_held_wait(struct pv_held *h, int64_t deadline, const char *what, struct pv_err *err);
/* For a LOST one: sets *err to the reason.  May ask the guest.  Always -1. */
int pv_held_why(struct pv_held *h, const char *what, struct pv_err *err);
/* Ends it: the agent gives it up. */
void pv_held_close(struct pv_held *h);

/* Class usage if the guest has an open one: what was opened where. */
int pv_held_check_none(const struct pv_guest *g, const char *what, struct pv_err *err);

#endif
