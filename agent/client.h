/* SPDX-License-Identifier: MIT */
/*
 * A client for the agent's own tests: the host's side of the protocol, blocking, with deadlines, on any
 * socket.
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
    size_t head, tail; /* received bytes that no frame was taken from yet */
    uint8_t *in;
    unsigned type; /* the last frame */
    struct pv_dec d;
    uint32_t id; /* of that frame; not of READY */
};

/* All frames that replied to a request. */
struct cl_reply {
    unsigned
        type; /* PV_MSG_OK, ERROR, EXIT, SYSRET, JOB, JOB_STATE, WORKER, FILE_STAT; 0: none in time; 1: the
                      connection ended */
    uint64_t value, duration;
    uint32_t errnum, code, signal, flags;
    uint32_t job, pid, port, running;
    char text[8192];
    struct cl_bytes bufs[4]; /* of SYSRET */
    uint32_t n_bufs;
    struct cl_bytes entries; /* payloads of ENTRY and FILE_STAT, without the id; DATA is in data[0] */
    uint64_t holes;          /* bytes in HOLE frames */
    struct cl_bytes data[3]; /* DATA, STDOUT, STDERR */
};

/* Starts `agent --fd N` on one end of a socket pair and checks its READY; false on failure. */
bool cl_start(struct client *c, const char *agent);
void cl_adopt(struct client *c, int fd);
/* Closes the socket and waits for the agent: its wait status, or -1 if it was killed after 5 s. */
int cl_stop(struct client *c);

void cl_send_raw(struct client *c, const void *data, size_t n);
void cl_send(struct client *c, struct pv_enc *e); /* ends the frame first */

/* 1: a frame (c->type, c->id, and c->d behind the id); 0: the end; -1: no frame within ms. */
int cl_recv(struct client *c, int ms);

/* Waits until n bytes lie in the socket, of which nothing is read; false if they have not come after CL_SOON. */
bool cl_await_unread(struct client *c, int n);

/* Send requests.  argv and env are NULL-terminated; env NULL: PATH only. */
void cl_exec(struct client *c, uint32_t id, uint32_t flags, uint64_t timeout_ms, const char *cwd,
             const char *const *argv, const char *const *env);
void cl_sh(struct client *c, uint32_t id, uint32_t flags, uint64_t timeout_ms, const char *cmd);
void cl_path(struct client *c, unsigned type, uint32_t id, const char *path);
void cl_read_part(struct client *c, uint32_t id, const char *path, uint64_t offset, uint64_t length);
void cl_write_begin(struct client *c, uint32_t id, uint32_t mode, const char *path);
void cl_write_flags(struct client *c, uint32_t id, uint32_t mode, uint32_t flags, const char *path);
void cl_stat(struct client *c, uint32_t id, uint32_t follow, const char *path);
void cl_file_op(struct client *c, uint32_t id, uint32_t op, uint32_t a, uint32_t b, const char *path,
                const char *other);
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
void cl_u64s(struct client *c, unsigned type, uint32_t id, const uint64_t *v,
             size_t n); /* MEM_FREE, MEM_READ, ... */
void cl_mem_alloc(struct client *c, uint32_t id, uint64_t size, uint32_t flags);
void cl_job_start(struct client *c, uint32_t id, const char *cmd);
void cl_u32(struct client *c, unsigned type, uint32_t id, uint32_t v); /* JOB_KILL, SPAWN, STATUS */
void cl_job_wait(struct client *c, uint32_t id, uint32_t job, uint64_t ms);
void cl_entry(struct client *c, uint32_t id, uint32_t kind, uint32_t mode, const char *name,
              const char *target);
void cl_hole(struct client *c, uint32_t id, uint64_t n);

/*
 * Waits up to ms for the reply to `id`.  Unless `in` is NULL, sends its n bytes as STDIN frames meanwhile,
 * and then the end.
 */
void cl_reply(struct client *c, uint32_t id, const void *in, size_t n, int ms, struct cl_reply *a);
void cl_reply_free(struct cl_reply *a);

/* ---- setup and teardown of tests on the host ---- */

enum { CL_SOON = 20000 }; /* ms: any reply has come by then */

/* Path of the agent's binary: set by main from argv[1]. */
extern const char *cl_agent;

/* Monotonic milliseconds. */
int64_t cl_now_ms(void);
/* For cmocka: *state is a started client.  Teardown fails unless the agent exits with 0 by itself. */
int cl_setup(void **state);
int cl_teardown(void **state);

#endif
