/* SPDX-License-Identifier: MIT */
/*
 * The multiplexer protocol: many connections over the one byte stream of a virtio-serial port.  Each
 * channel carries the frames of proto.h, as a vsock connection does.  This file is the specification;
 * docs/protocol.md says the same in prose and changes with it.
 *
 * The stream carries packets, in both directions:
 *
 *     [type: u8][0: u8][channel: u16 little-endian][length: u32 little-endian][payload: length bytes]
 *
 * length is at most PV_MUX_MAX and fits the type.  All integers are little-endian.  Any violation, by
 * either side, is a fault that ends the whole stream: the host gives up the port, the agent closes all
 * channels and drops its input up to the next complete HELLO.
 *
 * HELLO from the host resets the stream.  The agent closes every channel, drops its queued output, and
 * replies HELLO with the same nonce.  The host drops all input before exactly that reply, so nothing sent
 * before the reset (before a resume, say) is taken for new.  The host may send packets behind its HELLO
 * without waiting for the reply.
 *
 * OPEN makes a channel.  The host chooses its number, 1 to PV_MUX_CHANNELS, among the free ones, and names
 * a port, as of vsock: PV_AGENT_PORT is a new session, the other ports are workers'.  The agent replies
 * OPENED or REFUSED; the host may send DATA behind its OPEN at once.  Each side may send PV_MUX_WINDOW
 * bytes of DATA on a channel, and more only as CREDIT grants it, so a channel whose receiver does not read
 * never blocks another. CLOSE, sent once by each side, ends the channel in both directions: the first
 * sender drops what it receives until the other side's CLOSE, and then the number is free.
 *
 * QUIESCE brings the agent to rest: it takes no more output from any session, sends all that is queued, and
 * then QUIESCED; with PV_MUX_IDLE only after every session, every worker and all that they keep running
 * have ended. After a QUIESCE the host sends nothing but WAKE or HELLO, and after QUIESCED the agent sends
 * nothing until one of these comes.  So a machine that is saved after QUIESCED has nothing in flight.
 * While it comes to rest the agent makes a session in advance, so that the first OPEN afterwards needs no
 * fork.
 */
#ifndef PV_WIRE_MUX_H
#define PV_WIRE_MUX_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PV_MUX_VERSION = 1,
    PV_MUX_HEADER = 8,          /* bytes before the payload */
    PV_MUX_MAX = 64 * 1024,     /* largest payload */
    PV_MUX_WINDOW = 256 * 1024, /* DATA bytes in flight on a channel, in each direction */
    PV_MUX_GRANT = 64 * 1024,   /* a receiver grants at least as many bytes at once, if it can */
    PV_MUX_NONCE = 16,          /* bytes */
    PV_MUX_CHANNELS = 256,      /* most channels at a time */
    PV_MUX_IDLE = 1,            /* QUIESCE flag: not before all that runs for the host has ended */
};

/* The name of the port in the guest (/sys/class/virtio-ports/.../name). */
#define PV_MUX_PORT_NAME "provium.agent"

/* Name, number, smallest and largest payload.  An X-macro, so that the tables cannot drift. */
#define PV_MUX_PACKETS(X) \
    /* HELLO (channel 0, both ways): nonce[16], u32 PV_MUX_VERSION. */ \
    X(HELLO, 0x68, 20, 20) \
    /* OPEN (host): u32 port.  Reply: OPENED or REFUSED. */ \
    X(OPEN, 1, 4, 4) \
    /* OPENED (guest). */ \
    X(OPENED, 2, 0, 0) \
    /* REFUSED (guest): u32 errno (Linux x86-64).  The channel's number is free at once; the agent drops \
     * the host's DATA on it, and the host sends no CLOSE. */ \
    X(REFUSED, 3, 4, 4) \
    /* DATA (both). */ \
    X(DATA, 4, 1, PV_MUX_MAX) \
    /* CREDIT (both): u32 number of DATA bytes (not 0) that the receiver may send in addition. */ \
    X(CREDIT, 5, 4, 4) \
    /* CLOSE (both). */ \
    X(CLOSE, 6, 0, 0) \
    /* QUIESCE (host, channel 0): u32 flags (PV_MUX_IDLE), u32 number that the host chooses.  Reply: \
     * QUIESCED, unless WAKE comes first; the two may cross. */ \
    X(QUIESCE, 7, 8, 8) \
    /* QUIESCED (guest, channel 0): u32 number of the QUIESCE. */ \
    X(QUIESCED, 8, 4, 4) \
    /* WAKE (host, channel 0): ends the rest that QUIESCE began or asked for. */ \
    X(WAKE, 9, 0, 0)

enum pv_mux_type {
#define PV_MUX_ENUM(name, number, min, max) PV_MUX_##name = (number),
    PV_MUX_PACKETS(PV_MUX_ENUM)
#undef PV_MUX_ENUM
};

/* "OPEN", or NULL for a number that is no packet. */
const char *pv_mux_name(unsigned type);

struct pv_mux_header {
    unsigned type;
    uint16_t channel;
    uint32_t length;
};

/*
 * Decodes and checks a header: NULL when its type is known and its length and channel fit the type, else a
 * static text that says what is wrong.  The caller checks whether the peer may send this type.
 */
const char *pv_mux_header(const uint8_t bytes[static PV_MUX_HEADER], struct pv_mux_header *h);
void pv_mux_put_header(uint8_t bytes[static PV_MUX_HEADER], unsigned type, uint16_t channel, uint32_t length);

/* Little-endian u32 in payloads. */
uint32_t pv_mux_u32(const uint8_t *p);
void pv_mux_put_u32(uint8_t *p, uint32_t v);

#endif
