/* SPDX-License-Identifier: MIT */
/* Shared by loop.c and task.c only. */
#ifndef PV_LOOP_INTERNAL_H
#define PV_LOOP_INTERNAL_H

#include <sys/epoll.h>

#include "loop/loop.h"

enum { BATCH = 64 };

struct pv_loop {
    int epfd;
    struct pv_timer *timers;
    struct epoll_event batch[BATCH];
    int n_batch;
    struct pv_task *tasks;   /* those that have not ended */
    struct pv_task *current; /* whose code runs now; NULL: none's */
};

/* What pv_loop_run is within a task: hands the processor back until there is an answer. */
int pv_task_wait(struct pv_loop *loop, bool (*done)(void *arg), void *arg, int64_t deadline,
                 struct pv_err *err);
/* After a round: those whose wait is over go on, to their next wait. */
void pv_tasks_go_on(struct pv_loop *loop);
/* The earliest deadline that a task waits for, or PV_FOREVER. */
int64_t pv_tasks_due(const struct pv_loop *loop);

#endif
