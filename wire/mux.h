/* SPDX-License-Identifier: MIT */
/*
 * Many connections over one byte stream: what host and agent say to each other on a virtio-serial port, below
 * the frames of proto.h, which each channel carries as a vsock connection would.  This file is the
 * specification; docs/protocol.md tells the same in prose and changes with it.
 *
 * The stream carries packets, in both directions:
 *
 *     [type: u8][0: u8][channel: u16 little-endian][length: u32 little-endian][payload: length bytes]
 *
 * length is at most PV_MUX_MAX and fits the type.  All integers are little-endian.  Anything else, by
 * whichever side, is a fault that ends the whole stream: a host gives the port up, the agent forgets every
 * channel and drops what comes until the next HELLO that is whole.
 *
 * A conversation begins with the host's HELLO.  The agent then closes every channel that it has, drops what
 * waited to be sent, and answers with HELLO and the same nonce.  The host drops every byte until exactly that
 * answer comes, so that nothing of an older conversation (before a resume, say) can be taken for one of this.
 * The host need not wait for the answer: what it sends behind its HELLO belongs to the new conversation.
 *
 * A channel is made by the host, which chooses a number (1 to PV_MUX_CHANNELS) that no channel has: OPEN with
 * a port, as of vsock: PV_AGENT_PORT is a new session, others are workers'.  The agent answers OPENED or
 * REFUSED, but DATA may follow an OPEN at once.  Each side may send PV_MUX_WINDOW bytes of DATA on a channel,
 * and more only as CREDIT grants it, so a channel that nobody reads never stands in the way of another.  A
 * side that has no more to say and hears no more says CLOSE, once; the other one answers with CLOSE (unless
 * it has said so already, of itself), and the number is free.  What comes on a channel between the own CLOSE
 * and the other side's is dropped.
 *
 * QUIESCE brings the agent to rest: from then on nothing is taken from any session, and QUIESCED is sent
 * behind everything that was to be sent; with PV_MUX_IDLE not before every session, every worker and all that
 * they keep running have ended.  After a QUIESCE the host sends nothing but WAKE or HELLO, and after QUIESCED
 * the agent sends nothing until one of these comes.  So a machine that is saved when QUIESCED has arrived has
 * nothing in flight.  While it comes to rest the agent makes a session in advance, for the first OPEN
 * afterwards: that needs no fork.
 */
#ifndef PV_WIRE_MUX_H
#define PV_WIRE_MUX_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PV_MUX_VERSION = 1,
    PV_MUX_HEADER = 8,          /* bytes before the payload */
    PV_MUX_MAX = 64 * 1024,     /* largest payload */
    PV_MUX_WINDOW = 256 * 1024, /* DATA bytes that may be on their way on a channel, each direction */
    PV_MUX_GRANT = 64 * 1024,   /* a receiver grants as much at once, while it can */
    PV_MUX_NONCE = 16,          /* bytes */
    PV_MUX_CHANNELS = 256,      /* most channels at a time */
    PV_MUX_IDLE = 1,            /* QUIESCE: with nothing left that runs for the host */
};

/* The name of the port in the guest (/sys/class/virtio-ports/.../name). */
#define PV_MUX_PORT_NAME "provium.agent"

/* name, number, smallest and largest payload.  X-macro so that the tables can not drift. */
#define PV_MUX_PACKETS(X) \
    /* HELLO (channel 0, both ways): nonce[16], u32 PV_MUX_VERSION. */ \
    X(HELLO, 0x68, 20, 20) \
    /* OPEN (host): u32 port.  Answer: OPENED or REFUSED. */ \
    X(OPEN, 1, 4, 4) \
    /* OPENED (guest). */ \
    X(OPENED, 2, 0, 0) \
    /* REFUSED (guest): u32 errno (Linux x86-64); the number is free again at once: nothing on it follows, \
     * and what the host sent meanwhile is dropped.  The host sends no CLOSE. */ \
    X(REFUSED, 3, 4, 4) \
    /* DATA (both). */ \
    X(DATA, 4, 1, PV_MUX_MAX) \
    /* CREDIT (both): u32 DATA bytes (not 0) that may be sent beyond those granted so far. */ \
    X(CREDIT, 5, 4, 4) \
    /* CLOSE (both). */ \
    X(CLOSE, 6, 0, 0) \
    /* QUIESCE (host, channel 0): u32 flags (PV_MUX_IDLE), u32 number that the host chooses.  Answer: \
     * QUIESCED, unless WAKE comes first (it may be on its way already then). */ \
    X(QUIESCE, 7, 8, 8) \
    /* QUIESCED (guest, channel 0): u32 number of the QUIESCE. */ \
    X(QUIESCED, 8, 4, 4) \
    /* WAKE (host, channel 0): takes a QUIESCE back, answered or not. */ \
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
 * The one door: NULL when the header is a legal one (a type of ours, its length and, 0 or not, its channel
 * fit), else what is wrong with it, static text.  Which side may send what is the caller's to check.
 */
const char *pv_mux_header(const uint8_t bytes[static PV_MUX_HEADER], struct pv_mux_header *h);
void pv_mux_put_header(uint8_t bytes[static PV_MUX_HEADER], unsigned type, uint16_t channel, uint32_t length);

/* Little-endian words of payloads. */
uint32_t pv_mux_u32(const uint8_t *p);
void pv_mux_put_u32(uint8_t *p, uint32_t v);

#endif
