/* SPDX-License-Identifier: MIT */
/*
 * A task is a stack and a place to go on at (makecontext).  Control goes from the loop to a task and back,
 * and nowhere else: to the task when it is started and when its wait is over, back when it waits or ends.
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

/* Only what is touched takes memory. The lowest page is no one's: an overflow is a SIGSEGV. */
enum { STACK = 1 << 20, GUARD = 4096 };

struct pv_task {
    struct pv_loop *loop;
    void (*fn)(void *arg);
    void *arg;
    ucontext_t here, back;
    char *stack;
    bool (*done)(void *arg); /* what it waits for */
    void *done_arg;
    int64_t deadline;
    bool looked; /* a round has passed since it began to wait */
    int result;  /* of the wait */
    bool ended, cancelled;
    /* AddressSanitizer has to be told of stacks */
    void *fake, *fake_back;
    const void *back_stack;
    size_t back_size;
    struct pv_task *next;
};

static void leaving(void **fake, const void *stack, size_t size)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(fake, stack, size);
#else
    (void)fake, (void)stack, (void)size;
#endif
}

static void arrived(void *fake, const void **stack, size_t *size)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, stack, size);
#else
    (void)fake, (void)stack, (void)size;
#endif
}

/* To the loop. An end does not come back. */
static void yield(struct pv_task *t)
{
    leaving(t->ended ? NULL : &t->fake, t->back_stack, t->back_size);
    swapcontext(&t->here, &t->back);
    arrived(t->fake, &t->back_stack, &t->back_size);
}

static void enter(struct pv_task *t)
{
    assert(!t->loop->current && !t->ended);
    t->loop->current = t;
    leaving(&t->fake_back, t->stack + GUARD, STACK);
    swapcontext(&t->back, &t->here);
    arrived(t->fake_back, NULL, NULL);
    t->loop->current = NULL;
}

/* makecontext passes ints only. */
static void begin(unsigned high, unsigned low)
{
    struct pv_task *t = (struct pv_task *)((uintptr_t)high << 32 | low);

    arrived(NULL, &t->back_stack, &t->back_size);
    t->fn(t->arg);
    t->ended = true;
    yield(t);
}

static void forget(struct pv_task *t)
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
    makecontext(&t->here, (void (*)(void))begin, 2, (unsigned)(self >> 32), (unsigned)self);
    loop->tasks = t;
    enter(t);
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
        enter(t);
    }
    forget(t);
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
        yield(t);
    }
    if (t->cancelled)
        return pv_err_set(err, PV_E_HOST, "it was given up");
    return t->result;
}

/* Its wait is over, and how. */
static bool is_over(struct pv_task *t)
{
    if (t->done && t->done(t->done_arg))
        t->result = 0;
    else if (t->looked && pv_now() >= t->deadline)
        t->result = 1;
    else
        return false;
    return true;
}

void pv_tasks_go_on(struct pv_loop *loop)
{
    struct pv_task *next;

    for (struct pv_task *t = loop->tasks; t; t = next) {
        next = t->next; /* a task starts and frees none */
        if (t->ended)
            continue;
        t->looked = true;
        if (is_over(t))
            enter(t);
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
