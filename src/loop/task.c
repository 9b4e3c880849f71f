/* SPDX-License-Identifier: MIT */
/*
 * A task is a stack and a saved context (makecontext).  Control switches only between the loop and a task:
 * to the task when it starts and when its wait is over, to the loop when the task waits or ends.
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
#include <sanitizer/common_interface_defs.h>
#endif

/* Untouched stack pages take no memory.  The lowest page is inaccessible: an overflow is a SIGSEGV. */
enum { STACK = 1 << 20, GUARD = 4096 };

struct pv_task {
    struct pv_loop *loop;
    void (*fn)(void *arg);
    void *arg;
    ucontext_t here, back;
    char *stack;
    bool (*done)(void *arg); /* the condition of its current pv_loop_run */
    void *done_arg;
    int64_t deadline;
    bool looked; /* a round has passed since the wait began */
    int result;  /* of the wait: 0, 1 or -1, as for pv_loop_run */
    bool ended, cancelled;
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

/* Switches to the loop; does not return when the task has ended. */
static void task_yield(struct pv_task *t)
{
    fiber_leave(t->ended ? NULL : &t->fake, t->back_stack, t->back_size);
    swapcontext(&t->here, &t->back);
    fiber_arrive(t->fake, &t->back_stack, &t->back_size);
}

static void task_enter(struct pv_task *t)
{
    assert(!t->loop->current && !t->ended);
    t->loop->current = t;
    fiber_leave(&t->fake_back, t->stack + GUARD, STACK);
    swapcontext(&t->back, &t->here);
    fiber_arrive(t->fake_back, NULL, NULL);
    t->loop->current = NULL;
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
    if (*at)
        *at = t->next;
}

struct pv_task *pv_task_start(struct pv_loop *loop, void (*fn)(void *arg), void *arg, struct pv_err *err)
{
    char *stack = mmap(NULL, GUARD + STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    struct pv_task *t;
    uintptr_t self;

    if (stack == MAP_FAILED || mprotect(stack, GUARD, PROT_NONE) < 0) {
        pv_err_sys(err, errno, "cannot make a stack");
        if (stack != MAP_FAILED)
            munmap(stack, GUARD + STACK);
        return NULL;
    }
    t = pv_xcalloc(1, sizeof(*t));
    self = (uintptr_t)t;
    *t = (struct pv_task){.loop = loop, .fn = fn, .arg = arg, .stack = stack, .next = loop->tasks};
    getcontext(&t->here);
    t->here.uc_stack.ss_sp = t->stack + GUARD;
    t->here.uc_stack.ss_size = STACK;
    makecontext(&t->here, (void (*)(void))task_begin, 2, (unsigned)(self >> 32), (unsigned)self);
    loop->tasks = t;
    task_enter(t);
    return t;
}

bool pv_task_done(const struct pv_task *t)
{
    return t->ended;
}

void pv_task_free(struct pv_task *t)
{
    if (!t)
        return;
    t->cancelled = true;
    while (!t->ended) {
        t->result = -1;
        task_enter(t);
    }
    task_unlink(t);
    munmap(t->stack, GUARD + STACK);
    free(t);
}

int pv_task_wait(struct pv_loop *loop, bool (*done)(void *arg), void *arg, int64_t deadline,
                 struct pv_err *err)
{
    struct pv_task *t = loop->current;

    if (!t->cancelled && done && done(arg))
        return 0;
    if (!t->cancelled) {
        t->done = done;
        t->done_arg = arg;
        t->deadline = deadline;
        t->looked = false;
        task_yield(t);
    }
    if (t->cancelled)
        return pv_err_set(err, PV_E_HOST, "the task was cancelled");
    return t->result;
}

/* True when the task's wait is over; t->result is set then. */
static bool wait_is_over(struct pv_task *t)
{
    if (t->done && t->done(t->done_arg))
        t->result = 0;
    else if (t->looked && pv_now() >= t->deadline)
        t->result = 1;
    else
        return false;
    return true;
}

void pv_tasks_resume(struct pv_loop *loop)
{
    struct pv_task *next;

    for (struct pv_task *t = loop->tasks; t; t = next) {
        next = t->next; /* stays valid: a task neither starts nor frees a task */
        if (t->ended)
            continue;
        t->looked = true;
        if (wait_is_over(t))
            task_enter(t);
    }
}

int64_t pv_tasks_due(const struct pv_loop *loop)
{
    int64_t due = PV_FOREVER;

    for (const struct pv_task *t = loop->tasks; t; t = t->next)
        if (!t->ended && t->deadline < due)
            due = t->deadline;
    return due;
}
