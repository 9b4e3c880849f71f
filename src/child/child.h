/* SPDX-License-Identifier: MIT */
/*
 * A supervised child: a fork of this process that runs a function, with a SOCK_SEQPACKET socket back to the
 * parent.  The supervisor runs test files in such children, the process of a test file builds fixtures in
 * them.  A child dies with its parent (PR_SET_PDEATHSIG), and its end is seen through a pidfd in the loop.
 *
 *     static void count_main(void *arg)                      in the child
 *     {
 *         send(PV_CHILD_SOCK, "hello", 5, MSG_NOSIGNAL);
 *         dprintf(PV_CHILD_FDS, "to the first of fds");
 *         _exit(0);                                          returning ends it with exit status 0 too
 *     }
 *     static const struct pv_child_ops ops = {.message = on_message, .exit = on_exit};
 *     ...
 *     struct pv_child c = PV_CHILD_INIT;
 *     int fds[] = {log_fd};
 *     pv_child_start(&c, loop, &(struct pv_child_opts){.ops = &ops, .main = count_main, .arg = &job,
 *                                                      .fds = fds, .n_fds = 1}, &err);
 *     pv_loop_run(loop, job_done, &job, deadline, &err);     on_message, then on_exit are called in here
 *     pv_child_end(&c);                                      kills it if it still runs
 *
 * fork copies the parent's memory: a child must not use its parent's loop, guests and Lua state, whose
 * descriptors it no longer has.
 */
#ifndef PV_CHILD_CHILD_H
#define PV_CHILD_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "loop/loop.h"

struct pv_child;
struct pv_err;

/* Called from the loop, in the parent. */
struct pv_child_ops {
    /*
     * One message of the child, of at most PV_CHILD_MESSAGE_MAX bytes; a longer one is cut to that + 1, an
     * empty one has n 0.  Descriptors that come with it are closed.
     */
    void (*message)(struct pv_child *c, const unsigned char *msg, size_t n);
    /* A piece of the child's standard output and error; only with pv_child_opts.capture. */
    void (*output)(struct pv_child *c, const char *data, size_t n);
    /*
     * The child was reaped, and its messages and output were delivered; status is that of waitpid(2).  Its own
     * children may hold its socket and go on sending: at most 16 MiB are delivered, and nothing after half a
     * second but the first 1024 pieces.  The last callback; it may start c again.
     */
    void (*exit)(struct pv_child *c, int status);
};

enum {
    PV_CHILD_MESSAGE_MAX = 64 * 1024,
    PV_CHILD_SOCK = 3, /* in the child: its end of the socket */
    PV_CHILD_FDS = 4   /* in the child: fds[0] of its options, fds[1] is the next, and so on */
};

struct pv_child_opts {
    const struct pv_child_ops *ops;
    void (*main)(void *arg); /* in the child */
    void *arg;               /* of main */
    /*
     * The child's descriptors at PV_CHILD_FDS and up; -1 leaves a number free. They stay open in the parent.
     */
    const int *fds;
    size_t n_fds;
    /*
     * Capture: the child reads /dev/null and writes 1 and 2 to `output`; otherwise it keeps 0, 1 and 2 of
     * this process.  It has no other descriptors than these, its socket and fds.
     */
    bool capture;
    /*
     * A process group of its own: pv_child_kill and the end of the child kill all of it, before the leader
     * is reaped, so that the group's number cannot have been given to others.
     */
    bool own_group;
    /*
     * Handler of SIGTERM in the child, which it then gets when its parent dies; NULL: it gets SIGKILL, and
     * SIGTERM has its default action.
     */
    void (*on_term)(int sig);
};

struct pv_child {
    struct pv_loop *loop;
    const struct pv_child_ops *ops;
    pid_t pid; /* 0: does not run */
    bool own_group;
    int pidfd, sock, out; /* -1: closed; out: reading end of a captured output */
    struct pv_watch proc_watch, sock_watch, out_watch;
};

#define PV_CHILD_INIT \
    { \
        .pidfd = -1, .sock = -1, .out = -1 \
    }

/*
 * Forks.  c does not run, and must not move until pv_child_end or the exit callback.  -1 with *err, class
 * host: nothing of the child is left.  Call it from the main thread: PR_SET_PDEATHSIG watches the forking
 * thread.
 */
int pv_child_start(struct pv_child *c, struct pv_loop *loop, const struct pv_child_opts *o,
                   struct pv_err *err);
/* SIGTERM to the child itself. Not running: nothing. */
void pv_child_term(struct pv_child *c);
/* SIGKILL to the child, or to its group; the loop then calls exit. Not running: nothing. */
void pv_child_kill(struct pv_child *c);
/*
 * Delivers at most `most` messages that are there already, without waiting for the loop.
 */
void pv_child_drain(struct pv_child *c, int most);
/* Leaves its messages and output where they are, so that it waits, until on is false.  Twice is fine. */
void pv_child_hold(struct pv_child *c, bool on);
/*
 * Kills and reaps the child if it still runs (blocks until the kernel has ended it), delivers its messages
 * and output within the limits of exit, and closes the descriptors.  exit is not called.  Twice is fine, and
 * so is PV_CHILD_INIT.
 */
void pv_child_end(struct pv_child *c);

/* Replaces everything in `name` that a shell would need quoted by '_', for names of log directories. */
void pv_child_plain_name(char *name);

#endif
