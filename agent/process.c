/* SPDX-License-Identifier: MIT */
/*
 * A worker is a child of the supervisor, whichever session asked for it, so that the supervisor learns how
 * it ended even when that session is gone: CLONE_PARENT.  A reaper must be invisible to a wait4() that a
 * test makes in the session: exit signal 0.  libc's fork() can do neither, so clone is called directly.
 * fork() also keeps libc's locks consistent in the child; here that holds because threads enter libc's
 * locks only when they start and end.  `lock` keeps starts apart from forks, and every fork first joins the
 * threads that end.
 */
#include "process.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "high-fd.h"
#include "request.h"
#include "process-table.h"
#include "util.h"
#include "vsock.h"

enum { CONNECT_MS = 10000, STACK = 256 * 1024, THREADS_MAX = 128, UNNUMBERED_TRIES = 64 };

struct thread {
    pthread_t handle;
    struct ag_session *s;
    struct ag_slot *slot;
    enum { T_FREE, T_RUNS, T_ENDS } state;
    int listen_fd;
    _Atomic uint32_t ready; /* the slot holds the thread id */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ag_session *sessions; /* of this process */
static struct thread threads[THREADS_MAX];

/* ---- sessions ---- */

struct ag_session *ag_session_new(int fd, const struct ag_world *w, void (*run)(struct ag_session *s))
{
    struct ag_session *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (s == MAP_FAILED)
        return NULL;
    /* No fork sends the queued replies, and a fork is faster without their page tables. */
    uintptr_t from = ((uintptr_t)s->out.data + 4095) & ~(uintptr_t)4095;

    madvise((void *)from, ((uintptr_t)(s->out.data + sizeof(s->out.data)) - from) & ~(uintptr_t)4095,
            MADV_DONTFORK);
    s->w = *w;
    s->run = run;
    s->fd = fd;
    s->pid = getpid();
    pthread_mutex_lock(&lock);
    s->next = sessions;
    sessions = s;
    pthread_mutex_unlock(&lock);
    return s;
}

/* Closes every descriptor of the session. */
static void session_close(struct ag_session *s)
{
    ag_close(&s->fd);
    ag_request_close(s);
    ag_keep_close(s, false);
}

/* Called with the lock held. */
static void session_free(struct ag_session *s)
{
    for (struct ag_session **p = &sessions; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    session_close(s);
    ag_keep_close(s, true);
    munmap(s, sizeof(*s));
}

/* ---- forks ---- */

/*
 * Joins the threads that are about to end: they hold locks of libc until they are gone.  Returns how many
 * others run.  Called with the lock held.
 */
static unsigned join_ending_threads(void)
{
    unsigned left = 0;

    for (size_t i = 0; i < THREADS_MAX; i++) {
        if (threads[i].state == T_ENDS) {
            pthread_join(threads[i].handle, NULL);
            session_free(threads[i].s);
            threads[i].state = T_FREE;
        }
        left += threads[i].state == T_RUNS;
    }
    return left;
}

/* Called with the lock held, after join_ending_threads(); the child still holds it. */
static pid_t raw_fork(unsigned long flags, pid_t *parent_tid)
{
    return (pid_t)syscall(SYS_clone, flags, 0, parent_tid, 0, 0);
}

pid_t ag_fork_unnumbered(int exit_signal)
{
    /* No kernel starts with a pid_max below 32768. */
    for (pid_t tid = 32767; tid > 32767 - UNNUMBERED_TRIES; tid--) {
        struct clone_args args = {
            .exit_signal = (uint64_t)exit_signal, .set_tid = (uintptr_t)&tid, .set_tid_size = 1};
        pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

        if (pid >= 0 || errno != EEXIST)
            return pid;
    }
    return -1;
}

pid_t ag_fork_reaper(struct ag_session *s, bool unnumbered)
{
    for (size_t i = 0; i < AG_REAPERS_MAX; i++)
        if (s->reapers[i] && wait4(s->reapers[i], NULL, WNOHANG | __WALL, NULL) != 0)
            s->reapers[i] = 0;
    pthread_mutex_lock(&lock);
    join_ending_threads();
    pid_t pid = unnumbered ? ag_fork_unnumbered(0) : raw_fork(0, NULL);

    if (pid == 0)
        for (struct ag_session *o = sessions; o; o = o->next)
            session_close(o);
    int e = errno;

    pthread_mutex_unlock(&lock);
    errno = e;
    return pid;
}

void ag_reap_later(struct ag_session *s, pid_t reaper)
{
    if (reaper <= 0 || wait4(reaper, NULL, WNOHANG | __WALL, NULL) != 0)
        return;
    for (size_t i = 0; i < AG_REAPERS_MAX; i++)
        if (!s->reapers[i]) {
            s->reapers[i] = reaper;
            return;
        }
}

/* ---- workers ---- */

/* Waits for the host to connect to the worker: the connection, or -1 after CONNECT_MS. */
static int accept_host(const struct ag_world *w, int listen_fd)
{
    if (w->ctl_fd >= 0)
        return listen_fd; /* the multiplexer holds the other end */
    int64_t due = ag_now() + (int64_t)CONNECT_MS * 1000000, now;
    int fd = -1;

    while (fd < 0 && (now = ag_now()) < due) {
        struct pollfd p = {.fd = listen_fd, .events = POLLIN};

        if (poll(&p, 1, (int)((due - now) / 1000000) + 1) > 0)
            fd = ag_vsock_accept(listen_fd);
    }
    close(listen_fd);
    return fd;
}

static _Noreturn void worker_main(struct ag_session *parent, int listen_fd, pid_t pid)
{
    struct ag_world w = parent->w;
    void (*run)(struct ag_session *) = parent->run;

    ag_oom_score(w.proc_fd, "0"); /* out of memory in a worker ends the worker, not the agent */
    ag_leave_init_scope(w.proc_fd);
    while (sessions) /* copies of the parent process's */
        session_free(sessions);
    memset(threads, 0, sizeof(threads));
    pthread_mutex_unlock(&lock);
    int fd = ag_high_fd(accept_host(&w, listen_fd));
    struct ag_session *s = fd < 0 ? NULL : ag_session_new(fd, &w, run);

    if (!s)
        _exit(0);
    s->pid = pid;
    s->worker = true;
    run(s);
    ag_process_end(s);
}

pid_t ag_worker_fork(struct ag_session *s, int listen_fd, struct ag_slot *slot)
{
    pthread_mutex_lock(&lock);
    join_ending_threads();
    pid_t pid = raw_fork(CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD, &slot->pid);

    if (pid == 0)
        worker_main(s, listen_fd, slot->pid);
    int e = errno;

    pthread_mutex_unlock(&lock);
    errno = e;
    return pid;
}

static void futex_wait(_Atomic uint32_t *at, uint32_t value)
{
    syscall(SYS_futex, at, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct ag_session *s = t->s;

    t->slot->pid = (pid_t)syscall(SYS_gettid);
    s->pid = t->slot->pid;
    t->ready = 1;
    syscall(SYS_futex, &t->ready, FUTEX_WAKE, 1, NULL, NULL, 0);
    s->fd = ag_high_fd(accept_host(&s->w, t->listen_fd));
    if (s->fd >= 0)
        s->run(s);
    pthread_mutex_lock(&lock);
    session_close(s);
    ag_slot_end(t->slot, (s->exit_code & 0xff) << 8);
    t->state = T_ENDS;
    pthread_mutex_unlock(&lock);
    return NULL;
}

pid_t ag_worker_thread(struct ag_session *s, int listen_fd, struct ag_slot *slot)
{
    struct thread *t = NULL;
    pthread_attr_t attr;
    int r = EAGAIN;

    pthread_mutex_lock(&lock);
    join_ending_threads();
    for (size_t i = 0; i < THREADS_MAX && !t; i++)
        if (threads[i].state == T_FREE)
            t = &threads[i];
    pthread_mutex_unlock(&lock);
    struct ag_session *worker = t ? ag_session_new(-1, &s->w, s->run) : NULL;

    if (worker) {
        *t = (struct thread){.s = worker, .slot = slot, .listen_fd = listen_fd, .state = T_RUNS};
        worker->worker = true;
        slot->group = getpid();
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, STACK);
        pthread_mutex_lock(&lock);
        r = pthread_create(&t->handle, &attr, thread_main, t);
        if (r != 0) {
            t->state = T_FREE;
            session_free(worker);
        }
        pthread_mutex_unlock(&lock);
    }
    while (r == 0 && !t->ready)
        futex_wait(&t->ready, 0);
    errno = r;
    return r == 0 ? slot->pid : -1;
}

void ag_process_end(struct ag_session *s)
{
    int code = s->exit_code;

    for (;;) {
        pthread_mutex_lock(&lock);
        if (s) {
            session_free(s);
            s = NULL;
        }
        unsigned left = join_ending_threads();

        pthread_mutex_unlock(&lock);
        if (!left)
            _exit(code); /* each reaper sees the end of its control socket and kills its process tree */
        ag_sleep_ms(20);
    }
}
