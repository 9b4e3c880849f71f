/* SPDX-License-Identifier: MIT */
/*
 * The process between a session and a command.  It is a subreaper, so whatever the command starts, however
 * it daemonizes, stays below it and can be found in /proc when all of it has to go.  When the command ends
 * by itself the keeper goes too, and what was left running becomes init's, as it would on any system.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process-tree.h"
#include "util.h"

enum {
    STOP_ROUNDS = 40, /* a fork bomb grows between two looks; each round catches a generation */
    STOP_MS = 2000,
    KILL_MS = 5000,       /* then EXIT is answered, whatever is left */
    KILL_LONG_MS = 60000, /* and the killing goes on behind it */
    SINK_MAX = 64 << 20,
    PUMP_ROUNDS = 16, /* more than a pipe holds */
};

/* Shared by the command's process, until its execve, and the keeper. */
struct birth {
    const struct ag_command *c;
    int errnum; /* 0: it runs */
    unsigned at;
};

/* ---- the command's process, up to execve ---- */

static void try_exec(const struct ag_command *c)
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

static int command_main(void *arg)
{
    struct birth *b = arg;
    const struct ag_command *c = b->c;
    sigset_t none;

    ag_oom_score(c->proc_fd, "0");
    setsid();
    for (int i = 0; i < 3; i++)
        dup2(c->stdio[i], i);
    ag_ignore_signals(false);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022);
    b->at = AG_AT_CHDIR;
    if (chdir(*c->cwd ? c->cwd : "/") == 0) {
        b->at = AG_AT_EXEC;
        try_exec(c);
    }
    b->errnum = errno;
    _exit(127);
}

/* ---- killing a family ---- */

/* Reaps what is there; notes how `pid` ended. True when no child is left. */
static bool reap(pid_t pid, int *status, bool *gone)
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
 * First all are stopped, so that nobody forks away from under the look-up, then all are killed.  False when
 * some are still there after `ms` (they sit in the kernel, or there are very many).
 */
static bool kill_family(const struct ag_command *c, pid_t pid, unsigned ms, int *status, bool *gone)
{
    int64_t begin = ag_now();

    for (int i = 0; i < STOP_ROUNDS && ag_now() - begin < (int64_t)STOP_MS * 1000000; i++)
        if (ag_family_signal(c->proc_fd, SIGSTOP, true) == 0)
            break;
    begin = ag_now();
    for (unsigned pause_ms = 1;; pause_ms = pause_ms < 50 ? pause_ms * 2 : pause_ms) {
        if (!*gone) { /* not reaped yet, so the number is still its own; and all there is without /proc */
            kill(pid, SIGKILL);
            kill(-pid, SIGKILL);
        }
        ag_family_signal(c->proc_fd, SIGKILL, false);
        if (reap(pid, status, gone))
            return true;
        if (ag_now() - begin > (int64_t)ms * 1000000)
            return false;
        ag_sleep_ms(pause_ms);
    }
}

/* ---- what a job says ---- */

struct sink {
    int from, to;
    uint64_t n;
};

/* Moves what is there now, some of it if it is without end. At the end of the pipe, from becomes -1. */
static void pump(struct sink *k)
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

/* ---- the keeper ---- */

static void report(int ctl, const struct ag_report *r)
{
    send(ctl, r, sizeof(*r), MSG_NOSIGNAL);
}

static void on_child(int sig)
{
    (void)sig;
}

/*
 * As with vfork: the child runs in our memory, on a stack of its own, while we wait for its execve; that
 * saves copying page tables for a process that is about to throw them away.
 */
static pid_t start(int ctl, const struct ag_command *c)
{
    static _Alignas(16) char stack[64 * 1024];
    struct birth b = {.c = c};
    pid_t pid = c->unnumbered
                    ? ag_fork_unnumbered(SIGCHLD) /* memory of its own: what goes wrong is not told */
                    : clone(command_main, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &b);
    struct ag_report r = {.kind = AG_FAILED, .at = AG_AT_FORK, .value = errno};

    if (pid == 0)
        command_main(&b);
    if (pid > 0 && b.errnum) {
        r.value = b.errnum;
        r.at = b.at;
        ag_format(r.what, sizeof(r.what), "%s", b.at == AG_AT_EXEC ? c->argv[0] : c->cwd);
    }
    if (pid < 0 || b.errnum) {
        report(ctl, &r);
        _exit(1);
    }
    for (int i = 0; i < 3; i++)
        close(c->stdio[i]);
    return pid;
}

/* Whatever else the session had open is not the keeper's to hold (the end of a pipe that a test waits for).
 */
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

void ag_keeper(int ctl, const struct ag_command *c)
{
    struct sigaction chld = {.sa_handler = on_child};
    struct sink sink[2];
    struct pollfd p[3] = {{.fd = ctl, .events = POLLIN}};
    sigset_t block, none;
    bool gone = false, kill_it = false;
    int status = SIGKILL;
    int64_t begin = ag_now();

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (c->urgent)
        ag_urgent(true);
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigprocmask(SIG_SETMASK, &block, NULL);
    sigaction(SIGCHLD, &chld, NULL);
    pid_t pid = start(ctl, c);

    close_others(ctl, c);
    if (c->job)
        report(ctl, &(struct ag_report){.kind = AG_STARTED, .value = pid});
    for (int i = 0; i < 2; i++)
        sink[i] = (struct sink){.from = c->pump[i], .to = c->sink[i]};
    while (!gone && !kill_it) {
        for (int i = 0; i < 2; i++)
            p[1 + i] = (struct pollfd){.fd = sink[i].from, .events = POLLIN};
        if (ppoll(p, 3, NULL, &none) > 0) {
            kill_it = p[0].revents;
            pump(&sink[0]);
            pump(&sink[1]);
        }
        reap(pid, &status, &gone);
    }
    bool left = kill_it && !kill_family(c, pid, KILL_MS, &status, &gone);

    pump(&sink[0]);
    pump(&sink[1]);
    report(ctl,
           &(struct ag_report){.kind = AG_ENDED, .value = status, .duration = (uint64_t)(ag_now() - begin)});
    if (left)
        kill_family(c, pid, KILL_LONG_MS, &status, &gone);
    _exit(0);
}
