/* SPDX-License-Identifier: MIT */
/*
 * Timers are a sorted list: there are a handful per VM.  pv_loop_del also clears the watch's pending events
 * in the current batch, so no callback runs for a watch that another callback of this round removed.
 */
#include "loop/internal.h"

#include <errno.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

struct pv_loop *pv_loop_new(struct pv_err *err)
{
    struct pv_loop *loop = pv_xcalloc(1, sizeof(*loop));

    loop->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epfd < 0) {
        pv_err_sys(err, errno, "cannot make an epoll descriptor");
        free(loop);
        return NULL;
    }
    return loop;
}

void pv_loop_free(struct pv_loop *loop)
{
    if (!loop)
        return;
    pv_tasks_free_stacks(loop);
    close(loop->epfd);
    free(loop);
}

int pv_loop_add(struct pv_loop *loop, struct pv_watch *w, int fd, uint32_t events, struct pv_err *err)
{
    struct epoll_event ev = {.events = events, .data.ptr = w};

    if (epoll_ctl(loop->epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return pv_err_sys(err, errno, "cannot watch descriptor %d", fd);
    w->fd = fd;
    w->events = events;
    return 0;
}

void pv_loop_set(struct pv_loop *loop, struct pv_watch *w, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = w};

    if (w->fd < 0 || w->events == events)
        return;
    w->events = events;
    epoll_ctl(loop->epfd, EPOLL_CTL_MOD, w->fd, &ev);
}

void pv_loop_del(struct pv_loop *loop, struct pv_watch *w)
{
    if (w->fd < 0)
        return;
    epoll_ctl(loop->epfd, EPOLL_CTL_DEL, w->fd, NULL);
    w->fd = -1;
    for (int i = 0; i < loop->n_batch; i++)
        if (loop->batch[i].data.ptr == w)
            loop->batch[i].data.ptr = NULL;
}

void pv_timer_cancel(struct pv_loop *loop, struct pv_timer *t)
{
    struct pv_timer **p;

    for (p = &loop->timers; *p; p = &(*p)->next) {
        if (*p == t) {
            *p = t->next;
            break;
        }
    }
    t->due = 0;
    t->next = NULL;
}

void pv_timer_arm(struct pv_loop *loop, struct pv_timer *t, int64_t due)
{
    struct pv_timer **p = &loop->timers;

    pv_timer_cancel(loop, t);
    t->due = due;
    while (*p && (*p)->due <= due)
        p = &(*p)->next;
    t->next = *p;
    *p = t;
}

static void fire_timers(struct pv_loop *loop)
{
    int64_t now = pv_now();

    while (loop->timers && loop->timers->due <= now) {
        struct pv_timer *t = loop->timers;

        pv_timer_cancel(loop, t);
        t->fn(t);
    }
}

/* The timeout of epoll_wait in ms, rounded up so that no wake-up is early; at most an hour. */
static int sleep_ms(const struct pv_loop *loop, int64_t deadline)
{
    int64_t until = deadline, due = pv_tasks_due(loop), ms;

    if (due < until)
        until = due;
    if (loop->timers && loop->timers->due < until)
        until = loop->timers->due;
    if (until == PV_FOREVER)
        return -1;
    ms = (until - pv_now() + PV_NSEC_PER_MSEC - 1) / PV_NSEC_PER_MSEC;
    if (ms < 0)
        return 0;
    return ms > 3600000 ? 3600000 : (int)ms;
}

int pv_loop_run(struct pv_loop *loop, bool (*done)(void *arg), void *arg, int64_t deadline,
                struct pv_err *err)
{
    if (loop->current)
        return pv_task_wait(loop, done, arg, deadline, err);
    /* The first round runs even after the deadline: a deadline of now means "handle pending events". */
    for (bool looked = false;; looked = true) {
        if (done && done(arg))
            return 0;
        if (looked && pv_now() >= deadline)
            return 1;
        loop->n_batch = epoll_wait(loop->epfd, loop->batch, BATCH, sleep_ms(loop, deadline));
        if (loop->n_batch < 0) {
            loop->n_batch = 0;
            if (errno != EINTR)
                return pv_err_sys(err, errno, "epoll_wait");
        }
        for (int i = 0; i < loop->n_batch; i++) {
            struct pv_watch *w = loop->batch[i].data.ptr;

            if (w)
                w->fn(w, loop->batch[i].events);
        }
        loop->n_batch = 0;
        fire_timers(loop);
        pv_tasks_resume(loop);
    }
}
