/* SPDX-License-Identifier: MIT */
/* Shared by loop.c and task.c only. */
#ifndef PV_LOOP_INTERNAL_H
#define PV_LOOP_INTERNAL_H

#include <sys/epoll.h>

#include "loop/loop.h"

enum { BATCH = 64, KEPT_STACKS = 8 };

struct pv_loop {
    int epfd;
    struct pv_timer *timers;
    struct epoll_event batch[BATCH];
    int n_batch;
    struct pv_task *tasks;     /* all tasks that were not freed, in the order of their start */
    struct pv_task *current;   /* the running task; NULL outside of tasks */
    uint64_t round;            /* number of the round */
    uint64_t changes;          /* how often the list of tasks was changed */
    char *stacks[KEPT_STACKS]; /* of freed tasks, for the next ones */
    unsigned n_stacks;
};

/* pv_loop_run within a task: switches back to the loop until the wait is over. */
int pv_task_wait(struct pv_loop *loop, bool (*done)(void *arg), void *arg, int64_t deadline,
                 struct pv_err *err);
/* Called after each round: resumes every task whose wait is over, until its next wait or its end. */
void pv_tasks_resume(struct pv_loop *loop);
void pv_tasks_free_stacks(struct pv_loop *loop);
/* When the next task is to be resumed: 0 at once, else the earliest deadline, or PV_FOREVER. */
int64_t pv_tasks_due(const struct pv_loop *loop);

#endif
