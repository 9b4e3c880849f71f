/* SPDX-License-Identifier: MIT */
/*
 * The host's side of the protocol for the agent's own tests: blocking, with deadlines, on any socket.  Not
 * part of the agent; linked into its tests only.
 */
#ifndef PV_AGENT_CLIENT_H
#define PV_AGENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/codec.h"
#include "wire/proto.h"

struct cl_bytes {
    uint8_t *p;
    size_t n, cap;
};

struct client {
    int fd;
    pid_t pid;         /* of the agent, 0 when it was not started here */
    size_t head, tail; /* of what was received and not looked at */
    uint8_t *in;
    unsigned type; /* the last frame */
    struct pv_dec d;
    uint32_t id; /* its id (not of READY) */
};

/* What answered a request. */
struct cl_answer {
    unsigned type; /* PV_MSG_OK, ERROR, EXIT, SYSRET, JOB, JOB_STATE, WORKER; 0: none came in time; 1: the
                      connection ended */
    uint64_t value, duration;
    uint32_t errnum, code, signal, flags;
    uint32_t job, pid, port, running;
    char text[8192];
    struct cl_bytes bufs[4]; /* of SYSRET */
    uint32_t n_bufs;
    struct cl_bytes entries; /* ENTRY frames: their payload behind the id; DATA is in data[0] */
    uint64_t holes;          /* bytes in HOLE frames */
    struct cl_bytes data[3]; /* DATA, STDOUT, STDERR */
};

/* Starts `agent --fd N` on one end of a socketpair and takes its READY. */
bool cl_start(struct client *c, const char *agent);
void cl_adopt(struct client *c, int fd);
/* Closes, and waits for the agent to end: its exit status, or -1 when it was still there after 5 s. */
int cl_stop(struct client *c);

void cl_send_raw(struct client *c, const void *data, size_t n);
void cl_send(struct client *c, struct pv_enc *e); /* ends the frame first */

/* 1: a frame (c->type, c->id, c->d behind the id); 0: the end; -1: nothing within ms. */
int cl_recv(struct client *c, int ms);

/* Requests, without their answer. argv and env are NULL-terminated; env NULL: PATH alone. */
void cl_exec(struct client *c, uint32_t id, uint32_t flags, uint64_t timeout_ms, const char *cwd,
             const char *const *argv, const char *const *env);
void cl_sh(struct client *c, uint32_t id, uint32_t flags, uint64_t timeout_ms, const char *cmd);
void cl_path(struct client *c, unsigned type, uint32_t id, const char *path);
void cl_write_begin(struct client *c, uint32_t id, uint32_t mode, const char *path);
void cl_data(struct client *c, unsigned type, uint32_t id, const void *data, size_t n);
void cl_id(struct client *c, unsigned type, uint32_t id); /* CANCEL, MOUNT_VFS */

/* SYSCALL. */
struct cl_buf {
    uint32_t slot;
    const void *data;
    size_t n;
};
struct cl_ptr {
    uint32_t buf, offset, len, flags;
    const void *data;
    size_t n;
};
void cl_syscall(struct client *c, uint32_t id, uint64_t timeout_ms, uint64_t nr, const uint64_t arg[6],
                const struct cl_buf *bufs, uint32_t n_bufs, const struct cl_ptr *ptrs, uint32_t n_ptrs);
void cl_job_start(struct client *c, uint32_t id, const char *cmd);
void cl_u32(struct client *c, unsigned type, uint32_t id, uint32_t v); /* JOB_KILL, SPAWN, STATUS */
void cl_job_wait(struct client *c, uint32_t id, uint32_t job, uint64_t ms);
void cl_entry(struct client *c, uint32_t id, uint32_t kind, uint32_t mode, const char *name,
              const char *target);
void cl_hole(struct client *c, uint32_t id, uint64_t n);

/*
 * Waits for the answer to `id`; meanwhile feeds `in` as STDIN frames as fast as they are taken (NULL: none;
 * with n bytes and then the end).
 */
void cl_answer(struct client *c, uint32_t id, const void *in, size_t n, int ms, struct cl_answer *a);
void cl_answer_free(struct cl_answer *a);

/* ---- what every test of the agent on the host begins and ends with ---- */

enum { CL_SOON = 20000 }; /* ms: an answer that comes at all has come by then */

/* Path of the agent's binary: set by main from argv[1]. */
extern const char *cl_agent;

/* Monotonic milliseconds. */
int64_t cl_now_ms(void);
/* cmocka fixtures: *state is a started client; the agent must end by itself, with 0, when its peer goes. */
int cl_setup(void **state);
int cl_teardown(void **state);

#endif
