/* SPDX-License-Identifier: MIT */
/*
 * The epoll loop of a process: watched descriptors, timers and tasks.  The only caller of epoll_wait.
 *
 * A blocking call above this room runs the loop until a condition holds or a deadline passes:
 *
 *     static bool is_replied(void *arg) { return ((struct call *)arg)->done; }
 *     ...
 *     r = pv_loop_run(loop, is_replied, &call, deadline, err);      0 replied, 1 deadline, -1 error
 *
 * Callbacks run inside pv_loop_run, one at a time; they may add and remove watches and timers (their own
 * included) and must not block, run the loop or call Lua.  Watches and timers are embedded in their owner,
 * which removes them before it is freed.
 */
#ifndef PV_LOOP_LOOP_H
#define PV_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct pv_err;
struct pv_loop;

struct pv_watch {
    int fd;          /* -1 while not watched; the loop never closes it */
    uint32_t events; /* EPOLLIN | EPOLLOUT | ...; EPOLLHUP and EPOLLERR are always reported */
    void (*fn)(struct pv_watch *w, uint32_t events);
};

struct pv_timer {
    int64_t due; /* a pv_now() time; 0 while not armed */
    void (*fn)(struct pv_timer *t);
    struct pv_timer *next; /* private */
};

struct pv_loop *pv_loop_new(struct pv_err *err);
void pv_loop_free(struct pv_loop *loop); /* NULL is fine; watches and tasks are gone by then */

/* Watches fd; the caller has set w->fn.  -1: epoll_ctl failed, class host. */
int pv_loop_add(struct pv_loop *loop, struct pv_watch *w, int fd, uint32_t events, struct pv_err *err);
/* Changes the watched events. */
void pv_loop_set(struct pv_loop *loop, struct pv_watch *w, uint32_t events);
/* Stops watching and sets w->fd to -1; call it before closing the descriptor.  Not watched is fine. */
void pv_loop_del(struct pv_loop *loop, struct pv_watch *w);

/* Arms or re-arms; the loop disarms the timer before it calls t->fn. */
void pv_timer_arm(struct pv_loop *loop, struct pv_timer *t, int64_t due);
void pv_timer_cancel(struct pv_loop *loop, struct pv_timer *t); /* not armed is fine */

/*
 * Runs until done(arg) is true (checked first and after every round), the deadline passes, or epoll fails:
 * 0, 1 or -1.  done == NULL: runs to the deadline.  At least one round runs, so pending events are handled
 * even when the deadline has passed already.
 */
int pv_loop_run(struct pv_loop *loop, bool (*done)(void *arg), void *arg, int64_t deadline,
                struct pv_err *err);

/* ---- tasks (task.c): coroutines for blocking code beside other code ---- */

struct pv_task;

/*
 * Runs fn(arg) on a stack of its own, at once, until its first pv_loop_run that has to wait.  The loop
 * resumes the task when that wait is over, from a pv_loop_run of the code outside of tasks; of several whose
 * wait is over, in the order of their start.  Switches are cooperative: a task loses the processor only in
 * pv_loop_run, and when it starts or frees another task.  NULL with *err: class host.
 */
struct pv_task *pv_task_start(struct pv_loop *loop, void (*fn)(void *arg), void *arg, struct pv_err *err);
/*
 * The same for a task with variables of its own: swap(arg) is called before control enters the task, and after
 * it has left it.  It exchanges the values of these variables with the other ones that it keeps.
 */
struct pv_task *pv_task_start_swapping(struct pv_loop *loop, void (*fn)(void *arg), void (*swap)(void *arg),
                                       void *arg, struct pv_err *err);
bool pv_task_done(const struct pv_task *t);
/* The task that runs now; NULL: the code outside of tasks. */
struct pv_task *pv_task_current(const struct pv_loop *loop);
/*
 * Cancels: the task is resumed in the loop's next round, and each of its pv_loop_run calls fails (class host)
 * until fn returns.  Between pv_task_shield(loop, true) and (loop, false) in the task they work nevertheless,
 * for waits that clean up and have a short deadline.
 */
void pv_task_cancel(struct pv_task *t);
/* True within a cancelled task. */
bool pv_task_cancelled(const struct pv_loop *loop);
void pv_task_shield(const struct pv_loop *loop, bool on); /* outside of tasks: nothing */
/*
 * Frees the task; not from within itself.  One that has not ended is cancelled, shields or not, and
 * pv_task_free runs it until fn returns.  NULL is fine.
 */
void pv_task_free(struct pv_task *t);

#endif
