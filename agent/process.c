/* SPDX-License-Identifier: MIT */
/*
 * Processes and threads of sessions.
 *
 * Workers must be children of the supervisor, whoever asked for them, so that it learns how they end even
 * when their session is gone: CLONE_PARENT.  Keepers must be no children that a test's own wait4() can see:
 * an exit signal of 0.  libc's fork() can do neither, so clone is called directly, and what fork() would see
 * to is seen to here: no other thread may be inside of libc's own locks meanwhile.  Threads use none but when
 * they begin and end; `lock` keeps those apart from forks, and threads that are about to end are waited for.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve.h"
#include "table.h"
#include "util.h"

enum { CONNECT_MS = 10000, STATUS_MS = 300, STACK = 256 * 1024, THREADS_MAX = 128, UNNUMBERED_TRIES = 64 };

struct thread {
    pthread_t handle;
    struct ag_session *s;
    struct ag_slot *slot;
    enum { T_FREE, T_RUNS, T_ENDS } state;
    int listen_fd;
    _Atomic uint32_t ready; /* its number is in the slot */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ag_session *sessions; /* of this process */
static struct thread threads[THREADS_MAX];

/* ---- which sessions there are ---- */

struct ag_session *ag_session_new(int fd, const struct ag_world *w)
{
    struct ag_session *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (s == MAP_FAILED)
        return NULL;
    /* What waits to be sent is nothing to a fork; not to copy it makes forks faster. */
    uintptr_t from = ((uintptr_t)s->out + 4095) & ~(uintptr_t)4095;

    madvise((void *)from, ((uintptr_t)(s->out + sizeof(s->out)) - from) & ~(uintptr_t)4095, MADV_DONTFORK);
    s->w = *w;
    s->fd = fd;
    s->pid = getpid();
    s->file.fd = s->tree.root = -1;
    s->exec.ctl = s->exec.in = s->exec.out[0] = s->exec.out[1] = -1;
    pthread_mutex_lock(&lock);
    s->next = sessions;
    sessions = s;
    pthread_mutex_unlock(&lock);
    return s;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void session_close(struct ag_session *s, bool also_exec)
{
    close_fd(&s->fd);
    ag_tree_close(s);
    close_fd(&s->file.fd);
    for (size_t i = 0; i < AG_JOBS_MAX; i++)
        if (s->jobs[i].id)
            ag_job_close(&s->jobs[i]);
    if (!also_exec)
        return;
    close_fd(&s->exec.ctl);
    close_fd(&s->exec.in);
    close_fd(&s->exec.out[0]);
    close_fd(&s->exec.out[1]);
}

/* Called with the lock held. */
static void session_free(struct ag_session *s)
{
    for (struct ag_session **p = &sessions; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    session_close(s, true);
    if (s->small)
        munmap(s->small, (size_t)AG_SMALL_N * 2 * 4096);
    munmap(s, sizeof(*s));
}

/* ---- forks ---- */

/* Threads that are on their way out hold locks of libc until they are gone. Called with the lock held. */
static unsigned join_ending(void)
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

/* Called with the lock held, after join_ending; in the child it still is. */
static pid_t raw_fork(unsigned long flags, pid_t *parent_tid)
{
    return (pid_t)syscall(SYS_clone, flags, 0, parent_tid, 0, 0);
}

pid_t ag_fork_unnumbered(int exit_signal)
{
    /* Below pid_max wherever nobody has lowered it: 32768 is the least that a kernel begins with. */
    for (pid_t tid = 32767; tid > 32767 - UNNUMBERED_TRIES; tid--) {
        struct clone_args args = {
            .exit_signal = (uint64_t)exit_signal, .set_tid = (uintptr_t)&tid, .set_tid_size = 1};
        pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

        if (pid >= 0 || errno != EEXIST)
            return pid;
    }
    return -1;
}

pid_t ag_fork_keeper(struct ag_session *s, bool unnumbered)
{
    for (size_t i = 0; i < AG_KEEPERS_MAX; i++)
        if (s->keepers[i] && wait4(s->keepers[i], NULL, WNOHANG | __WALL, NULL) != 0)
            s->keepers[i] = 0;
    pthread_mutex_lock(&lock);
    join_ending();
    pid_t pid = unnumbered ? ag_fork_unnumbered(0) : raw_fork(0, NULL);

    if (pid == 0)
        for (struct ag_session *o = sessions; o; o = o->next)
            session_close(o, o != s);
    int e = errno;

    pthread_mutex_unlock(&lock);
    errno = e;
    return pid;
}

void ag_reap_later(struct ag_session *s, pid_t keeper)
{
    if (keeper <= 0 || wait4(keeper, NULL, WNOHANG | __WALL, NULL) != 0)
        return;
    for (size_t i = 0; i < AG_KEEPERS_MAX; i++)
        if (!s->keepers[i]) {
            s->keepers[i] = keeper;
            return;
        }
}

/* ---- workers ---- */

static int listen_anywhere(uint32_t *port)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK, .svm_port = VMADDR_PORT_ANY, .svm_cid = VMADDR_CID_ANY};
    socklen_t n = sizeof(addr);
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    ag_socket_buffers(fd);
    if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 1) == 0 &&
        getsockname(fd, (struct sockaddr *)&addr, &n) == 0) {
        *port = addr.svm_port;
        return fd;
    }
    int e = errno;

    close(fd);
    errno = e;
    return -1;
}

/* The one connection that a worker has, or -1: the socket itself where it is connected already. */
static int await_host(const struct ag_world *w, int listen_fd)
{
    if (w->ctl_fd >= 0)
        return listen_fd;
    int64_t due = ag_now() + (int64_t)CONNECT_MS * 1000000, now;
    int fd = -1;

    while (fd < 0 && (now = ag_now()) < due) {
        struct pollfd p = {.fd = listen_fd, .events = POLLIN};

        if (poll(&p, 1, (int)((due - now) / 1000000) + 1) > 0)
            fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    }
    close(listen_fd);
    return fd;
}

static _Noreturn void worker_main(struct ag_session *parent, int listen_fd, pid_t pid)
{
    struct ag_world w = parent->w;

    ag_oom_score(w.proc_fd, "0"); /* a test that eats all memory in a worker loses the worker */

    while (sessions) /* their memory too: copies of what they had not worked on */
        session_free(sessions);
    memset(threads, 0, sizeof(threads));
    pthread_mutex_unlock(&lock);
    int fd = await_host(&w, listen_fd);
    struct ag_session *s = fd < 0 ? NULL : ag_session_new(fd, &w);

    if (!s)
        _exit(0);
    s->pid = pid;
    s->worker = true;
    ag_session_run(s);
    ag_process_end(s);
}

static void answer_worker(struct ag_session *s, uint32_t id, uint32_t port, pid_t pid)
{
    struct pv_enc e = ag_begin(s, PV_MSG_WORKER, 64);

    pv_enc_u32(&e, id);
    pv_enc_u32(&e, port);
    pv_enc_u32(&e, (uint32_t)pid);
    ag_end(s, &e);
}

static pid_t spawn_fork(struct ag_session *s, int listen_fd, struct ag_slot *slot)
{
    pthread_mutex_lock(&lock);
    join_ending();
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
    s->fd = await_host(&s->w, t->listen_fd);
    if (s->fd >= 0)
        ag_session_run(s);
    pthread_mutex_lock(&lock);
    session_close(s, true);
    ag_slot_end(t->slot, (s->exit_code & 0xff) << 8);
    t->state = T_ENDS;
    pthread_mutex_unlock(&lock);
    return NULL;
}

static pid_t spawn_thread(struct ag_session *s, int listen_fd, struct ag_slot *slot)
{
    struct thread *t = NULL;
    pthread_attr_t attr;
    int r = EAGAIN;

    pthread_mutex_lock(&lock);
    join_ending();
    for (size_t i = 0; i < THREADS_MAX && !t; i++)
        if (threads[i].state == T_FREE)
            t = &threads[i];
    pthread_mutex_unlock(&lock);
    struct ag_session *worker = t ? ag_session_new(-1, &s->w) : NULL;

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

void ag_spawn(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    uint32_t flags = pv_dec_u32(d), port;
    struct ag_slot *slot = NULL;
    pid_t pid = -1;

    if (!pv_dec_done(d) || flags & ~(uint32_t)PV_SPAWN_THREAD) {
        ag_reply_error(s, id, EPROTO, "malformed SPAWN");
        return;
    }
    if (s->worker) {
        ag_reply_error(s, id, EPERM, "spawn from a worker");
        return;
    }
    bool serial = s->w.ctl_fd >= 0;
    int fd = serial ? ag_offer(&s->w, &port) : listen_anywhere(&port);

    if (fd < 0) {
        ag_reply_error(s, id, errno,
                       serial ? "make a channel for the worker" : "listen for the worker on vsock");
        return;
    }
    errno = EAGAIN;
    if (s->w.table && (slot = ag_table_take(s->w.table)))
        pid = flags & PV_SPAWN_THREAD ? spawn_thread(s, fd, slot) : spawn_fork(s, fd, slot);
    int e = errno;

    if (pid < 0 || !(flags & PV_SPAWN_THREAD))
        close(fd); /* a thread has the same descriptor */
    if (pid > 0) {
        answer_worker(s, id, port, pid);
        return;
    }
    if (slot)
        ag_slot_end(slot, 0);
    ag_reply_error(s, id, e, "%s a worker", flags & PV_SPAWN_THREAD ? "make a thread for" : "fork");
}

/* ---- how they end ---- */

void ag_process_end(struct ag_session *s)
{
    int code = s->exit_code;

    for (;;) {
        pthread_mutex_lock(&lock);
        if (s) {
            session_free(s);
            s = NULL;
        }
        unsigned left = join_ending();

        pthread_mutex_unlock(&lock);
        if (!left)
            _exit(code); /* keepers see the end of their lines and kill what they keep */
        ag_sleep_ms(20);
    }
}

void ag_status(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    pid_t pid = (pid_t)pv_dec_u32(d);

    if (!pv_dec_done(d)) {
        ag_reply_error(s, id, EPROTO, "malformed STATUS");
        return;
    }
    struct ag_slot *slot = s->w.table && pid > 0 ? ag_table_find(s->w.table, pid) : NULL;

    if (!slot) {
        ag_reply_error(s, id, ESRCH, "status of process %d", (int)pid);
        return;
    }
    /* Its socket closes before the supervisor can know. */
    for (int i = 0; i < STATUS_MS && slot->state == AG_SLOT_RUNS && pid != s->pid; i++)
        ag_sleep_ms(1);
    bool runs = slot->state == AG_SLOT_RUNS;
    uint32_t sig = !runs && WIFSIGNALED(slot->status) ? (uint32_t)WTERMSIG(slot->status) : 0;
    struct pv_enc e = ag_begin(s, PV_MSG_JOB_STATE, 64);

    pv_enc_u32(&e, id);
    pv_enc_u32(&e, runs);
    pv_enc_u32(&e, runs ? 0 : sig ? 128 + sig : (uint32_t)WEXITSTATUS(slot->status));
    pv_enc_u32(&e, sig);
    ag_end(s, &e);
}
