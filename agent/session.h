/* SPDX-License-Identifier: MIT */
/*
 * One connection: a process, or a thread of one, with one poll loop, one request at a time, and buffers of
 * fixed size.  Nothing of a session is in a global, because several may share a process.
 */
#ifndef PV_AGENT_SESSION_H
#define PV_AGENT_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/codec.h"
#include "wire/proto.h"

struct ag_table;

/* What the process was started with. */
struct ag_world {
    int proc_fd;            /* procfs, mounted nowhere; -1: none */
    int dev_fd;             /* devtmpfs, likewise */
    int null_fd;            /* /dev/null */
    int ctl_fd;             /* to the multiplexer; -1: the guest has vsock */
    int life_fd;            /* held by everything that a session began, never read; -1: nobody asks */
    struct ag_table *table; /* how sessions and workers ended; shared by all */
    bool follow_init;       /* go where PID 1's root goes */
    bool may_halt;          /* SHUTDOWN and MOUNT_VFS are for guests only */
    dev_t root_dev;         /* the root that was followed last */
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
    AG_DATA_HEAD = PV_FRAME_HEADER + 8, /* what goes before the bytes of a frame {id, bytes} */
    AG_IN_CAP = PV_FRAME_HEADER + PV_FRAME_MAX + 64 * 1024,
    AG_IN_SOME = 256 * 1024,  /* received at once of what goes to a file: stays in the CPU's cache */
    AG_REPLY_MAX = 16 * 1024, /* room that an answer without data may need */
    /*
     * Linux puts what one send() gives to a vsock into one packet of up to 64 KiB, in one piece of memory
     * that also holds its headers and is a power of two, all of it zeroed first: of 64 KiB data that is 128
     * KiB.
     */
    AG_PACKET = 60 * 1024,
    AG_BURST = 4 * AG_PACKET,  /* sent before the kernel's thread that feeds the device gets the CPU */
    AG_DATA_HIGH = 512 * 1024, /* no more data is taken up while this much waits to be sent */
    AG_OUT_CAP = AG_DATA_HIGH + PV_CHUNK + PV_FRAME_MAX + 4 * AG_REPLY_MAX,
};

enum ag_req { AG_IDLE, AG_EXEC, AG_READ, AG_WRITE, AG_JOB, AG_KMSG, AG_PUT, AG_GET };

enum ag_step { AG_DONE, AG_WAIT, AG_BAD }; /* a frame: dealt with, to be tried again, ends the connection */

struct ag_exec {
    pid_t keeper;
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

enum { AG_JOBS_MAX = 256, AG_KEEPERS_MAX = AG_JOBS_MAX + 64 };

struct ag_job {
    uint32_t id; /* 0: free */
    pid_t pid, keeper;
    int ctl;    /* to the keeper; -1 once it has ended */
    int out[2]; /* files with stdout and stderr */
    bool told;  /* that it has ended */
    uint32_t code, signal;
};

/* The request that waits for a job or hands out what it wrote. */
struct ag_job_wait {
    struct ag_job *job;
    int64_t due;
    bool sending;
    int64_t at[2], end[2];
};

enum { AG_TREE_DEPTH = 256, AG_SMALL_N = 16 };

struct ag_tree {
    int root;               /* O_PATH of the tree's root directory, -1: none (yet) */
    uint64_t n;             /* entries so far */
    bool putting;           /* PUT: a file is open */
    uint16_t file_mode;     /* that it gets */
    int64_t size;           /* of it, holes included */
    char name[PV_PATH_MAX]; /* PUT: of the innermost directory; GET: of the entry worked on */
    char last[PV_PATH_MAX]; /* PUT: of the entry worked on */
    int depth;
    uint16_t mode[AG_TREE_DEPTH]; /* PUT: what the directories of `name` get in the end */
    int dir[AG_TREE_DEPTH];       /* GET: they themselves */
    int64_t at[AG_TREE_DEPTH];    /* GET: how far they are read */
    uint16_t len[AG_TREE_DEPTH];  /* GET: of their names */
    int64_t at_data, data_end;    /* GET: how far the file is read, and up to where it has no hole */
    bool sparse;
};

struct ag_file {
    int fd;
    uint32_t mode;
    bool regular, fifo;
    enum { AG_UNKNOWN, AG_PIECES, AG_WHOLE } how; /* WRITE: may a WDATA be written in pieces? */
    uint64_t bytes;
    char path[PV_PATH_MAX];
};

struct ag_session {
    struct ag_world w;
    struct ag_session *next; /* of this process */
    pid_t pid;               /* that STATUS knows it by */
    bool worker;
    int fd;
    bool dead; /* the other end went away or talks nonsense */
    int exit_code;
    enum ag_req req;
    uint32_t id;      /* of the request being worked on */
    size_t head_done; /* data bytes of the frame at the head that are written already */
    uint32_t rest;    /* bytes at the head that belong to a WDATA frame whose beginning is gone already */
    struct ag_exec exec;
    struct ag_file file;
    struct ag_tree tree;
    struct ag_job_wait wait;
    struct ag_job jobs[AG_JOBS_MAX];
    uint32_t last_job;
    pid_t keepers[AG_KEEPERS_MAX]; /* that are to be reaped once they are gone */
    int timer;                     /* interrupts system calls; of thread timer_tid */
    pid_t timer_tid;
    uint8_t *small; /* memory for small buffers of system calls, mapped when first needed */
    char cwd[PV_PATH_MAX];
    char *args[PV_ARGS_MAX + 1], *envs[PV_ARGS_MAX + 1];
    size_t in_head, in_tail, out_head, out_tail;
    uint8_t in[AG_IN_CAP], out[AG_OUT_CAP];
};

/* One that waits for nothing yet: never touched pages cost nothing.  NULL with errno. */
struct ag_session *ag_session_new(int fd, const struct ag_world *w);
/* Until the connection ends. */
void ag_session_run(struct ag_session *s);
/* The session of a process of its own. */
_Noreturn void ag_session_main(int fd, const struct ag_world *w);

/* ---- answers (reply.c); there is always room for one when a frame is worked on ---- */
void ag_reply_ok(struct ag_session *s, uint32_t id, uint64_t value);
void ag_reply_exit(struct ag_session *s); /* of s->exec */
/* errno and what was being done. */
void ag_reply_error(struct ag_session *s, uint32_t id, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* True when a chunk of data may be taken up now. */
bool ag_data_room(const struct ag_session *s);
/*
 * Reads up to `max` bytes of fd (at an offset, unless that is negative) straight into a frame.  Bytes read, 0
 * at end, -1 with errno. Call only while ag_data_room().
 */
ssize_t ag_pump(struct ag_session *s, unsigned type, int fd, int64_t at, size_t max);
size_t ag_queued(const struct ag_session *s);
/* For answers of any shape; room is the frame's size at most. */
struct pv_enc ag_begin(struct ag_session *s, unsigned type, size_t room);
void ag_end(struct ag_session *s, struct pv_enc *e);
void ag_send_ready(struct ag_session *s);
/* What the socket takes now. */
void ag_send(struct ag_session *s);
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
/* str cwd and the two lists of EXEC and JOB_START, into s; false when malformed. */
bool ag_take_command(struct ag_session *s, struct pv_dec *d);
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
    bool job;             /* AG_STARTED is told as well */
    int pump[2], sink[2]; /* of a job: what comes out of pump is written to sink; else -1 */
    int proc_fd;
    int life_fd;     /* see struct ag_world */
    bool urgent;     /* see ag_urgent */
    bool unnumbered; /* PV_EXEC_UNNUMBERED */
};

/* What the keeper reports, in one datagram each. */
struct ag_report {
    enum { AG_FAILED, AG_ENDED, AG_STARTED } kind; /* it never ran; it has ended; it runs (jobs only) */
    int value; /* AG_FAILED: errno; AG_ENDED: wait status; AG_STARTED: pid */
    enum { AG_AT_FORK, AG_AT_CHDIR, AG_AT_EXEC } at;
    uint64_t duration;
    char what[1024]; /* AG_FAILED: the path */
};

/*
 * Runs the command and stays until it has ended.  Any byte on `ctl`, or its end, kills the command with
 * everything that descends from it.  Never returns.
 */
_Noreturn void ag_keeper(int ctl, const struct ag_command *c);

/* ---- process.c ---- */
/*
 * fork() for a process that may have threads, and whose children's end concerns nobody but the agent: a
 * keeper is no child that wait4(-1) of a system call request would see.  In the child the other sessions'
 * sockets and jobs are closed.  unnumbered: as ag_fork_unnumbered.
 */
pid_t ag_fork_keeper(struct ag_session *s, bool unnumbered);
/* fork() of a process without threads; the child's number is one from the top of the range. */
pid_t ag_fork_unnumbered(int exit_signal);
/* Later, when it is gone. */
void ag_reap_later(struct ag_session *s, pid_t keeper);
void ag_spawn(struct ag_session *s, uint32_t id, struct pv_dec *d);
void ag_status(struct ag_session *s, uint32_t id, struct pv_dec *d);
/* The session is over: ends the process, or waits for its threads first. */
_Noreturn void ag_process_end(struct ag_session *s);

/* ---- syscall.c ---- */
void ag_syscall(struct ag_session *s, uint32_t id, struct pv_dec *d);

/* ---- job.c ---- */
void ag_job_start(struct ag_session *s, uint32_t id, struct pv_dec *d);
void ag_job_ask(struct ag_session *s, uint32_t id, struct pv_dec *d, bool kill_it);
/* The keeper may have said something, the wait may be over, there may be room for more of the answer. */
void ag_job_more(struct ag_session *s);
/* When the wait is over (the descriptor to poll in *fd), INT64_MAX: never. */
int64_t ag_job_due(const struct ag_session *s, int *fd);
void ag_job_close(struct ag_job *j);

/* ---- kmsg.c ---- */
void ag_kmsg_start(struct ag_session *s, uint32_t id);
void ag_kmsg_more(struct ag_session *s);

/* ---- tree-put.c, tree-get.c ---- */
void ag_put_start(struct ag_session *s, uint32_t id, struct pv_dec *d);
void ag_put_entry(struct ag_session *s, struct pv_dec *d);
void ag_put_hole(struct ag_session *s, uint64_t n);
enum ag_step ag_put_data(struct ag_session *s, const uint8_t *data, size_t n);
void ag_get_start(struct ag_session *s, uint32_t id, struct pv_dec *d);
void ag_get_more(struct ag_session *s);
/* Closes what a tree holds open. */
void ag_tree_close(struct ag_session *s);

/* ---- file.c ---- */
void ag_read_start(struct ag_session *s, uint32_t id, struct pv_dec *d);
void ag_read_more(struct ag_session *s);
void ag_write_start(struct ag_session *s, uint32_t id, struct pv_dec *d);
enum ag_step ag_write_data(struct ag_session *s, const uint8_t *data, size_t n);
/* Whether the bytes of a WDATA frame may go to the file before it is whole. */
bool ag_write_pieces(struct ag_session *s);
/* Some of a WDATA frame's bytes; takes what makes whole pages unless they are the last ones: how many. */
size_t ag_write_some(struct ag_session *s, const uint8_t *data, size_t n, bool last);

/* ---- resume.c ---- */
void ag_resume(struct ag_session *s, uint32_t id, struct pv_dec *d);

/* ---- vfs.c ---- */
void ag_mount_vfs(struct ag_session *s, uint32_t id);
void ag_shutdown(struct ag_session *s, uint32_t id, uint32_t how);

#endif
