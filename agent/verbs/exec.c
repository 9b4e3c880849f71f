/* SPDX-License-Identifier: MIT */
/*
 * EXEC.  Between the session and the command stands a keeper process (keeper.c), so that the loop here
 * never waits for a child and the command's whole family is known when it has to be killed.
 */
#include "agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/util.h"

enum { PIPE_SIZE = 256 * 1024 };

/*
 * A `str` made into a C string where it lies: moved one byte down, over its length field, which has been
 * read by then.  NULL (and d bad) when it holds a NUL byte.
 */
static char *take_str(struct pv_dec *d)
{
    size_t n;
    char *p = (char *)(uintptr_t)pv_dec_bytes(d, &n);

    if (d->bad || (n && memchr(p, '\0', n))) {
        d->bad = true;
        return NULL;
    }
    memmove(p - 1, p, n);
    p[n - 1] = '\0';
    return p - 1;
}

static uint32_t take_list(struct pv_dec *d, char **list)
{
    uint32_t n = pv_dec_u32(d);

    if (n > PV_ARGS_MAX)
        d->bad = true;
    for (uint32_t i = 0; i < n && !d->bad; i++)
        list[i] = take_str(d);
    list[d->bad ? 0 : n] = NULL;
    return n;
}

bool ag_take_command(struct ag_session *s, struct pv_dec *d)
{
    pv_dec_str(d, s->cwd, sizeof(s->cwd));
    uint32_t argc = take_list(d, s->args);

    take_list(d, s->envs);
    return pv_dec_done(d) && argc;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_all(struct ag_exec *x)
{
    close_fd(&x->ctl);
    close_fd(&x->in);
    close_fd(&x->out[0]);
    close_fd(&x->out[1]);
}

/* Our end is non-blocking, the command's is not: it shares that flag with whoever it starts. */
static int make_pipe(int *ours, int *theirs, bool we_read)
{
    int p[2];

    if (pipe2(p, O_CLOEXEC) < 0)
        return -1;
    *ours = p[we_read ? 0 : 1];
    *theirs = p[we_read ? 1 : 0];
    fcntl(*ours, F_SETPIPE_SZ, PIPE_SIZE);
    return fcntl(*ours, F_SETFL, O_NONBLOCK | (we_read ? O_RDONLY : O_WRONLY));
}

static void child_main(struct ag_session *s, int ctl, const struct ag_command *c)
{
    close_all(&s->exec);
    ag_keeper(ctl, c);
}

/* Pipes, keeper; 0 or -1 with errno. On failure nothing is left open. */
static int launch(struct ag_session *s, struct ag_command *c, bool with_stdin)
{
    struct ag_exec *x = &s->exec;
    int ctl[2] = {-1, -1};
    pid_t pid = -1;

    for (int i = 0; i < 3; i++)
        c->stdio[i] = s->w.null_fd;
    if (make_pipe(&x->out[0], &c->stdio[1], true) == 0 && make_pipe(&x->out[1], &c->stdio[2], true) == 0 &&
        (!with_stdin || make_pipe(&x->in, &c->stdio[0], false) == 0) &&
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ctl) == 0) {
        x->ctl = ctl[0];
        pid = ag_fork_keeper(s, c->unnumbered);
    }
    if (pid == 0)
        child_main(s, ctl[1], c);
    int e = errno;

    close_fd(&ctl[1]);
    for (int i = 0; i < 3; i++)
        if (c->stdio[i] != s->w.null_fd)
            close_fd(&c->stdio[i]);
    x->keeper = pid;
    if (pid > 0)
        return 0;
    close_all(x);
    errno = e;
    return -1;
}

void ag_exec_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct ag_command c = {.argv = s->args,
                           .envp = s->envs,
                           .cwd = s->cwd,
                           .pump = {-1, -1},
                           .sink = {-1, -1},
                           .proc_fd = s->w.proc_fd,
                           .life_fd = s->w.life_fd,
                           .urgent = s->w.may_halt};
    struct ag_exec *x = &s->exec;
    uint32_t flags = pv_dec_u32(d);
    uint64_t timeout = pv_dec_u64(d);

    if (!ag_take_command(s, d) || flags & ~(uint32_t)(PV_EXEC_STDIN | PV_EXEC_UNNUMBERED)) {
        ag_reply_error(s, id, EPROTO, "malformed EXEC");
        return;
    }
    c.unnumbered = flags & PV_EXEC_UNNUMBERED;
    *x = (struct ag_exec){.ctl = -1, .in = -1, .out = {-1, -1}, .due = INT64_MAX};
    if (timeout && timeout < (uint64_t)(INT64_MAX - ag_now()) / 1000000)
        x->due = ag_now() + (int64_t)timeout * 1000000;
    if (launch(s, &c, flags & PV_EXEC_STDIN) < 0) {
        ag_reply_error(s, id, errno, "start '%.4000s'", s->args[0]);
        return;
    }
    if (s->w.may_halt)
        ag_urgent(true);
    s->req = AG_EXEC;
    s->id = id;
}

enum ag_step ag_exec_stdin(struct ag_session *s, const uint8_t *data, size_t n)
{
    struct ag_exec *x = &s->exec;

    if (n == 0)
        close_fd(&x->in);
    while (x->in >= 0 && s->head_done < n) {
        ssize_t r = write(x->in, data + s->head_done, n - s->head_done);

        if (r >= 0)
            s->head_done += (size_t)r;
        else if (errno == EAGAIN)
            return AG_WAIT;
        else if (errno != EINTR)
            close_fd(&x->in); /* the command reads no more: the rest is dropped, as by a shell's pipe */
    }
    return AG_DONE;
}

void ag_exec_kill(struct ag_session *s, uint32_t exit_flag)
{
    struct ag_exec *x = &s->exec;

    x->due = INT64_MAX;
    if (x->ended || x->ctl < 0 || x->flags)
        return;
    if (send(x->ctl, "k", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
        x->flags |= exit_flag;
}

void ag_urgent(bool on)
{
    const struct sched_param p = {.sched_priority = on ? 1 : 0};

    /* Not musl's wrapper, which refuses; where the kernel refuses, it goes without. */
    syscall(SYS_sched_setscheduler, 0, (on ? SCHED_RR : SCHED_OTHER) | SCHED_RESET_ON_FORK, &p);
}

static void finish(struct ag_session *s)
{
    if (s->w.may_halt)
        ag_urgent(false);
    close_all(&s->exec);
    ag_reap_later(s, s->exec.keeper);
    ag_request_end(s);
}

/*
 * From here on only what is in the pipes now is still output of this command: a process that it left behind
 * may hold their other ends for ever.
 */
static void ended(struct ag_session *s, int status, uint64_t duration)
{
    struct ag_exec *x = &s->exec;

    x->ended = true;
    x->due = INT64_MAX;
    x->duration = duration;
    x->signal = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
    x->code = x->signal ? 128 + x->signal : (uint32_t)WEXITSTATUS(status);
    close_fd(&x->ctl);
    close_fd(&x->in);
    for (int i = 0; i < 2; i++) {
        int n = 0;

        if (x->out[i] >= 0 && ioctl(x->out[i], FIONREAD, &n) < 0)
            n = 0;
        x->left[i] = (size_t)n;
    }
}

void ag_exec_ctl(struct ag_session *s)
{
    static const char *const doing[] = {
        [AG_AT_FORK] = "fork", [AG_AT_CHDIR] = "chdir", [AG_AT_EXEC] = "exec"};
    struct ag_exec *x = &s->exec;
    struct ag_report r;
    ssize_t n = x->ctl < 0 ? -1 : recv(x->ctl, &r, sizeof(r), MSG_DONTWAIT);

    if (n < 0)
        return;
    if (n != sizeof(r)) { /* the keeper was killed: so is what it kept, as far as can be told */
        ended(s, SIGKILL, 0);
        return;
    }
    if (r.kind == AG_ENDED) {
        ended(s, r.value, r.duration);
    } else {
        /* The keeper tells the path: the arguments lay in `in`, which may have been reused since. */
        ag_reply_error(s, s->id, r.value, "%s '%.1000s'", doing[r.at], r.what);
        finish(s);
    }
}

void ag_exec_output(struct ag_session *s, int which)
{
    struct ag_exec *x = &s->exec;
    size_t max = x->ended ? x->left[which] : PV_CHUNK;
    ssize_t n = max ? ag_pump(s, which ? PV_MSG_STDERR : PV_MSG_STDOUT, x->out[which], -1, max) : 0;

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (x->ended)
            x->left[which] = 0;
        return;
    }
    if (n > 0 && x->ended)
        x->left[which] -= (size_t)n < x->left[which] ? (size_t)n : x->left[which];
    if (n <= 0) {
        x->left[which] = 0;
        close_fd(&x->out[which]);
    }
}

void ag_exec_check(struct ag_session *s)
{
    struct ag_exec *x = &s->exec;

    if (s->req != AG_EXEC || !x->ended)
        return;
    for (int i = 0; i < 2; i++)
        while (x->left[i]) {
            if (!ag_data_room(s))
                return;
            ag_exec_output(s, i);
        }
    ag_reply_exit(s);
    finish(s);
}
