/* SPDX-License-Identifier: MIT */
/*
 * The multiplexer: the agent's end of wire/mux.h.  It splits the one byte stream into a socket for each
 * channel and merges their output.  Its callbacks, not the multiplexer, know what a session is.
 *
 * Buffers are of fixed size, and nothing blocks.  A channel's socket is a non-blocking end of a socket
 * pair.
 */
#ifndef PV_AGENT_MUX_H
#define PV_AGENT_MUX_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/mux.h"

enum {
    AG_MUX_IN = 128 * 1024,  /* at least a packet; a read from a port returns up to 4 KiB */
    AG_MUX_OUT = 256 * 1024, /* a write to a port takes up to 32 KiB */
    AG_MUX_SMALL = 64,       /* room that the reply to any packet needs */
};

struct ag_channel {
    enum { AG_CH_FREE, AG_CH_OPEN, AG_CH_ENDED } state; /* ENDED: CLOSE was sent, the host's is due */
    int fd;
    uint32_t credit;   /* DATA bytes that the agent may send */
    uint32_t granted;  /* DATA bytes that the host may send */
    uint32_t taken;    /* DATA bytes that the session took since the last CREDIT */
    uint32_t at, fill; /* DATA bytes that wait in the channel's ring: offset and number */
    bool touched;      /* the ring has used memory */
};

struct ag_mux {
    int port_fd;
    /* A socket connected to this port, owned by the multiplexer; -1 with errno. */
    int (*open)(void *arg, uint32_t port);
    /* HELLO has closed all channels.  May be NULL. */
    void (*reset)(void *arg);
    void *arg;

    bool quiesce, idle; /* the host's QUIESCE and its flag: the supervisor calls ag_mux_quiesced() in time */
    bool resting;       /* ag_mux_quiesced() was called */
    bool off;           /* the other end of the port is closed: poll() is of no use for a while */
    bool stuck;         /* the kernel lacked memory for a write: try again soon */

    uint32_t quiesce_number;
    bool lost;     /* after a fault: input up to the next HELLO is dropped */
    unsigned turn; /* rotates the channel that is served first */
    unsigned top;  /* the highest channel in use */
    struct ag_channel ch[PV_MUX_CHANNELS + 1];
    uint8_t *ring; /* PV_MUX_WINDOW bytes for each channel */
    size_t in_len, out_head, out_tail;
    uint8_t *in, *out;
};

/*
 * Takes port_fd, which must be non-blocking; the callbacks are the caller's to set.  False when there is no
 * memory. Forks do not copy the buffers.
 */
bool ag_mux_init(struct ag_mux *m, int port_fd);

/*
 * One turn: ag_mux_poll() fills p[0..n) with the descriptors to wait for and returns n, at most
 * AG_MUX_POLL; after poll(), ag_mux_turn() is called with the same arrays.
 */
enum { AG_MUX_POLL = PV_MUX_CHANNELS + 1 };
size_t ag_mux_poll(struct ag_mux *m, struct pollfd *p, uint16_t *channels);
void ag_mux_turn(struct ag_mux *m, const struct pollfd *p, const uint16_t *channels, size_t n);

/* True when the port has taken all output. */
bool ag_mux_drained(const struct ag_mux *m);
/* Replies QUIESCED. */
void ag_mux_quiesced(struct ag_mux *m);
/* Closes the multiplexer's descriptors in a child. */
void ag_mux_forget(struct ag_mux *m);

#endif
