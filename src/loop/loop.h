/* SPDX-License-Identifier: MIT */
/*
 * One epoll loop for a process: watched descriptors and timers.  The only caller of epoll_wait.
 *
 * A blocking call anywhere above is "run the loop until this is so, or until the deadline":
 *
 *     static bool answered(void *arg) { return ((struct call *)arg)->done; }
 *     ...
 *     r = pv_loop_run(loop, answered, &call, deadline, err);   // 0 answered, 1 deadline, -1 error
 *
 * Callbacks run inside pv_loop_run, one at a time; they may add and remove watches and timers (their own
 * included) and must not block, run the loop or call Lua.  Watches and timers are embedded in the owner
 * and must be removed before the owner is freed.
 */
#ifndef PV_LOOP_LOOP_H
#define PV_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_loop;

struct pv_watch {
    int fd;          /* -1 while not watched; never closed by the loop */
    uint32_t events; /* EPOLLIN | EPOLLOUT | ...; EPOLLHUP and EPOLLERR always come */
    void (*fn)(struct pv_watch *w, uint32_t events);
};

struct pv_timer {
    int64_t due; /* absolute, pv_now(); 0 while not armed */
    void (*fn)(struct pv_timer *t);
    struct pv_timer *next; /* private */
};

struct pv_loop *pv_loop_new(struct pv_err *err);
void pv_loop_free(struct pv_loop *loop); /* NULL is fine */

/* Starts watching w->fd; w->fn is set by the caller. A failure is an errno of epoll_ctl. */
int pv_loop_add(struct pv_loop *loop, struct pv_watch *w, int fd, uint32_t events, struct pv_err *err);
void pv_loop_set(struct pv_loop *loop, struct pv_watch *w, uint32_t events);
/* Stops watching (before the descriptor is closed) and sets w->fd to -1; not watched is fine. */
void pv_loop_del(struct pv_loop *loop, struct pv_watch *w);

/* Arms or re-arms. */
void pv_timer_arm(struct pv_loop *loop, struct pv_timer *t, int64_t due);
void pv_timer_cancel(struct pv_loop *loop, struct pv_timer *t);

/*
 * Runs until done(arg) is true (checked first and after every round), the deadline passes, or epoll fails.
 * Returns 0, 1 (deadline), -1.  done may be NULL: runs to the deadline.  What is already there is always
 * seen, also with a deadline of now.
 */
int pv_loop_run(struct pv_loop *loop, bool (*done)(void *arg), void *arg, int64_t deadline,
                struct pv_err *err);

/* ---- tasks (task.c): blocking code in the background ---- */

struct pv_task;

/*
 * Runs fn(arg) on a stack of its own, at once, until its first pv_loop_run that has to wait; it goes on
 * within the loop, whenever that wait is over and somebody else's pv_loop_run is going on.  So code that was
 * written to block does its work beside other code, without threads: only at its waits do others get a turn.
 * It must not call Lua, start tasks or be started within one.  NULL with *err: class host.
 */
struct pv_task *pv_task_start(struct pv_loop *loop, void (*fn)(void *arg), void *arg, struct pv_err *err);
bool pv_task_done(const struct pv_task *t);
/*
 * Frees it; not from within a task.  One that has not come to its end is given up: every pv_loop_run in it
 * fails from now on (class host), until fn has returned, which this call waits for.  NULL is fine.
 */
void pv_task_free(struct pv_task *t);

#endif
