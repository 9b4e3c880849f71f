/* SPDX-License-Identifier: MIT */
/*
 * A session: one connection, served by a process (or, for some workers, a thread) with one poll loop.  It
 * works on one request at a time, in buffers of fixed size.  Several sessions may share a process, so none
 * keeps anything in a global.
 */
#ifndef PV_AGENT_SESSION_H
#define PV_AGENT_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/proto.h"
#include "world.h"

enum {
    AG_DATA_HEAD = PV_FRAME_HEADER + 8, /* bytes before the data of a frame {id, bytes} */
    AG_IN_CAP = PV_FRAME_HEADER + PV_FRAME_MAX + 64 * 1024,
    AG_REPLY_MAX = 16 * 1024, /* largest reply frame without bulk data */
    /*
     * Linux puts each send() to a vsock into one packet of up to 64 KiB, whose memory includes headers, is
     * a power of two, and is zeroed first: 64 KiB of data would take 128 KiB.
     */
    AG_PACKET = 60 * 1024,
    AG_BURST = 4 * AG_PACKET,  /* sent before the kernel's thread that feeds the device gets the CPU */
    AG_DATA_HIGH = 512 * 1024, /* no more data is read while this much waits to be sent */
    AG_OUT_CAP = AG_DATA_HIGH + PV_CHUNK + PV_FRAME_MAX + 4 * AG_REPLY_MAX,
    /* A request's own state.  Most of it holds the arguments of a command; pages not touched cost nothing. */
    AG_STATE_MAX = 2 * (PV_ARGS_MAX + 1) * sizeof(char *) + 32 * 1024,
    AG_KEPT_MAX = 4,      /* blocks that verbs keep for the session's life */
    AG_REAPERS_MAX = 320, /* at least one for each job of a session */
};

struct ag_verb;
struct ag_input;
struct ag_kept_kind;

struct ag_session {
    struct ag_world w;
    struct ag_session *next;           /* in the process */
    void (*run)(struct ag_session *s); /* the loop, for workers that this session spawns */
    pid_t pid;                         /* by which STATUS knows the session */
    bool worker;
    int fd;
    bool dead;     /* the connection has ended, or its host broke the protocol */
    int exit_code; /* of the process or thread */

    const struct ag_verb *verb;               /* of the request being worked on; NULL: none */
    uint32_t id;                              /* of that request */
    _Alignas(16) uint8_t state[AG_STATE_MAX]; /* of that request, see AG_STATE in verb.h */
    struct {
        const struct ag_kept_kind *kind;
        void *memory;
    } kept[AG_KEPT_MAX];
    pid_t reapers[AG_REAPERS_MAX]; /* have reported, but were not waited for yet; 0: free */

    struct {
        size_t head, tail;
        size_t done;                  /* data bytes of the frame at the head that the verb has taken */
        const struct ag_input *parts; /* input whose frame is taken in parts; valid while rest > 0 */
        uint32_t rest;                /* data bytes of that frame that are still to come, from the head on */
        uint8_t data[AG_IN_CAP];
    } in;
    struct {
        size_t head, tail;
        uint8_t data[AG_OUT_CAP];
    } out;
};

/* Serves one connection in a process of its own, then ends the process.  Takes the descriptor. */
_Noreturn void ag_session_main(int fd, const struct ag_world *w);

#endif
