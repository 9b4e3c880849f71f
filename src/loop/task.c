/* SPDX-License-Identifier: MIT */
/*
 * A task is a stack and a saved context (makecontext).  Control switches to the task when it starts, when its
 * wait is over and when it is freed, and back to where that was done when the task waits or ends.  The loop
 * itself runs on the stack outside of all tasks only.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "loop/internal.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

/*
 * As large as a process's own stack usually is, because Lua scripts run on it.  Untouched pages take no
 * memory.  The lowest page is inaccessible: an overflow is a SIGSEGV.
 */
enum { STACK = 8 << 20, GUARD = 4096 };

/* reason: the context of the task, its wait and what AddressSanitizer needs */
struct pv_task {
    struct pv_loop *loop;
    void (*fn)(void *arg);
    void (*swap)(void *arg);
    void *arg;
    ucontext_t here, back;
    char *stack;
    bool (*done)(void *arg); /* the condition of its current pv_loop_run */
    void *done_arg;
    int64_t deadline;
    bool looked; /* a round has passed since the wait began */
    int result;  /* of the wait: 0, 1 or -1, as for pv_loop_run */
    bool ended, cancelled;
    unsigned shields; /* nested pv_task_shield: its waits work although it is cancelled */
    bool hard;        /* pv_task_free: no wait works any more */
    uint64_t round;   /* the loop's round that resumed it last */
    /* For AddressSanitizer, which has to know the current stack. */
    void *fake, *fake_back;
    const void *back_stack;
    size_t back_size;
    struct pv_task *next;
};

static void fiber_leave(void **fake, const void *stack, size_t size)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(fake, stack, size);
#else
    (void)fake, (void)stack, (void)size;
#endif
}

static void fiber_arrive(void *fake, const void **stack, size_t *size)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, stack, size);
#else
    (void)fake, (void)stack, (void)size;
#endif
}

/* Switches to where the task was entered; does not return when the task has ended. */
static void task_yield(struct pv_task *t)
{
    fiber_leave(t->ended ? NULL : &t->fake, t->back_stack, t->back_size);
    swapcontext(&t->here, &t->back);
    fiber_arrive(t->fake, &t->back_stack, &t->back_size);
}

static void task_enter(struct pv_task *t)
{
    struct pv_task *from = t->loop->current;

    assert(t != from && !t->ended);
    t->loop->current = t;
    if (t->swap)
        t->swap(t->arg);
    fiber_leave(&t->fake_back, t->stack + GUARD, STACK);
    swapcontext(&t->back, &t->here);
    fiber_arrive(t->fake_back, NULL, NULL);
    if (t->swap)
        t->swap(t->arg);
    t->loop->current = from;
}

/* The first function on the task's stack.  makecontext passes ints only, hence the halves of a pointer. */
static void task_begin(unsigned high, unsigned low)
{
    struct pv_task *t = (struct pv_task *)((uintptr_t)high << 32 | low);

    fiber_arrive(NULL, &t->back_stack, &t->back_size);
    t->fn(t->arg);
    t->ended = true;
    task_yield(t);
}

static void task_unlink(struct pv_task *t)
{
    struct pv_task **at = &t->loop->tasks;

    while (*at && *at != t)
        at = &(*at)->next;
    *at = t->next;
    t->loop->changes++;
}

static void task_link(struct pv_task *t)
{
    struct pv_task **at = &t->loop->tasks;

    while (*at)
        at = &(*at)->next;
    *at = t;
    t->loop->changes++;
}

/* ---- stacks: mapping one takes longer than a request's round trip, so some are kept ---- */

/* A stack with its guard page, or NULL with errno. */
static char *stack_take(struct pv_loop *loop)
{
    char *stack;

    if (loop->n_stacks) {
        stack = loop->stacks[--loop->n_stacks];
#ifdef __SANITIZE_ADDRESS__
        __asan_unpoison_memory_region(stack + GUARD, STACK); /* its last frames never returned */
#endif
        return stack;
    }
    stack = mmap(NULL, GUARD + STACK, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return NULL;
    if (mprotect(stack, GUARD, PROT_NONE) == 0)
        return stack;
    munmap(stack, GUARD + STACK);
    return NULL;
}

static void stack_leave(struct pv_loop *loop, char *stack)
{
    if (loop->n_stacks < KEPT_STACKS)
        loop->stacks[loop->n_stacks++] = stack;
    else
        munmap(stack, GUARD + STACK);
}

void pv_tasks_free_stacks(struct pv_loop *loop)
{
    while (loop->n_stacks)
        munmap(loop->stacks[--loop->n_stacks], GUARD + STACK);
}

struct pv_task *pv_task_start(struct pv_loop *loop, void (*fn)(void *arg), void *arg, struct pv_err *err)
{
    return pv_task_start_swapping(loop, fn, NULL, arg, err);
}

struct pv_task *pv_task_start_swapping(struct pv_loop *loop, void (*fn)(void *arg), void (*swap)(void *arg),
                                       void *arg, struct pv_err *err)
{
    char *stack = stack_take(loop);
    struct pv_task *t;
    uintptr_t self;

    if (!stack) {
        pv_err_sys(err, errno, "cannot make a stack");
        return NULL;
    }
    t = pv_xcalloc(1, sizeof(*t));
    self = (uintptr_t)t;
    *t = (struct pv_task){.loop = loop, .fn = fn, .swap = swap, .arg = arg, .stack = stack};
    getcontext(&t->here);
    t->here.uc_stack.ss_sp = t->stack + GUARD;
    t->here.uc_stack.ss_size = STACK;
    makecontext(&t->here, (void (*)(void))task_begin, 2, (unsigned)(self >> 32), (unsigned)self);
    task_link(t);
    task_enter(t);
    return t;
}

bool pv_task_done(const struct pv_task *t)
{
    return t->ended;
}

struct pv_task *pv_task_current(const struct pv_loop *loop)
{
    return loop->current;
}

void pv_task_cancel(struct pv_task *t)
{
    t->cancelled = true;
}

bool pv_task_cancelled(const struct pv_loop *loop)
{
    return loop->current && loop->current->cancelled;
}

void pv_task_shield(const struct pv_loop *loop, bool on)
{
    if (loop->current)
        loop->current->shields += on ? 1U : -1U;
}

/* No wait of the task works any more. */
static bool task_is_stopped(const struct pv_task *t)
{
    return t->hard || (t->cancelled && !t->shields);
}

void pv_task_free(struct pv_task *t)
{
    if (!t)
        return;
    t->cancelled = t->hard = true;
    while (!t->ended) {
        t->result = -1;
        task_enter(t);
    }
    task_unlink(t);
    stack_leave(t->loop, t->stack);
    free(t);
}

int pv_task_wait(struct pv_loop *loop, bool (*done)(void *arg), void *arg, int64_t deadline,
                 struct pv_err *err)
{
    struct pv_task *t = loop->current;

    if (!task_is_stopped(t)) {
        if (done && done(arg))
            return 0;
        t->done = done;
        t->done_arg = arg;
        t->deadline = deadline;
        t->looked = false;
        task_yield(t);
    }
    if (task_is_stopped(t))
        return pv_err_set(err, PV_E_HOST, "the task was given up");
    return t->result;
}

/* True when the task's wait is over; t->result is set then. */
static bool wait_is_over(struct pv_task *t)
{
    if (task_is_stopped(t))
        t->result = -1;
    else if (t->done && t->done(t->done_arg))
        t->result = 0;
    else if (t->looked && pv_now() >= t->deadline)
        t->result = 1;
    else
        return false;
    return true;
}

void pv_tasks_resume(struct pv_loop *loop)
{
    uint64_t round = ++loop->round, changes;
    struct pv_task *t = loop->tasks, *next;

    /* In the order of their start.  A task that runs may start and free others: the list is walked anew then. */
    while (t) {
        next = t->next;
        if (!t->ended && t->round != round) {
            t->looked = true;
            t->round = round;
            if (wait_is_over(t)) {
                changes = loop->changes;
                task_enter(t);
                if (loop->changes != changes)
                    next = loop->tasks;
            }
        }
        t = next;
    }
}

int64_t pv_tasks_due(const struct pv_loop *loop)
{
    int64_t due = PV_FOREVER;

    for (const struct pv_task *t = loop->tasks; t; t = t->next) {
        if (t->ended)
            continue;
        /* The code that ran since the last round may have made a condition true. */
        if (task_is_stopped(t) || (t->done && t->done(t->done_arg)))
            return 0;
        if (t->deadline < due)
            due = t->deadline;
    }
    return due;
}
