/* SPDX-License-Identifier: MIT */
/*
 * One connection: a process with one poll loop, one request at a time, and buffers of fixed size.
 */
#ifndef PV_AGENT_SESSION_H
#define PV_AGENT_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/codec.h"
#include "wire/proto.h"

/* What the process was started with. */
struct ag_world {
    int proc_fd;      /* procfs, mounted nowhere; -1: none */
    int dev_fd;       /* devtmpfs, likewise */
    int null_fd;      /* /dev/null */
    bool follow_init; /* go where PID 1's root goes */
    bool may_halt;    /* SHUTDOWN and MOUNT_VFS are for guests only */
    dev_t root_dev;   /* the root that was followed last */
    ino_t root_ino;
};

void ag_world_init(struct ag_world *w);

/*
 * If init has switched to another root since (an initramfs that mounts the real one), goes there too;
 * unless this process has changed its root itself.
 */
void ag_world_follow(struct ag_world *w);

/* SIG_IGN for whatever could end the agent, or back to SIG_DFL for a command. */
void ag_ignore_signals(bool ignore);

enum {
    AG_IN_CAP = PV_FRAME_HEADER + PV_FRAME_MAX + 64 * 1024,
    AG_REPLY_MAX = 16 * 1024,  /* room that an answer without data may need */
    AG_DATA_HIGH = 512 * 1024, /* no more data is taken up while this much waits to be sent */
    AG_OUT_CAP = AG_DATA_HIGH + PV_CHUNK + PV_FRAME_MAX + 4 * AG_REPLY_MAX,
};

enum ag_req { AG_IDLE, AG_EXEC, AG_READ, AG_WRITE };

enum ag_step { AG_DONE, AG_WAIT, AG_BAD }; /* a frame: dealt with, to be tried again, ends the connection */

struct ag_exec {
    int ctl;        /* to the keeper; -1 once it has reported */
    int in;         /* child's stdin, -1 when closed */
    int out[2];     /* its stdout and stderr, -1 at their end */
    int64_t due;    /* when it is killed, INT64_MAX: never */
    uint32_t flags; /* PV_EXIT_* so far */
    bool ended;
    size_t left[2]; /* once ended: bytes that were in the pipes then */
    uint32_t code, signal;
    uint64_t duration;
};

struct ag_file {
    int fd;
    uint32_t mode;
    bool regular;
    uint64_t bytes;
    char path[PV_PATH_MAX];
};

struct ag_session {
    struct ag_world w;
    int fd;
    bool dead; /* the other end went away or talks nonsense */
    enum ag_req req;
    uint32_t id;      /* of the request being worked on */
    size_t head_done; /* data bytes of the frame at the head that are written already */
    struct ag_exec exec;
    struct ag_file file;
    size_t in_head, in_tail, out_head, out_tail;
    uint8_t in[AG_IN_CAP], out[AG_OUT_CAP];
};

_Noreturn void ag_session_main(int fd, const struct ag_world *w);

/* ---- answers (session.c); there is always room for one when a frame is worked on ---- */
void ag_reply_ok(struct ag_session *s, uint32_t id, uint64_t value);
void ag_reply_exit(struct ag_session *s); /* of s->exec */
/* errno and what was being done. */
void ag_reply_error(struct ag_session *s, uint32_t id, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* True when a chunk of data may be taken up now. */
bool ag_data_room(const struct ag_session *s);
/*
 * Reads up to `max` bytes of fd straight into a frame of this type.  Bytes read, 0 at end, -1 with errno.
 * Call only while ag_data_room().
 */
ssize_t ag_pump(struct ag_session *s, unsigned type, int fd, size_t max);
/* The request is over; its answer has been given. */
void ag_request_end(struct ag_session *s);
/* Sends what is queued, waiting at most ms. */
void ag_flush(struct ag_session *s, unsigned ms);

/*
 * While a command runs, what watches over it must get the CPU whatever the command does with it (a fork
 * bomb's thousand processes): real-time priority, which no child inherits.
 */
void ag_urgent(bool on);

/* ---- exec.c ---- */
void ag_exec_start(struct ag_session *s, uint32_t id, struct pv_dec *d);
enum ag_step ag_exec_stdin(struct ag_session *s, const uint8_t *data, size_t n);
void ag_exec_kill(struct ag_session *s, uint32_t exit_flag);
/* The keeper has something to say. */
void ag_exec_ctl(struct ag_session *s);
/* stdout (0) or stderr (1) can be read. */
void ag_exec_output(struct ag_session *s, int which);
/* Answers EXIT once everything is there. */
void ag_exec_check(struct ag_session *s);

/* ---- keeper.c ---- */
struct ag_command {
    char *const *argv, *const *envp;
    const char *cwd;
    int stdio[3];
    int proc_fd;
    bool urgent; /* see ag_urgent */
};

/* What the keeper reports, once, in one datagram. */
struct ag_report {
    enum { AG_FAILED, AG_ENDED } kind; /* it never ran; it has ended */
    int value;                         /* AG_FAILED: errno; AG_ENDED: wait status */
    enum { AG_AT_FORK, AG_AT_CHDIR, AG_AT_EXEC } at;
    uint64_t duration;
    char what[1024]; /* AG_FAILED: the path */
};

/*
 * Runs the command and stays until it has ended.  Any byte on `ctl`, or its end, kills the command with
 * everything that descends from it.  Never returns.
 */
_Noreturn void ag_keeper(int ctl, const struct ag_command *c);

/* ---- file.c ---- */
void ag_read_start(struct ag_session *s, uint32_t id, struct pv_dec *d);
void ag_read_more(struct ag_session *s);
void ag_write_start(struct ag_session *s, uint32_t id, struct pv_dec *d);
enum ag_step ag_write_data(struct ag_session *s, const uint8_t *data, size_t n);

/* ---- vfs.c ---- */
void ag_mount_vfs(struct ag_session *s, uint32_t id);
void ag_shutdown(struct ag_session *s, uint32_t id, uint32_t how);

#endif
