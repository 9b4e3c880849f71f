/* SPDX-License-Identifier: MIT */
/*
 * As a subreaper it stays the ancestor of every process of the command, daemons included, so /proc shows
 * all of them when they are to be killed.  When the command ends by itself the reaper exits too, and
 * processes that the command left behind become init's children, as on any system.
 */
#include "reaper.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "high-fd.h"
#include "kcov.h"
#include "process-tree.h"
#include "process.h"
#include "signals.h"
#include "user.h"
#include "util.h"

enum {
    STOP_ROUNDS = 40, /* a fork bomb grows between two scans; each round stops one generation */
    STOP_MS = 2000,
    KILL_MS = 5000,       /* then AG_ENDED is reported even if processes are left */
    KILL_LONG_MS = 60000, /* how long the killing goes on after that */
    SINK_MAX = 64 << 20,
    PUMP_ROUNDS = 16, /* 1 MiB: more than a pipe holds */
};

/* Memory that the reaper and the command's process share until its execve. */
struct birth {
    const struct ag_command *c;
    int errnum; /* 0: it runs */
    unsigned at;
};

/* ---- the command's process, up to execve ---- */

static void exec_in_path(const struct ag_command *c)
{
    char path[PV_PATH_MAX];
    const char *dirs = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    int e = ENOENT;

    if (strchr(c->argv[0], '/')) {
        execve(c->argv[0], c->argv, c->envp);
        return;
    }
    for (char *const *v = c->envp; *v; v++)
        if (strncmp(*v, "PATH=", 5) == 0)
            dirs = *v + 5;
    if (c->path)
        dirs = c->path;
    for (const char *p = dirs; *c->argv[0];) {
        size_t n = strcspn(p, ":");

        if (ag_format(path, sizeof(path), "%.*s/%s", n ? (int)n : 1, n ? p : ".", c->argv[0]))
            execve(path, c->argv, c->envp);
        if (errno != ENOENT && errno != ENOTDIR)
            e = errno;
        if (!p[n])
            break;
        p += n + 1;
    }
    errno = e;
}

/* The pipes and the terminal of its stdio become the user's, so that it can open /dev/stdout and /dev/tty. */
static int command_become_user(const struct ag_command *c)
{
    const struct ag_user *u = c->user;
    struct stat st;

    for (int i = 0; i < 3; i++)
        if (fstat(i, &st) == 0 && (c->pty || S_ISFIFO(st.st_mode)))
            fchown(i, u->uid, u->gid);
    return ag_user_become(u);
}

static int command_main(void *arg)
{
    struct birth *b = arg;
    const struct ag_command *c = b->c;
    sigset_t none;

    ag_oom_score(c->proc_fd, "0");
    ag_leave_init_scope(c->proc_fd);
    setsid();
    for (int i = 0; i < 3; i++)
        dup2(c->stdio[i], i);
    if (c->pty)
        ioctl(0, TIOCSCTTY, 0);
    ag_signals_ignore(false);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022);
    b->at = AG_AT_USER;
    if (!c->user || command_become_user(c) == 0) {
        b->at = AG_AT_CHDIR;
        if (chdir(*c->cwd ? c->cwd : "/") == 0) {
            b->at = AG_AT_EXEC;
            ag_kcov_enable(c->kcov_fd);
            exec_in_path(c);
        }
    }
    b->errnum = errno;
    _exit(127);
}

/* ---- killing the process tree ---- */

/* Waits for all children that have ended; notes how `pid` did.  True when no child is left. */
static bool reap_children(pid_t pid, int *status, bool *gone)
{
    for (;;) {
        int st;
        pid_t r = waitpid(-1, &st, WNOHANG);

        if (r == pid) {
            *status = st;
            *gone = true;
        }
        if (r <= 0)
            return r < 0 && errno == ECHILD;
    }
}

/*
 * Stops all processes first, so that none forks during a scan, then kills them.  False when some are left
 * after `ms` (they are uninterruptible, or very many).
 */
static bool kill_process_tree(const struct ag_command *c, pid_t pid, unsigned ms, int *status, bool *gone)
{
    int64_t begin = ag_now();

    for (int i = 0; i < STOP_ROUNDS && ag_now() - begin < (int64_t)STOP_MS * 1000000; i++)
        if (ag_process_tree_signal(c->proc_fd, SIGSTOP, true) == 0)
            break;
    begin = ag_now();
    for (unsigned pause_ms = 1;; pause_ms = pause_ms < 50 ? pause_ms * 2 : pause_ms) {
        if (!*gone) { /* a zombie keeps its pid; without /proc this is the only way */
            kill(pid, SIGKILL);
            kill(-pid, SIGKILL);
        }
        ag_process_tree_signal(c->proc_fd, SIGKILL, false);
        if (reap_children(pid, status, gone))
            return true;
        if (ag_now() - begin > (int64_t)ms * 1000000)
            return false;
        ag_sleep_ms(pause_ms);
    }
}

/* ---- output of a job ---- */

struct sink {
    int from, to;
    uint64_t n;
};

/* Copies the content of the pipe, in at most PUMP_ROUNDS pieces.  At the end of the pipe, from becomes -1. */
static void pump_output(struct sink *k)
{
    static const char full[] = "\n[provium: more than 64 MiB of output: the rest is dropped]\n";
    static char buf[64 * 1024];

    for (int i = 0; i < PUMP_ROUNDS && k->from >= 0; i++) {
        ssize_t n = read(k->from, buf, sizeof(buf));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close(k->from);
            k->from = -1;
            return;
        }
        if (k->n < SINK_MAX && k->n + (uint64_t)n >= SINK_MAX)
            ag_write_all(k->to, full, sizeof(full) - 1);
        k->n += (uint64_t)n;
        if (k->n < SINK_MAX)
            ag_write_all(k->to, buf, (size_t)n);
    }
}

/* ---- the reaper ---- */

static void send_report(int ctl, const struct ag_report *r)
{
    send(ctl, r, sizeof(*r), MSG_NOSIGNAL);
}

static void on_sigchld(int sig)
{
    (void)sig;
}

/*
 * CLONE_VM | CLONE_VFORK: the child runs in the reaper's memory, on its own stack, until its execve.  That
 * saves the copy of the page tables.  Reports and exits when the command cannot be started.
 */
static pid_t start_command(int ctl, const struct ag_command *c)
{
    static _Alignas(16) char stack[64 * 1024];
    struct birth b = {.c = c};
    pid_t pid = c->unnumbered
                    ? ag_fork_unnumbered(SIGCHLD) /* copies memory: b.errnum stays 0 */
                    : clone(command_main, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &b);
    struct ag_report r = {.kind = AG_FAILED, .at = AG_AT_FORK, .value = errno};

    if (pid == 0)
        command_main(&b);
    if (pid > 0 && b.errnum) {
        r.value = b.errnum;
        r.at = b.at;
        ag_format(r.what, sizeof(r.what), "%s",
                  b.at == AG_AT_EXEC    ? c->argv[0]
                  : b.at == AG_AT_CHDIR ? c->cwd
                                        : c->user->name);
    }
    if (pid < 0 || b.errnum) {
        send_report(ctl, &r);
        _exit(1);
    }
    for (int i = 0; i < 3; i++)
        close(c->stdio[i]);
    return pid;
}

/* A test may wait for the end of a pipe whose other end the session inherited: keep nothing else open. */
static void close_others(int ctl, const struct ag_command *c)
{
    int keep[] = {0, 1, 2, ctl, c->proc_fd, c->life_fd, c->pump[0], c->pump[1], c->sink[0], c->sink[1]};
    unsigned next = 3;

    for (;;) {
        unsigned low = ~0U;

        for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
            if (keep[i] >= (int)next && (unsigned)keep[i] < low)
                low = (unsigned)keep[i];
        if (low > next)
            syscall(SYS_close_range, next, low - (low != ~0U), 0);
        if (low == ~0U)
            return;
        next = low + 1;
    }
}

/* Obeys the session.  True: the command is to be killed. */
static bool take_order(int ctl, pid_t pid, bool gone)
{
    unsigned char order[2];
    ssize_t n = recv(ctl, order, sizeof(order), MSG_DONTWAIT);

    if (n != 2)
        return n >= 0 || errno != EAGAIN;
    if (!gone) /* not reaped, so the pid is its own */
        kill(pid, order[1]);
    return false;
}

/* Waits until the command has ended (*gone) or is to be killed (true), or both. */
static bool watch_command(int ctl, pid_t pid, struct sink sink[2], int *status, bool *gone)
{
    struct pollfd p[3] = {{.fd = ctl, .events = POLLIN}};
    bool kill_it = false;
    sigset_t none;

    sigemptyset(&none);
    while (!*gone && !kill_it) {
        for (int i = 0; i < 2; i++)
            p[1 + i] = (struct pollfd){.fd = sink[i].from, .events = POLLIN};
        if (ppoll(p, 3, NULL, &none) > 0) {
            kill_it = p[0].revents && take_order(ctl, pid, *gone);
            pump_output(&sink[0]);
            pump_output(&sink[1]);
        }
        reap_children(pid, status, gone);
    }
    return kill_it;
}

static void set_up_reaper(const struct ag_command *c)
{
    struct sigaction chld = {.sa_handler = on_sigchld};
    sigset_t block;

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (c->realtime)
        ag_realtime(true);
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigprocmask(SIG_SETMASK, &block, NULL);
    sigaction(SIGCHLD, &chld, NULL);
}

static _Noreturn void reaper_main(int ctl, const struct ag_command *c)
{
    struct sink sink[2];
    bool gone = false;
    int status = SIGKILL;
    int64_t begin = ag_now();

    set_up_reaper(c);
    pid_t pid = start_command(ctl, c);

    close_others(ctl, c);
    if (c->started)
        send_report(ctl, &(struct ag_report){.kind = AG_STARTED, .value = pid});
    for (int i = 0; i < 2; i++)
        sink[i] = (struct sink){.from = c->pump[i], .to = c->sink[i]};
    bool kill_it = watch_command(ctl, pid, sink, &status, &gone);
    bool left = kill_it && !kill_process_tree(c, pid, KILL_MS, &status, &gone);

    pump_output(&sink[0]);
    pump_output(&sink[1]);
    send_report(ctl, &(struct ag_report){
                         .kind = AG_ENDED, .value = status, .duration = (uint64_t)(ag_now() - begin)});
    if (left)
        kill_process_tree(c, pid, KILL_LONG_MS, &status, &gone);
    _exit(0);
}

/* ---- the session's side ---- */

pid_t ag_reaper_start(struct ag_session *s, const struct ag_command *c, int *ctl)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    *ctl = ag_high_fd(pair[0]);
    pair[1] = ag_above_stdio(pair[1]);
    pid_t pid = ag_fork_reaper(s, c->unnumbered);

    if (pid == 0) {
        ag_close(ctl); /* unless that was closed with the request's other descriptors */
        reaper_main(pair[1], c);
    }
    int e = errno;

    close(pair[1]);
    if (pid < 0)
        ag_close(ctl);
    errno = e;
    return pid;
}

bool ag_reaper_signal(int ctl, int sig)
{
    unsigned char order[2] = {'s', (unsigned char)sig};

    return send(ctl, order, sizeof(order), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(order);
}

bool ag_reaper_kill(int ctl)
{
    return send(ctl, "k", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}
