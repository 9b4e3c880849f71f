/* SPDX-License-Identifier: MIT */
/*
 * The agent's end of wire/mux.h: takes the one byte stream apart into a socket for each session, and brings
 * theirs together.  It knows neither sessions nor how they are started; the supervisor tells it.
 *
 * Everything is of fixed size and never blocks.  Sockets of channels are ends of socket pairs, non-blocking.
 */
#ifndef PV_AGENT_MUX_H
#define PV_AGENT_MUX_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/mux.h"

enum {
    AG_MUX_IN = 128 * 1024,  /* at least a packet; ports give 4 KiB at a time */
    AG_MUX_OUT = 256 * 1024, /* written to the port in as large pieces as it takes (32 KiB) */
    AG_MUX_SMALL = 64,       /* room that the answer to any packet needs */
};

struct ag_channel {
    enum { AG_CH_FREE, AG_CH_OPEN, AG_CH_ENDED } state; /* ENDED: we said CLOSE; the host's is awaited */
    int fd;
    uint32_t credit;   /* DATA bytes that we may send */
    uint32_t granted;  /* ... and that the host may */
    uint32_t taken;    /* by the session, not granted again yet */
    uint32_t at, fill; /* what the socket did not take yet, in `ring` */
    bool touched;      /* the ring holds memory */
};

struct ag_mux {
    int port_fd;
    /* A socket of a new connection to this port: -1 with errno. */
    int (*open)(void *arg, uint32_t port);
    /* HELLO: whatever the old conversation began is over. May be NULL. */
    void (*reset)(void *arg);
    void *arg;

    /* What the host wants; the supervisor sees to it and calls ag_mux_quiesced. */
    bool quiesce, idle;
    bool resting; /* ... which it did */
    bool off;     /* nobody holds the other end: nothing is to be had for a while */
    bool stuck;   /* the kernel has no memory for what we write: to be tried again soon */

    uint32_t quiesce_number;
    bool lost;     /* a fault: everything up to the next HELLO is dropped */
    unsigned turn; /* who is first */
    unsigned top;  /* no channel above it */
    struct ag_channel ch[PV_MUX_CHANNELS + 1];
    uint8_t *ring; /* PV_MUX_CHANNELS + 1 times PV_MUX_WINDOW */
    size_t in_len, out_head, out_tail;
    uint8_t *in, *out;
};

/* Takes the descriptor, which must be non-blocking. False when there is no memory. Forks do not copy it. */
bool ag_mux_init(struct ag_mux *m, int port_fd);

/*
 * What to wait for: fills p[0..n) and returns n, at most AG_MUX_POLL.  Then, once poll() has returned,
 * ag_mux_turn with the same array.
 */
enum { AG_MUX_POLL = PV_MUX_CHANNELS + 1 };
size_t ag_mux_poll(struct ag_mux *m, struct pollfd *p, uint16_t *who);
void ag_mux_turn(struct ag_mux *m, const struct pollfd *p, const uint16_t *who, size_t n);

/* True when all that was to be sent is sent. */
bool ag_mux_drained(const struct ag_mux *m);
/* Answers the QUIESCE. */
void ag_mux_quiesced(struct ag_mux *m);
/* In a child: closes what is the multiplexer's. */
void ag_mux_forget(struct ag_mux *m);

#endif
