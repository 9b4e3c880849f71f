/* SPDX-License-Identifier: MIT */
/*
 * EXEC.  A reaper process stands between the session and the command, so the session's loop never waits for a
 * child, and the command's whole process tree can be found when it has to be killed.
 */
#include "agent/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/high-fd.h"
#include "agent/kcov.h"
#include "agent/process.h"
#include "agent/reaper.h"
#include "agent/user.h"
#include "agent/util.h"
#include "command.h"
#include "pty.h"

enum { PIPE_SIZE = 256 * 1024 };

enum { AT_CTL, AT_OUT, AT_ERR, AT_IN }; /* places in the array of pollfds */

struct exec {
    pid_t reaper;
    int ctl;        /* to the reaper; -1 once it has reported the end */
    int in;         /* the command's stdin; -1: closed */
    int out[2];     /* its stdout and stderr; -1: at their end */
    int64_t due;    /* when it is killed; INT64_MAX: never */
    uint32_t flags; /* PV_EXIT_* */
    bool ended;
    int status;     /* once ended: wait status */
    size_t left[2]; /* once ended: bytes that the pipes held then and that were not read yet */
    uint64_t duration;
    bool process; /* PV_EXEC_PROCESS */
    bool pty;     /* PV_EXEC_PTY: in and out[0] are the master of size `size` */
    struct ag_pty_size size;
    struct ag_kcov kcov; /* of the command's process */
    uint64_t taken;      /* bytes of stdin that its pipe has taken */
    struct ag_user user;
    char path[PV_PATH_MAX];
    char home[4][AG_USER_DIR_MAX + 16]; /* entries of its environment */
    struct ag_command_args args; /* large: last, so that its memory is touched only as far as it is used */
};

AG_STATE(exec, exec_state)

static void exec_close(struct ag_session *s)
{
    struct exec *x = exec_state(s);

    ag_close(&x->ctl);
    ag_close(&x->in);
    ag_close(&x->out[0]);
    ag_close(&x->out[1]);
    ag_kcov_close(&x->kcov);
}

static int make_pipe(int *ours, int *theirs, bool we_read)
{
    if (ag_command_pipe(ours, theirs, we_read) < 0)
        return -1;
    fcntl(*ours, F_SETPIPE_SZ, PIPE_SIZE);
    return 0;
}

static int make_stdio(struct ag_session *s, struct ag_command *c, bool with_stdin)
{
    struct exec *x = exec_state(s);

    if (make_pipe(&x->out[0], &c->stdio[1], true) < 0 || make_pipe(&x->out[1], &c->stdio[2], true) < 0)
        return -1;
    return with_stdin ? make_pipe(&x->in, &c->stdio[0], false) : 0;
}

static int make_terminal(struct ag_session *s, struct ag_command *c)
{
    struct exec *x = exec_state(s);

    if (ag_pty_open(s->w.in_guest, x->size, &x->out[0], &c->stdio[0]) < 0)
        return -1;
    for (int i = 1; i < 3; i++)
        if ((c->stdio[i] = fcntl(c->stdio[0], F_DUPFD_CLOEXEC, 3)) < 0)
            return -1;
    x->in = ag_high_fd(fcntl(x->out[0], F_DUPFD_CLOEXEC, 3));
    return x->in < 0 ? -1 : 0;
}

/* Makes the pipes or the terminal, and starts the reaper; 0, or -1 with errno. */
static int launch_command(struct ag_session *s, struct ag_command *c, bool with_stdin)
{
    struct exec *x = exec_state(s);

    for (int i = 0; i < 3; i++)
        c->stdio[i] = s->w.null_fd;
    if (x->kcov.fd >= 0) /* the request's own is closed in forks */
        c->kcov_fd = fcntl(x->kcov.fd, F_DUPFD_CLOEXEC, 3);
    if ((c->pty ? make_terminal(s, c) : make_stdio(s, c, with_stdin)) == 0)
        x->reaper = ag_reaper_start(s, c, &x->ctl);
    int e = errno;

    for (int i = 0; i < 3; i++)
        if (c->stdio[i] != s->w.null_fd)
            ag_close(&c->stdio[i]);
    ag_close(&c->kcov_fd);
    errno = e;
    return x->reaper > 0 ? 0 : -1;
}

/* Decodes the fields in front of the command's; false when malformed.  The user's name is in x->user.name. */
static bool exec_decode(struct exec *x, struct pv_dec *d, uint32_t *flags, uint64_t *timeout)
{
    const uint32_t known = PV_EXEC_STDIN | PV_EXEC_UNNUMBERED | PV_EXEC_LOOKUP | PV_EXEC_USER | PV_EXEC_HOME |
                           PV_EXEC_PROCESS | PV_EXEC_PTY | PV_EXEC_COVERAGE;
    const uint32_t with_pty = PV_EXEC_STDIN | PV_EXEC_PROCESS; /* PV_EXEC_PTY needs both */

    *flags = pv_dec_u32(d);
    *timeout = pv_dec_u64(d);
    x->pty = *flags & PV_EXEC_PTY;
    if (x->pty) {
        x->size.rows = pv_dec_u32(d);
        x->size.columns = pv_dec_u32(d);
        if (!ag_pty_size_valid(x->size) || (*flags & with_pty) != with_pty)
            return false;
    }
    if (*flags & PV_EXEC_LOOKUP)
        pv_dec_str(d, x->path, sizeof(x->path));
    if (*flags & PV_EXEC_USER)
        pv_dec_str(d, x->user.name, sizeof(x->user.name));
    return ag_command_decode(&x->args, d) && !(*flags & ~known);
}

/* Adds NAME=value to the environment, unless it has that name. */
static void add_env(struct exec *x, size_t i, const char *name, const char *value)
{
    size_t n = 0, len = strlen(name);

    for (; x->args.envp[n]; n++)
        if (strncmp(x->args.envp[n], name, len) == 0 && x->args.envp[n][len] == '=')
            return;
    if (n == PV_ARGS_MAX || !ag_format(x->home[i], sizeof(x->home[i]), "%s=%s", name, value))
        return;
    x->args.envp[n] = x->home[i];
    x->args.envp[n + 1] = NULL;
}

/* Finds the user and gives the command its ids and environment; false: ERROR was replied. */
static bool exec_set_user(struct ag_session *s, struct ag_command *c, bool home)
{
    struct exec *x = exec_state(s);
    char name[AG_USER_NAME_MAX];

    ag_format(name, sizeof(name), "%s", x->user.name);
    if (ag_user_find(name, &x->user) < 0) {
        ag_request_fail(s, errno, errno == ENOENT ? "'%s' is no user in /etc/passwd" : "find user '%s'",
                        name);
        return false;
    }
    c->user = &x->user;
    if (!home)
        return true;
    add_env(x, 0, "HOME", *x->user.home ? x->user.home : "/");
    add_env(x, 1, "USER", x->user.name);
    add_env(x, 2, "LOGNAME", x->user.name);
    add_env(x, 3, "SHELL", *x->user.shell ? x->user.shell : "/bin/sh");
    return true;
}

static bool exec_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct exec *x = exec_state(s);
    uint32_t flags;
    uint64_t timeout;

    (void)id;
    x->reaper = x->ctl = x->in = x->out[0] = x->out[1] = -1;
    x->due = INT64_MAX;
    x->flags = 0;
    x->ended = false;
    x->left[0] = x->left[1] = 0;
    x->taken = 0;
    x->kcov = AG_KCOV_NONE;
    if (!exec_decode(x, d, &flags, &timeout))
        return false;
    struct ag_command c = ag_command_of(s, &x->args);

    c.unnumbered = flags & PV_EXEC_UNNUMBERED;
    c.started = x->process = flags & PV_EXEC_PROCESS;
    c.pty = x->pty;
    c.path = flags & PV_EXEC_LOOKUP ? x->path : NULL;
    if (flags & PV_EXEC_USER && !exec_set_user(s, &c, flags & PV_EXEC_HOME))
        return true;
    if (timeout && timeout < (uint64_t)(INT64_MAX - ag_now()) / 1000000)
        x->due = ag_now() + (int64_t)timeout * 1000000;
    if (flags & PV_EXEC_COVERAGE)
        ag_kcov_open(s, &x->kcov);
    if (launch_command(s, &c, flags & PV_EXEC_STDIN) < 0)
        ag_request_fail(s, errno, x->pty ? "make a terminal for '%.4000s'" : "start '%.4000s'",
                        x->args.argv[0]);
    else if (s->w.in_guest)
        ag_realtime(true);
    return true;
}

/* ---- input ---- */

static void reply_taken(struct ag_session *s)
{
    const struct exec *x = exec_state(s);
    struct pv_enc e;

    if (!x->process)
        return;
    e = ag_frame_begin(s, PV_MSG_TAKEN, 64);
    pv_enc_u32(&e, s->id);
    pv_enc_u64(&e, x->taken);
    pv_enc_u32(&e, x->in < 0);
    ag_frame_end(s, &e);
}

/* Writes on with the frame's bytes; false while the pipe is full. */
static bool stdin_write(struct ag_session *s, const uint8_t *data, size_t n)
{
    struct exec *x = exec_state(s);

    while (x->in >= 0 && s->in.done < n) {
        ssize_t r = write(x->in, data + s->in.done, n - s->in.done);

        if (r >= 0) {
            s->in.done += (size_t)r;
            x->taken += (uint64_t)r;
        } else if (errno == EAGAIN) {
            return false;
        } else if (errno != EINTR) {
            ag_close(&x->in); /* the command has closed its stdin: drop the rest, as a shell's pipe does */
        }
    }
    return true;
}

static enum ag_step stdin_take(struct ag_session *s, struct pv_dec *d)
{
    static const uint8_t end_of_file = 4; /* Ctrl-D */
    struct exec *x = exec_state(s);
    uint64_t before = x->taken;
    size_t n;
    const uint8_t *data = pv_dec_bytes(d, &n);

    if (n == 0 && x->pty)
        n = 1, data = &end_of_file; /* a terminal stays open */
    else if (n == 0)
        ag_close(&x->in);
    bool done = stdin_write(s, data, n);

    if (data == &end_of_file)
        x->taken = before; /* no byte of the host's */
    else if (done || x->taken != before)
        reply_taken(s);
    return done ? AG_DONE : AG_WAIT;
}

static bool signal_valid(struct pv_dec d)
{
    uint32_t sig = pv_dec_u32(&d);

    return pv_dec_done(&d) && sig >= 1 && sig <= 64;
}

static enum ag_step signal_take(struct ag_session *s, struct pv_dec *d)
{
    const struct exec *x = exec_state(s);

    if (x->process && x->ctl >= 0)
        ag_reaper_signal(x->ctl, (int)pv_dec_u32(d));
    return AG_DONE;
}

static bool window_valid(struct pv_dec d)
{
    struct ag_pty_size z = {.rows = pv_dec_u32(&d), .columns = pv_dec_u32(&d)};

    return pv_dec_done(&d) && ag_pty_size_valid(z);
}

static enum ag_step window_take(struct ag_session *s, struct pv_dec *d)
{
    const struct exec *x = exec_state(s);
    struct ag_pty_size z = {.rows = pv_dec_u32(d), .columns = pv_dec_u32(d)};

    if (x->pty && x->in >= 0)
        ag_pty_resize(x->in, z);
    return AG_DONE;
}

static void exec_kill(struct exec *x, uint32_t exit_flag)
{
    x->due = INT64_MAX;
    if (!x->ended && x->ctl >= 0 && !x->flags && ag_reaper_kill(x->ctl))
        x->flags |= exit_flag;
}

static void exec_cancel(struct ag_session *s)
{
    exec_kill(exec_state(s), PV_EXIT_CANCELLED);
}

/* The reply has been queued. */
static void exec_finish(struct ag_session *s)
{
    pid_t reaper = exec_state(s)->reaper;

    if (s->w.in_guest)
        ag_realtime(false);
    ag_request_end(s);
    ag_reap_later(s, reaper);
}

/*
 * Output ends with the bytes that the pipes hold now: a process that it left behind may keep their other
 * ends open for ever.
 */
static void command_ended(struct exec *x, int status, uint64_t duration)
{
    x->ended = true;
    x->due = INT64_MAX;
    x->duration = duration;
    x->status = status;
    ag_close(&x->ctl);
    ag_close(&x->in);
    for (int i = 0; i < 2; i++) {
        int n = 0;

        if (x->out[i] >= 0 && ioctl(x->out[i], FIONREAD, &n) < 0)
            n = 0;
        /* FIONREAD does not count what is on its way through the terminal; a read waits for that. */
        x->left[i] = x->pty && x->out[i] >= 0 ? PIPE_SIZE : (size_t)n;
    }
}

/* Takes the reaper's report. */
static void take_report(struct ag_session *s)
{
    struct exec *x = exec_state(s);
    struct ag_report r;
    ssize_t n = x->ctl < 0 ? -1 : recv(x->ctl, &r, sizeof(r), MSG_DONTWAIT);

    if (n < 0)
        return;
    if (n == sizeof(r) && r.kind == AG_STARTED) {
        struct pv_enc e = ag_frame_begin(s, PV_MSG_STARTED, 64);

        pv_enc_u32(&e, s->id);
        pv_enc_u32(&e, (uint32_t)r.value);
        ag_frame_end(s, &e);
    } else if (n != sizeof(r)) { /* the reaper was killed: assume that the command was, too */
        command_ended(x, SIGKILL, 0);
    } else if (r.kind == AG_ENDED) {
        command_ended(x, r.value, r.duration);
    } else {
        /* The path is the report's: x->args point into `in`, which may hold other frames by now. */
        ag_reply_error(s, s->id, r.value, "%s '%.1000s'", ag_command_action(&r), r.what);
        exec_finish(s);
    }
}

/* Sends the content of stdout (0) or stderr (1). */
static void send_output(struct ag_session *s, int which)
{
    struct exec *x = exec_state(s);
    size_t max = x->ended ? x->left[which] : PV_CHUNK;
    ssize_t n = max ? ag_reply_data(s, which ? PV_MSG_STDERR : PV_MSG_STDOUT, x->out[which], -1, max) : 0;

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (x->ended)
            x->left[which] = 0;
        return;
    }
    if (n > 0 && x->ended)
        x->left[which] -= (size_t)n < x->left[which] ? (size_t)n : x->left[which];
    if (n <= 0) {
        x->left[which] = 0;
        ag_close(&x->out[which]);
    }
}

static void reply_exit(struct ag_session *s)
{
    const struct exec *x = exec_state(s);
    uint32_t sig = WIFSIGNALED(x->status) ? (uint32_t)WTERMSIG(x->status) : 0;
    struct pv_enc e = ag_frame_begin(s, PV_MSG_EXIT, 64);

    pv_enc_u32(&e, s->id);
    pv_enc_u32(&e, sig ? 128 + sig : (uint32_t)WEXITSTATUS(x->status));
    pv_enc_u32(&e, sig);
    pv_enc_u32(&e, x->flags);
    pv_enc_u64(&e, x->duration);
    ag_frame_end(s, &e);
}

/* Replies EXIT once the command has ended and its output is queued. */
static void check_end(struct ag_session *s)
{
    struct exec *x = exec_state(s);

    if (!x->ended)
        return;
    for (int i = 0; i < 2; i++)
        while (x->left[i]) {
            if (!ag_data_room(s))
                return;
            send_output(s, i);
        }
    if (!ag_data_room(s))
        return;
    ag_kcov_reply(s, s->id, &x->kcov);
    reply_exit(s);
    exec_finish(s);
}

static void exec_pollfds(struct ag_session *s, struct pollfd *p, bool stalled)
{
    const struct exec *x = exec_state(s);

    p[AT_CTL] = (struct pollfd){.fd = x->ctl, .events = POLLIN};
    for (int i = 0; i < 2 && ag_data_room(s); i++)
        p[AT_OUT + i] = (struct pollfd){.fd = x->out[i], .events = POLLIN};
    if (stalled)
        p[AT_IN] = (struct pollfd){.fd = x->in, .events = POLLOUT};
}

static int64_t exec_due(struct ag_session *s)
{
    return exec_state(s)->due;
}

static void exec_more(struct ag_session *s, const struct pollfd *p)
{
    struct exec *x = exec_state(s);

    for (int i = 0; i < 2; i++)
        if (p[AT_OUT + i].revents && x->out[i] >= 0 && ag_data_room(s))
            send_output(s, i);
    if (p[AT_CTL].revents)
        take_report(s);
    if (!s->verb)
        return;
    if (ag_now() >= x->due)
        exec_kill(x, PV_EXIT_TIMED_OUT);
    check_end(s);
}

const struct ag_verb ag_verb_exec = {
    .message = PV_MSG_EXEC,
    .start = exec_start,
    .input = {{.message = PV_MSG_STDIN, .valid = ag_bytes_valid, .take = stdin_take},
              {.message = PV_MSG_SIGNAL, .valid = signal_valid, .urgent = true, .take = signal_take},
              {.message = PV_MSG_WINDOW, .valid = window_valid, .urgent = true, .take = window_take}},
    .pollfds = exec_pollfds,
    .due = exec_due,
    .more = exec_more,
    .cancel = exec_cancel,
    .close = exec_close,
};
