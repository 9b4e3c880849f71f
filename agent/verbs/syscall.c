/* SPDX-License-Identifier: MIT */
/*
 * SYSCALL: made by the session's own process or thread with the bare instruction.  libc's wrappers would
 * apply new credentials to every thread, keep state of their own, and turn results into errno.
 *
 * Each buffer begins at a multiple of 64, one of a page or more at a page, and as far as that allows it ends
 * at the end of a page.  The page behind is not mapped: a kernel that writes too much gets EFAULT instead of
 * overwriting another buffer.
 *
 * A timeout sends this thread a signal again and again, from the deadline until the call is back: the first
 * one may come just before the instruction, where it interrupts nothing.
 */
#include "agent/verb.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/high-fd.h"
#include "agent/kcov.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum { SIG_INTERRUPT = 63, AGAIN_NS = 10 * 1000 * 1000, PAGE = 4096, ALIGN = 64, SMALL_N = 16 };

/* Memory that a buffer, or a pointer in a buffer, refers to. */
struct area {
    uint8_t *p;
    size_t n;
    const void *data; /* its initial content; zeros follow */
    size_t data_n;
    uint32_t where, offset, flags; /* a buffer: its slot; a pointer: its buffer and the offset there */
};

struct call {
    uint64_t nr, arg[6], timeout;
    uint32_t flags; /* PV_SYSCALL_* */
    uint32_t n_bufs, n_ptrs;
    struct area buf[PV_BUFS_MAX], ptr[PV_BUFS_MAX];
    uint8_t *map;
    size_t map_n;
};

/* The state that a session keeps between SYSCALLs. */
struct kept {
    int timer; /* of thread timer_tid */
    pid_t timer_tid;
    uint8_t
        *small; /* SMALL_N pages for small buffers, each followed by one without access; NULL: not made yet */
};

static void kept_close(void *memory)
{
    struct kept *k = memory;

    if (k->small)
        munmap(k->small, (size_t)SMALL_N * 2 * PAGE);
    k->small = NULL;
}

static const struct ag_kept_kind syscall_kept = {.size = sizeof(struct kept), .close = kept_close};

static __thread volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* ---- the request ---- */

/* {u32 slot, bytes data} */
static bool decode_buffer(struct area *a, struct pv_dec *d)
{
    *a = (struct area){.where = pv_dec_u32(d)};
    a->data = pv_dec_bytes(d, &a->data_n);
    a->n = a->data_n;
    return !d->bad && a->where <= 5;
}

/* Area i: of the buffers, then of the pointers. */
static struct area *area_at(struct call *c, uint32_t i)
{
    return i < c->n_bufs ? &c->buf[i] : &c->ptr[i - c->n_bufs];
}

/* {u32 buffer or earlier pointer, u32 offset, u32 length, u32 flags, bytes data}: pointer i. */
static bool decode_pointer(struct call *c, uint32_t i, struct pv_dec *d)
{
    struct area *a = &c->ptr[i];

    *a = (struct area){.where = pv_dec_u32(d)};
    a->offset = pv_dec_u32(d);
    a->n = pv_dec_u32(d);
    a->flags = pv_dec_u32(d);
    a->data = pv_dec_bytes(d, &a->data_n);
    if (d->bad || a->where >= c->n_bufs + i)
        return false;
    size_t room = area_at(c, a->where)->n;

    return room >= 8 && a->offset <= room - 8 && a->data_n <= a->n && !(a->flags & ~(uint32_t)PV_PTR_OUTPUT);
}

static bool decode_call(struct call *c, struct pv_dec *d)
{
    size_t total = 0;

    c->map = NULL;
    c->map_n = 0;
    c->n_ptrs = 0;
    c->timeout = pv_dec_u64(d);
    c->flags = pv_dec_u32(d);
    c->nr = pv_dec_u64(d);
    for (int i = 0; i < 6; i++)
        c->arg[i] = pv_dec_u64(d);
    c->n_bufs = pv_dec_u32(d);
    if (d->bad || c->n_bufs > PV_BUFS_MAX || c->flags & ~(uint32_t)PV_SYSCALL_COVERAGE)
        return false;
    for (uint32_t i = 0; i < c->n_bufs; i++) {
        if (!decode_buffer(&c->buf[i], d))
            return false;
        total += c->buf[i].n;
    }
    c->n_ptrs = pv_dec_u32(d);
    if (d->bad || c->n_ptrs > PV_BUFS_MAX)
        return false;
    for (uint32_t i = 0; i < c->n_ptrs; i++) {
        if (!decode_pointer(c, i, d))
            return false;
        total += c->ptr[i].n;
    }
    return pv_dec_done(d) && total <= PV_FRAME_MAX - 4096; /* SYSRET can hold it all */
}

/* ---- memory ---- */

static size_t page_align(size_t n)
{
    return (n + PAGE - 1) / PAGE * PAGE;
}

/* An area's bytes in front of its guard page: it begins at a multiple of 64, a large one at a page. */
static size_t area_room(const struct area *a)
{
    return a->n < PAGE ? (a->n + ALIGN - 1) / ALIGN * ALIGN : page_align(a->n);
}

static int map_small(struct kept *k)
{
    uint8_t *p = mmap(NULL, (size_t)SMALL_N * 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return -1;
    for (size_t i = 0; i < SMALL_N; i++)
        if (mprotect(p + i * 2 * PAGE, PAGE, PROT_READ | PROT_WRITE) < 0) {
            munmap(p, (size_t)SMALL_N * 2 * PAGE);
            return -1;
        }
    k->small = p;
    return 0;
}

/*
 * Places up to SMALL_N areas of up to a page each in memory that is mapped once: mapping and unmapping take
 * longer than most calls.  1, 0 when the areas do not fit, -1 with errno.
 */
static int lay_out_small(struct kept *k, struct call *c)
{
    uint32_t n = c->n_bufs + c->n_ptrs;
    bool fits = n <= SMALL_N;

    for (uint32_t i = 0; i < n && fits; i++)
        fits = area_at(c, i)->n <= PAGE;
    if (!fits)
        return 0;
    if (!k->small && map_small(k) < 0)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        struct area *a = area_at(c, i);

        a->p = k->small + i * 2 * PAGE + PAGE - area_room(a);
        if (a->data_n)
            memcpy(a->p, a->data, a->data_n);
        memset(a->p + a->data_n, 0, area_room(a) - a->data_n);
    }
    return 1;
}

/* Places an area at *at and moves that behind its guard page. */
static int place_area(struct area *a, uint8_t **at)
{
    a->p = *at + page_align(a->n) - area_room(a);
    *at += page_align(a->n) + PAGE;
    if (a->data_n)
        memcpy(a->p, a->data, a->data_n);
    return mprotect(*at - PAGE, PAGE, PROT_NONE);
}

static int lay_out_big(struct call *c)
{
    uint32_t n = c->n_bufs + c->n_ptrs;

    for (uint32_t i = 0; i < n; i++)
        c->map_n += page_align(area_at(c, i)->n) + PAGE;
    c->map = mmap(NULL, c->map_n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->map == MAP_FAILED)
        return -1;
    uint8_t *at = c->map;

    for (uint32_t i = 0; i < n; i++)
        if (place_area(area_at(c, i), &at) < 0)
            return -1;
    return 0;
}

/* Places all areas and sets the arguments and pointers to them; 0, or -1 with errno. */
static int lay_out(struct kept *k, struct call *c)
{
    if (c->n_bufs + c->n_ptrs == 0)
        return 0;
    int r = lay_out_small(k, c);

    if (r < 0 || (r == 0 && lay_out_big(c) < 0))
        return -1;
    for (uint32_t i = 0; i < c->n_bufs; i++)
        c->arg[c->buf[i].where] = (uintptr_t)c->buf[i].p;
    for (uint32_t i = 0; i < c->n_ptrs; i++)
        memcpy(area_at(c, c->ptr[i].where)->p + c->ptr[i].offset, &c->ptr[i].p, 8);
    return 0;
}

/* ---- the call ---- */

/*
 * Only the instruction, in a frame of its own: a child of vfork returns here on the stack that its parent
 * will go on with.
 */
static __attribute__((noinline)) int64_t enter_kernel(uint64_t nr, const uint64_t *a)
{
    register uint64_t r10 __asm__("r10") = a[3];
    register uint64_t r8 __asm__("r8") = a[4];
    register uint64_t r9 __asm__("r9") = a[5];
    uint64_t value;
    bool forks = nr == SYS_fork || nr == SYS_vfork || nr == SYS_clone || nr == SYS_clone3;

    __asm__ volatile("syscall"
                     : "=a"(value)
                     : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    /* The child shares the socket with its parent and must not use it. */
    if (value == 0 && forks)
        for (;;)
            __asm__ volatile("syscall"
                             :
                             : "a"((uint64_t)SYS_exit), "D"(UINT64_C(0))
                             : "rcx", "r11", "memory");
    return (int64_t)value;
}

static bool is_own_fd(uint64_t fd)
{
    return (uint32_t)fd >= AG_FD_FIRST && (uint32_t)fd <= AG_FD_LAST;
}

/* close_range(2) around the agent's own descriptors. */
static int64_t close_around(const struct call *c)
{
    uint32_t first = (uint32_t)c->arg[0], last = (uint32_t)c->arg[1];
    uint64_t a[6];
    int64_t value = 0;

    memcpy(a, c->arg, sizeof(a));
    if (first > last || last < AG_FD_FIRST || first > AG_FD_LAST)
        return enter_kernel(c->nr, a);
    if (first < AG_FD_FIRST) {
        a[1] = AG_FD_FIRST - 1;
        value = enter_kernel(c->nr, a);
    }
    if (value < 0)
        return value;
    a[0] = AG_FD_LAST + 1; /* also for a range of own descriptors alone: the kernel checks the flags */
    a[1] = last > AG_FD_LAST ? last : AG_FD_LAST + 1;
    return last > AG_FD_LAST || first >= AG_FD_FIRST ? enter_kernel(c->nr, a) : value;
}

/* The agent's own descriptors are to system calls as if they were not there. */
static int64_t call_kernel(const struct call *c)
{
    if (c->nr == SYS_close_range)
        return close_around(c);
    if ((c->nr == SYS_close && is_own_fd(c->arg[0])) ||
        ((c->nr == SYS_dup2 || c->nr == SYS_dup3) && (is_own_fd(c->arg[0]) || is_own_fd(c->arg[1]))))
        return -EBADF;
    return enter_kernel(c->nr, c->arg);
}

static void set_timer(const struct kept *k, uint64_t ms)
{
    struct itimerspec t = {
        .it_interval = {.tv_nsec = ms ? AGAIN_NS : 0},
        .it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000}};

    syscall(SYS_timer_settime, k->timer, 0, &t, NULL);
}

/* Starts the timeout; 0, or -1 with errno.  Timers are not inherited by a fork, hence timer_tid. */
static int arm_timer(struct kept *k, uint64_t ms)
{
    const struct sigaction sa = {.sa_handler = on_interrupt};
    pid_t self = (pid_t)syscall(SYS_gettid);
    sigset_t set;

    if (k->timer_tid != self) {
        struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIG_INTERRUPT};

        ev.sigev_notify_thread_id = self;
        if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &k->timer) < 0)
            return -1;
        k->timer_tid = self;
    }
    sigaction(SIG_INTERRUPT, &sa, NULL); /* a system call request may have changed it */
    sigemptyset(&set);
    sigaddset(&set, SIG_INTERRUPT);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    interrupted = 0;
    set_timer(k, ms);
    return 0;
}

static void reply_sysret(struct ag_session *s, uint32_t id, const struct call *c, int64_t value)
{
    struct pv_enc e = ag_frame_begin(s, PV_MSG_SYSRET, PV_FRAME_HEADER + PV_FRAME_MAX);
    uint32_t n = c->n_bufs;

    for (uint32_t i = 0; i < c->n_ptrs; i++)
        n += c->ptr[i].flags & PV_PTR_OUTPUT;
    pv_enc_u32(&e, id);
    pv_enc_u64(&e, (uint64_t)value);
    pv_enc_u32(&e, n);
    for (uint32_t i = 0; i < c->n_bufs; i++)
        pv_enc_bytes(&e, c->buf[i].p, c->buf[i].n);
    for (uint32_t i = 0; i < c->n_ptrs; i++)
        if (c->ptr[i].flags & PV_PTR_OUTPUT)
            pv_enc_bytes(&e, c->ptr[i].p, c->ptr[i].n);
    ag_frame_end(s, &e);
}

static void make_call(struct ag_session *s, uint32_t id, struct kept *k, struct call *c)
{
    if (lay_out(k, c) < 0 ||
        (c->timeout && arm_timer(k, c->timeout < 1000000000 ? c->timeout : 1000000000) < 0)) {
        ag_reply_error(s, id, errno, "memory for system call %llu", (unsigned long long)c->nr);
        return;
    }
    struct ag_kcov kcov = AG_KCOV_NONE;

    if (c->flags & PV_SYSCALL_COVERAGE)
        ag_kcov_open(s, &kcov);
    ag_kcov_enable(kcov.fd);
    int64_t value = call_kernel(c);

    ag_kcov_disable(kcov.fd);

    if (c->timeout)
        set_timer(k, 0);
    ag_kcov_reply(s, id, &kcov);
    if (c->timeout && value == -EINTR && interrupted)
        ag_reply_error(s, id, ETIMEDOUT, "system call %llu", (unsigned long long)c->nr);
    else
        reply_sysret(s, id, c, value);
}

static bool syscall_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct call c; /* large, and not cleared */

    if (!decode_call(&c, d))
        return false;
    if (c.nr == SYS_exit) { /* it would end this thread alone and leave the connection open */
        s->exit_code = (int)(c.arg[0] & 0xff);
        s->dead = true;
        return true;
    }
    struct kept *k = ag_keep(s, &syscall_kept);

    if (k)
        make_call(s, id, k, &c);
    else
        ag_reply_error(s, id, errno, "memory for system call %llu", (unsigned long long)c.nr);
    if (c.map && c.map != MAP_FAILED)
        munmap(c.map, c.map_n);
    return true;
}

static size_t syscall_reply_room(uint32_t n)
{
    (void)n;
    return PV_FRAME_MAX + AG_DATA_HEAD + PV_CHUNK; /* SYSRET and COVERAGE */
}

const struct ag_verb ag_verb_syscall = {
    .message = PV_MSG_SYSCALL, .reply_room = syscall_reply_room, .start = syscall_start};
