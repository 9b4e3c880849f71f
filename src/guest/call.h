/* SPDX-License-Identifier: MIT */
/*
 * One request to an agent, from its encoding to its reply; for the files of this room that make requests.  A
 * request embeds struct pv_call first and adds its own members:
 *
 *     struct pv_call c = {.ok = true};
 *     if (pv_call_begin(a, &c, PV_MSG_READ_FILE, "read_file", &e, err) < 0)
 *         return -1;
 *     pv_enc_str(&e, path);
 *     return pv_call_finish(a, &c, &e, "read_file", timeout_ns, err);
 *
 * Calls block (run the loop), and callbacks make none; several tasks may make calls at a time.  A session
 * works on one request at a time.  Requests that belong to the agent's process (raw calls, jobs, a worker's
 * start) and all those of a worker have its main session in the order in which they came.  Any other request
 * gets the main session when that is free, else an auxiliary one.
 */
#ifndef PV_GUEST_CALL_H
#define PV_GUEST_CALL_H

#include "guest/agent-conn.h"
#include "guest/session.h"
#include "util/err.h"

/*
 * The agent ends commands and system calls at their timeout; the host waits this much longer for its reply.
 */
#define PV_CALL_GRACE (5 * PV_NSEC_PER_SEC)

/* A place in the queue for an agent's main session; pv_agent.turns has the first. */
struct pv_turn {
    const char *what;
    bool yields; /* the request gives way to those behind it */
    struct pv_turn *next;
};

struct pv_call {
    bool ok; /* an OK is the reply to this request; its value: */
    uint64_t value;
    /*
     * Frames other than OK and ERROR: 1 when it was the reply's last, 0 when more will come, -1 with *err
     * when it is malformed (the session breaks then).  For a type that is no reply to this request:
     * pv_call_unexpected.  NULL: there are none.
     */
    int (*frame)(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err);
    /*
     * Queues the next frame of the stream to the guest (pv_session_chunk or pv_session_more) and
     * returns true; the last one clears `open`.  NULL: the request is a single frame.
     */
    bool (*next)(struct pv_call *c, struct pv_session *s);
    bool open; /* the stream's last frame is still to be sent */
    /* Set by `frame` or `next` when the host can not go on (disk full, file gone): ends the call. */
    struct pv_err local;
    uint64_t max_output; /* of pv_call_add_output, 0: PV_MAX_OUTPUT */

    int64_t connect_ns; /* its own limit; it waits so long for a session, at least PV_AGENT_CONNECT_LIMIT */
    int64_t turn_ns;    /* how long it may wait for its turn; 0: no limit of its own */
    /*
     * It may be cancelled for a request that waits for its turn: pv_call_finish fails then, and `yielded` is
     * true.
     */
    bool yields;
    bool yielded;
    bool probe; /* it asks how a process ended: no probe when this one's session breaks */

    /* Private part. */
    struct pv_session *s; /* a reference */
    bool aux;             /* s is an auxiliary session */
    bool deaf;            /* the agent reads no CANCEL while it works on the request */
    struct pv_turn turn;  /* without aux */
    struct pv_err failed; /* from ERROR; class none while there was none */
    uint64_t output;      /* bytes so far */
};

/* Checks the state, opens a session if there is none; *e is ready for the request's fields. */
int pv_call_begin(struct pv_agent *a, struct pv_call *c, enum pv_msg type, const char *what, struct pv_enc *e,
                  struct pv_err *err);
/*
 * Sends and waits. timeout_ns 0: no limit of its own.  A deadline that passes cancels the request; when the
 * agent does not even acknowledge that, the session is dropped and the next call opens a new one.
 */
int pv_call_finish(struct pv_agent *a, struct pv_call *c, struct pv_enc *e, const char *what,
                   int64_t timeout_ns, struct pv_err *err);

/* Instead of pv_call_finish: the request that was begun is not sent. */
void pv_call_drop(struct pv_agent *a, struct pv_call *c);

/* Decodes ERROR into *failed: 1, or -1 with *err. */
int pv_call_dec_error(struct pv_dec *d, struct pv_err *failed, struct pv_err *err);
/* Always -1. */
int pv_call_unexpected(enum pv_msg type, struct pv_err *err);
/*
 * A frame {bytes data} of a command's output: added to buf.  0 or -1.  Output of more than c->max_output bytes
 * in all ends the call with a local error.
 */
int pv_call_add_output(struct pv_call *c, struct pv_buf *buf, struct pv_dec *d, struct pv_err *err);

/* Bytes from memory as frames of one type, the last one empty: a `next` for struct pv_call_bytes. */
struct pv_call_bytes {
    struct pv_call c;
    enum pv_msg type;
    const char *data;
    size_t left;
};
bool pv_call_next_bytes(struct pv_call *c, struct pv_session *s);

/* Class usage unless it can be a guest path. */
int pv_call_check_path(const char *path, struct pv_err *err);
void pv_enc_str(struct pv_enc *e, const char *s);
/* cwd, argv and environment (defaults, the profile's, then x's) as EXEC and JOB_START have them. */
int pv_call_check_command(const struct pv_exec *x, const char *what, struct pv_err *err);
void pv_enc_command(struct pv_enc *e, const struct pv_agent *a, const struct pv_exec *x);
/* All of EXEC behind the id; flags: in addition to those that x means. */
void pv_enc_exec(struct pv_enc *e, const struct pv_agent *a, const struct pv_exec *x, uint32_t flags);
/* Decodes EXIT into *r: 1, or -1 with *err. */
int pv_exec_dec_exit(struct pv_exec_result *r, struct pv_dec *d, struct pv_err *err);
/* Nanoseconds to the wire's milliseconds, rounded up. */
uint64_t pv_wire_ms(int64_t ns);
/* The host's own limit for a request that the agent ends at timeout_ns; 0 stays 0. */
int64_t pv_call_limit(int64_t timeout_ns);

/* ---- requests of the room's own ---- */

/* A fork of the main session's process for one more connection (spawn.c). 0 or -1. */
int pv_agent_spawn_copy(struct pv_agent *a, struct pv_agent_copy *copy, int64_t timeout_ns,
                        struct pv_err *err);
/* SHUTDOWN; returns when the agent has acknowledged it. */
int pv_agent_ask_shutdown(struct pv_agent *a, int64_t deadline, struct pv_err *err);
/* The same for a reboot. */
int pv_agent_ask_reboot(struct pv_agent *a, int64_t deadline, struct pv_err *err);
/* Decodes JOB_STATE, the reply to JOB_WAIT, JOB_KILL and STATUS: 1, or -1 with *err. */
int pv_job_dec_state(struct pv_dec *d, bool *running, int *code, int *sig, struct pv_err *err);

#endif
