/* SPDX-License-Identifier: MIT */
/*
 * SYSCALL: in the session's own process or thread, by the bare instruction (libc's wrappers would spread new
 * credentials to every thread, keep their own counts of things, and change results into errno).
 *
 * Each buffer ends where its page does, and the next page is not there: a kernel that writes too much gets
 * EFAULT where it would otherwise have overwritten its neighbour.  What
 * is larger than a page is there for the call only.
 *
 * A timeout is a signal to this thread, from the deadline on again and again until the call is back: the
 * first one may come just before the instruction, where it would be lost.
 */
#include "agent/session.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/util.h"

enum { SIG_INTERRUPT = 63, AGAIN_NS = 10 * 1000 * 1000, PAGE = 4096, MEMORY_MAX = PV_FRAME_MAX };

struct area {
    uint8_t *p;
    size_t n;
    const void *data;
    size_t data_n;
    uint32_t where, offset, flags; /* slot, or buffer and offset in it */
};

struct call {
    uint64_t nr, arg[6], timeout;
    uint32_t n_bufs, n_ptrs;
    struct area buf[PV_BUFS_MAX], ptr[PV_BUFS_MAX];
    uint8_t *map;
    size_t map_n;
};

static __thread volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* ---- the request ---- */

static bool decode(struct call *c, struct pv_dec *d)
{
    size_t total = 0;

    c->map = NULL;
    c->map_n = 0;
    c->n_ptrs = 0;
    c->timeout = pv_dec_u64(d);
    c->nr = pv_dec_u64(d);
    for (int i = 0; i < 6; i++)
        c->arg[i] = pv_dec_u64(d);
    c->n_bufs = pv_dec_u32(d);
    if (d->bad || c->n_bufs > PV_BUFS_MAX)
        return false;
    for (uint32_t i = 0; i < c->n_bufs; i++) {
        struct area *a = &c->buf[i];

        *a = (struct area){.where = pv_dec_u32(d)};
        a->data = pv_dec_bytes(d, &a->data_n);
        a->n = a->data_n;
        total += a->n;
        if (d->bad || a->where > 5)
            return false;
    }
    c->n_ptrs = pv_dec_u32(d);
    if (d->bad || c->n_ptrs > PV_BUFS_MAX)
        return false;
    for (uint32_t i = 0; i < c->n_ptrs; i++) {
        struct area *a = &c->ptr[i];

        *a = (struct area){.where = pv_dec_u32(d)};
        a->offset = pv_dec_u32(d);
        a->n = pv_dec_u32(d);
        a->flags = pv_dec_u32(d);
        a->data = pv_dec_bytes(d, &a->data_n);
        total += a->n;
        if (d->bad || a->where >= c->n_bufs || c->buf[a->where].n < 8 || a->offset > c->buf[a->where].n - 8 ||
            a->data_n > a->n || a->flags & ~(uint32_t)PV_PTR_OUTPUT)
            return false;
    }
    return pv_dec_done(d) && total <= MEMORY_MAX - 4096; /* so that all of it fits in SYSRET */
}

/* ---- memory ---- */

/* Buffers first, then what pointers point to. */
static struct area *area(struct call *c, uint32_t i)
{
    return i < c->n_bufs ? &c->buf[i] : &c->ptr[i - c->n_bufs];
}

static size_t pages(size_t n)
{
    return (n + PAGE - 1) / PAGE * PAGE;
}

/*
 * Most calls have a few small buffers: their pages are mapped once, since mapping, guarding and unmapping
 * take longer than the call.
 */
static int lay_out_small(struct ag_session *s, struct call *c)
{
    uint32_t n = c->n_bufs + c->n_ptrs;
    bool fits = n <= AG_SMALL_N;

    for (uint32_t i = 0; i < n && fits; i++)
        fits = area(c, i)->n <= PAGE;
    if (!fits)
        return 0;
    if (!s->small) {
        uint8_t *p = mmap(NULL, AG_SMALL_N * 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
            return -1;
        for (uint32_t i = 0; i < AG_SMALL_N; i++)
            if (mprotect(p + i * 2 * PAGE, PAGE, PROT_READ | PROT_WRITE) < 0) {
                munmap(p, (size_t)AG_SMALL_N * 2 * PAGE);
                return -1;
            }
        s->small = p;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct area *a = area(c, i);

        a->p = s->small + i * 2 * PAGE + PAGE - a->n;
        if (a->data_n)
            memcpy(a->p, a->data, a->data_n);
        memset(a->p + a->data_n, 0, a->n - a->data_n);
    }
    return 1;
}

static int place(struct area *a, uint8_t **at)
{
    a->p = *at + pages(a->n) - a->n;
    *at += pages(a->n) + PAGE;
    if (a->data_n)
        memcpy(a->p, a->data, a->data_n);
    return mprotect(*at - PAGE, PAGE, PROT_NONE);
}

static int lay_out_big(struct call *c)
{
    uint32_t n = c->n_bufs + c->n_ptrs;

    for (uint32_t i = 0; i < n; i++)
        c->map_n += pages(area(c, i)->n) + PAGE;
    c->map = mmap(NULL, c->map_n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->map == MAP_FAILED)
        return -1;
    uint8_t *at = c->map;

    for (uint32_t i = 0; i < n; i++)
        if (place(area(c, i), &at) < 0)
            return -1;
    return 0;
}

static int lay_out(struct ag_session *s, struct call *c)
{
    if (c->n_bufs + c->n_ptrs == 0)
        return 0;
    int r = lay_out_small(s, c);

    if (r < 0 || (r == 0 && lay_out_big(c) < 0))
        return -1;
    for (uint32_t i = 0; i < c->n_bufs; i++)
        c->arg[c->buf[i].where] = (uintptr_t)c->buf[i].p;
    for (uint32_t i = 0; i < c->n_ptrs; i++)
        memcpy(c->buf[c->ptr[i].where].p + c->ptr[i].offset, &c->ptr[i].p, 8);
    return 0;
}

/* ---- the call ---- */

/*
 * Nothing but the instruction: a child of vfork comes back here on the very stack that its parent waits to
 * go on with.
 */
static __attribute__((noinline)) int64_t enter(uint64_t nr, const uint64_t *a)
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
    /* There is one socket and one host: the child has nobody to talk to. */
    if (value == 0 && forks)
        for (;;)
            __asm__ volatile("syscall"
                             :
                             : "a"((uint64_t)SYS_exit), "D"(UINT64_C(0))
                             : "rcx", "r11", "memory");
    return (int64_t)value;
}

static void set_timer(struct ag_session *s, uint64_t ms)
{
    struct itimerspec t = {
        .it_interval = {.tv_nsec = ms ? AGAIN_NS : 0},
        .it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000}};

    syscall(SYS_timer_settime, s->timer, 0, &t, NULL);
}

/* A process that was forked has no timers. */
static int arm(struct ag_session *s, uint64_t ms)
{
    const struct sigaction sa = {.sa_handler = on_interrupt};
    pid_t self = (pid_t)syscall(SYS_gettid);
    sigset_t set;

    if (s->timer_tid != self) {
        struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIG_INTERRUPT};

        ev.sigev_notify_thread_id = self;
        if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &s->timer) < 0)
            return -1;
        s->timer_tid = self;
    }
    sigaction(SIG_INTERRUPT, &sa, NULL); /* a test may have set its own */
    sigemptyset(&set);
    sigaddset(&set, SIG_INTERRUPT);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    interrupted = 0;
    set_timer(s, ms);
    return 0;
}

static void answer(struct ag_session *s, uint32_t id, const struct call *c, int64_t value)
{
    struct pv_enc e = ag_begin(s, PV_MSG_SYSRET, PV_FRAME_HEADER + PV_FRAME_MAX);
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
    ag_end(s, &e);
}

void ag_syscall(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct call c; /* large: only what is used of it is written */

    if (!decode(&c, d)) {
        ag_reply_error(s, id, EPROTO, "malformed SYSCALL");
        return;
    }
    if (c.nr == SYS_exit) { /* of a thread alone, which would leave its connection open */
        s->exit_code = (int)(c.arg[0] & 0xff);
        s->dead = true;
        return;
    }
    if (lay_out(s, &c) < 0 || (c.timeout && arm(s, c.timeout < 1000000000 ? c.timeout : 1000000000) < 0)) {
        ag_reply_error(s, id, errno, "memory for system call %llu", (unsigned long long)c.nr);
    } else {
        int64_t value = enter(c.nr, c.arg);

        if (c.timeout)
            set_timer(s, 0);
        if (c.timeout && value == -EINTR && interrupted)
            ag_reply_error(s, id, ETIMEDOUT, "system call %llu", (unsigned long long)c.nr);
        else
            answer(s, id, &c, value);
    }
    if (c.map && c.map != MAP_FAILED)
        munmap(c.map, c.map_n);
}
