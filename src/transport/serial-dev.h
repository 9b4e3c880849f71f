/* SPDX-License-Identifier: MIT */
/*
 * Inside of the virtio-serial transport, shared by its parts: serial.c (the stream: its bytes, its life, its
 * turns) and serial-chan.c (a channel: the stream that the owner holds).  Not for others; see serial.h.
 *
 * Callbacks into owners (on_event, on_change) are made from one place only, serial.c's serial_settle(), from
 * within the loop, and never from within a call that an owner makes.  Owners may do anything in them: `busy`
 * keeps the device and dead channels in memory until the outermost frame is left.
 */
#ifndef PV_TRANSPORT_SERIAL_DEV_H
#define PV_TRANSPORT_SERIAL_DEV_H

#include <stdint.h>

#include "loop/loop.h"
#include "transport/inbox.h"
#include "transport/serial.h"
#include "util/mem.h"
#include "wire/mux.h"

enum {
    PV_SERIAL_IN = 256 * 1024,         /* read from the port at once */
    PV_SERIAL_STALE_MAX = 1024 * 1024, /* bytes of older greetings that are dropped */
    PV_SERIAL_OUT_MAX = 128 * 1024, /* bytes that may wait for a guest that does not read: one DATA and more
                                          small packets than all channels have at a time */
};

enum chan_state {
    CHAN_OPENING, /* OPEN was sent */
    CHAN_OPEN,
    CHAN_CLOSING, /* we said CLOSE; the guest's is awaited, what comes is dropped */
    CHAN_OVER,    /* the number is free again; the owner may still read what came */
};

struct serial;

struct chan {
    struct pv_stream s;
    struct serial *d;  /* NULL once the device is gone */
    struct chan *next; /* of all */
    enum chan_state state;
    uint16_t number;

    struct pv_inbox in; /* its `eof`: the guest said CLOSE */
    uint32_t taken;     /* by the owner, not granted again yet */
    uint32_t granted;   /* DATA bytes that the guest may send */

    uint32_t credit; /* DATA bytes that we may send */
    bool want_write;
    bool no_write; /* shutdown_write */
    bool event;    /* on_event is due */
    bool closed;   /* by its owner */
};

/* reason: one state machine, whose flags are set together at a restart */
struct serial {
    struct pv_channel c;
    struct pv_loop *loop;
    struct pv_watch w;
    struct pv_timer again; /* more to do, after the others had their turn */
    int fd;
    uint8_t hello[PV_MUX_HEADER + PV_MUX_NONCE + 4]; /* ours, and the only reply that is accepted */
    bool greeted;
    bool restarted;   /* pv_serial_restart was called */
    bool port_closed; /* why the channel is broken; the socket stays open, for the next agent */
    size_t stale;     /* bytes dropped while the reply is awaited */

    uint8_t *in; /* PV_SERIAL_IN */
    size_t in_len;
    struct pv_buf out; /* waits to be written, from out_off on */
    size_t out_off;
    struct {
        bool held;               /* a QUIESCE was sent: output behind out_end waits for the WAKE */
        size_t out_end;          /* while held */
        uint32_t asked, reached; /* numbers of the last QUIESCE, and of the last QUIESCED */
    } rest;

    struct chan *chan[PV_MUX_CHANNELS + 1]; /* by number */
    struct chan *all;                       /* those whose number is free, but not their owner, too */
    bool sweep;                             /* some are over and closed: freed in the outermost leave() */
    unsigned busy;
    bool change; /* on_change is due */
    bool freed;
};

/* ---- serial.c ---- */

void pv_serial_enter(struct serial *d);
void pv_serial_leave(struct serial *d);
/* Has serial_settle() run soon, from the loop. */
void pv_serial_later(struct serial *d);
/* A packet without DATA, queued and sent as soon as may be; `word`: its payload when it has one. */
void pv_serial_packet(struct serial *d, unsigned type, uint16_t channel, uint32_t word);
/* True when DATA may be put behind what was sent so far. */
bool pv_serial_has_room(const struct serial *d);
/* One DATA packet; there must be room. The rest that the socket does not take is kept. */
void pv_serial_data(struct serial *d, uint16_t channel, const void *data, uint32_t n);

/* ---- serial-chan.c ---- */

/* Sends its OPEN. NULL when all numbers are taken. */
struct chan *pv_chan_new(struct serial *d, unsigned port);
/* A packet for this channel whose header is legal; NULL, or what is wrong with it (static text). */
const char *pv_chan_packet(struct chan *c, const struct pv_mux_header *h, const uint8_t *payload);
/* Ends it with an errno; the owner is told. The number stays taken: for a device that breaks. */
void pv_chan_break(struct chan *c, int error);
/* The same for a machine that was reset: its number is free. */
void pv_chan_reset(struct chan *c);
/* True when a write would take something, or fail. */
bool pv_chan_writable(const struct chan *c);
/* The device goes away; the owner still has the stream. */
void pv_chan_orphan(struct chan *c);
void pv_chan_free(struct chan *c);

#endif
