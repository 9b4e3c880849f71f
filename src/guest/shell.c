/* SPDX-License-Identifier: MIT */
/*
 * Output is written where it arrives, in the loop, and a reader that is slow blocks it there: the bytes wait in the
 * guest, and no buffer grows.  Signals come through a descriptor, so that none of them leaves the terminal raw.
 */
#include "guest/shell.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "guest/agent.h"
#include "guest/guest-state.h"
#include "guest/process.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/rawtty.h"

enum { ESCAPE = 0x1d, ESCAPES = 3 }; /* Ctrl-] */

#define END_LIMIT (10 * PV_NSEC_PER_SEC) /* the agent kills a process tree in 7 s */

struct shell {
    const struct pv_shell *o;
    struct pv_shell_end *end;
    struct pv_loop *loop;
    struct pv_process *p; /* NULL before its start */
    struct pv_watch in, sig;
    bool pty;
    bool in_file;  /* `in` is no descriptor to wait for: it is read when there is room */
    bool in_ready; /* a read does not block */
    bool in_ended;
    unsigned escapes;    /* the last bytes of input */
    unsigned interrupts; /* SIGINTs */
    bool alternate;      /* the guest has switched to the terminal's other screen */
    bool stopping;
    int64_t give_up; /* once stopping */
    struct pv_timer stop;
};

static const int taken_signals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGWINCH};

/* ---- the end ---- */

/* From the loop, but not from the session's callbacks, which it calls. */
static void shell_on_stop(struct pv_timer *t)
{
    struct shell *s = PV_CONTAINER_OF(t, struct shell, stop);

    if (s->p)
        pv_process_cancel(s->p);
}

static void shell_stop(struct shell *s, int sig)
{
    if (s->stopping)
        return;
    s->stopping = true;
    s->end->signal = sig;
    s->give_up = pv_deadline(END_LIMIT);
    pv_timer_arm(s->loop, &s->stop, pv_now());
}

/* ---- signals ---- */

static void shell_on_signal(struct shell *s, int sig)
{
    struct winsize w;

    if (sig == SIGWINCH) {
        if (s->pty && s->p && ioctl(s->o->out, TIOCGWINSZ, &w) == 0)
            pv_process_resize(s->p, w.ws_row, w.ws_col);
        return;
    }
    if (s->pty || !s->p || sig == SIGTERM || sig == SIGHUP || (sig == SIGINT && s->interrupts++ > 0))
        shell_stop(s, sig);
    else
        pv_process_signal(s->p, sig);
}

static void shell_read_signals(struct pv_watch *w, uint32_t events)
{
    struct shell *s = PV_CONTAINER_OF(w, struct shell, sig);
    struct signalfd_siginfo si;

    (void)events;
    while (read(w->fd, &si, sizeof(si)) == sizeof(si))
        shell_on_signal(s, (int)si.ssi_signo);
}

/* ---- input ---- */

static void shell_in_event(struct pv_watch *w, uint32_t events);

static void shell_watch_input(struct shell *s)
{
    struct pv_err err = PV_ERR_INIT;

    s->in.fn = shell_in_event;
    if (pv_loop_add(s->loop, &s->in, s->o->in, EPOLLIN, &err) < 0)
        s->in_file = true; /* a regular file, /dev/null */
}

static void shell_in_event(struct pv_watch *w, uint32_t events)
{
    struct shell *s = PV_CONTAINER_OF(w, struct shell, in);

    (void)events;
    pv_loop_del(s->loop, w); /* until these bytes are read: the hangup of a pipe would be reported for ever */
    s->in_ready = true;
    pv_process_kick(s->p);
}

/* The bytes in front of the third Ctrl-] in a row. */
static size_t shell_find_escape(struct shell *s, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        s->escapes = data[i] == ESCAPE ? s->escapes + 1 : 0;
        if (s->escapes == ESCAPES) {
            s->end->escaped = true;
            shell_stop(s, 0);
            return i;
        }
    }
    return n;
}

static ssize_t shell_input(void *arg, void *data, size_t n)
{
    struct shell *s = arg;
    ssize_t got;

    if (s->stopping || s->in_ended || (!s->in_file && !s->in_ready))
        return s->in_ended ? -1 : 0;
    s->in_ready = false;
    got = read(s->o->in, data, n);
    if (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN))) {
        if (!s->in_file)
            shell_watch_input(s);
        return got < 0 ? 0 : s->pty ? (ssize_t)shell_find_escape(s, data, (size_t)got) : got;
    }
    s->in_ended = true;
    if (!s->pty)
        return -1;
    shell_stop(s, SIGHUP); /* the terminal is gone */
    return 0;
}

/* ---- output ---- */

/* Remembers the screen that the guest's last switch chose; a sequence that is cut in two is missed. */
static void shell_note_screen(struct shell *s, const char *data, size_t n)
{
    static const char sequence[] = "\033[?1049";
    const char *at = data, *end = data + n;

    while ((at = memmem(at, (size_t)(end - at), sequence, sizeof(sequence) - 1))) {
        at += sizeof(sequence) - 1;
        if (at < end && (*at == 'h' || *at == 'l'))
            s->alternate = *at == 'h';
    }
}

static void shell_output(void *arg, int which, const void *data, size_t n)
{
    struct shell *s = arg;
    int fd = which ? s->o->err : s->o->out;

    if (s->pty)
        shell_note_screen(s, data, n);
    for (size_t done = 0; done < n && !s->stopping;) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLOUT}, {.fd = s->sig.fd, .events = POLLIN}};
        ssize_t r;

        if (poll(p, 2, -1) > 0 && p[1].revents)
            shell_read_signals(&s->sig, 0);
        if (!p[0].revents)
            continue;
        r = write(fd, (const char *)data + done, n - done < PIPE_BUF ? n - done : PIPE_BUF);
        if (r >= 0)
            done += (size_t)r;
        else if (errno != EINTR && errno != EAGAIN)
            shell_stop(s, errno == EPIPE ? SIGPIPE : 0);
    }
}

/* Switches off the modes of the terminal that a killed program has left on. */
static void shell_reset_terminal(const struct shell *s)
{
    cleanup_buf struct pv_buf b = {0};

    pv_buf_addf(&b,
                "%s\033[0m\033[?25h\033[?1l\033>\033[?2004l\033[?1000l\033[?1002l\033[?1003l\033[?1006l\r\n",
                s->alternate ? "\033[?1049l" : "");
    (void)!write(s->o->out, b.data, b.len);
}

/* ---- its command ---- */

/*
 * Root's shell of /etc/passwd, and a TERM that the guest's terminfo knows.  $0: "-l" or "".  A guest may have no
 * other program than a shell.
 */
static const char login[] =
    "u=; h=; sh=\n"
    "if [ -r /etc/passwd ]; then\n"
    "  while IFS=: read -r u _ i _ _ h sh; do [ \"$i\" = 0 ] && break; done </etc/passwd\n"
    "fi\n"
    "[ -x \"$sh\" ] || sh=/bin/sh\n"
    "export HOME=\"${h:-/root}\" SHELL=\"$sh\" USER=\"${u:-root}\" LOGNAME=\"${u:-root}\"\n"
    "for d in /etc/terminfo /lib/terminfo /usr/share/terminfo; do\n"
    "  [ -d \"$d\" ] && db=1\n"
    "  for f in \"$d\"/?/\"$TERM\"; do [ -e \"$f\" ] && known=1; done\n"
    "done\n"
    "[ -n \"$db\" ] && [ -z \"$known\" ] && TERM=xterm-256color\n"
    "if [ -n \"$1\" ]; then cd \"$1\" || exit; else cd \"$HOME\" 2>/dev/null || cd /; fi\n"
    "unset u h i db known f d _\n"
    "[ \"$0\" = -l ] && exec \"$sh\" -l\n"
    "exec \"$sh\"\n";

static void shell_add_command(const struct shell *s, struct pv_exec *x)
{
    static const char *const passed[] = {"TERM", "COLORTERM"};

    for (size_t i = 0; s->o->argv && i < s->o->argv->n; i++)
        pv_strv_add(&x->argv, s->o->argv->v[i]);
    for (size_t i = 0; i < PV_ARRAY_LEN(passed) && s->pty; i++)
        if (getenv(passed[i]))
            pv_strv_addf(&x->env, "%s=%s", passed[i], getenv(passed[i]));
    for (size_t i = 0; s->o->env && i < s->o->env->n; i++)
        pv_strv_add(&x->env, s->o->env->v[i]);
    if (s->o->argv) {
        x->cwd = s->o->cwd;
        return;
    }
    pv_strv_add(&x->argv, "/bin/sh");
    pv_strv_add(&x->argv, "-c");
    pv_strv_add(&x->argv, login);
    pv_strv_add(&x->argv, s->pty ? "-l" : "");
    pv_strv_add(&x->argv, s->o->cwd ? s->o->cwd : "");
}

static int shell_start(struct shell *s, struct pv_agent *a, const struct pv_process_io *io,
                       struct pv_err *err)
{
    struct pv_exec x = {.pty = s->pty};
    struct winsize w;

    if (s->pty && ioctl(s->o->out, TIOCGWINSZ, &w) == 0) {
        x.rows = w.ws_row;
        x.columns = w.ws_col;
    }
    shell_add_command(s, &x);
    s->p = pv_process_start_live(a, &x, io, NULL, err);
    pv_strv_free(&x.argv);
    pv_strv_free(&x.env);
    return s->p ? 0 : -1;
}

static int shell_wait(struct shell *s, struct pv_err *err)
{
    int r;

    do {
        int64_t next = pv_deadline(PV_NSEC_PER_SEC);

        r = pv_process_wait(s->p, s->stopping && s->give_up < next ? s->give_up : next, err);
    } while (r > 0 && !(s->stopping && pv_now() >= s->give_up));
    if (r == 0)
        s->end->exit_code = pv_process_result(s->p)->exit_code;
    else if (s->stopping)
        s->end->exit_code = 128 + SIGKILL;
    if (s->end->signal)
        s->end->exit_code = 128 + s->end->signal;
    return r < 0 && !s->stopping ? -1 : 0;
}

/* With signals at s->sig and the terminal raw. */
static int shell_serve(struct shell *s, struct pv_agent *a, struct pv_err *err)
{
    const struct pv_process_io io = {.output = shell_output, .input = shell_input, .arg = s};
    int r;

    if (shell_start(s, a, &io, err) < 0)
        return -1;
    if (s->pty && s->o->title)
        dprintf(s->o->err, "provium: %s; Ctrl-] three times ends this shell\r\n", s->o->title);
    if (!s->in_ended)
        shell_watch_input(s);
    pv_process_kick(s->p);
    r = shell_wait(s, err);
    pv_process_let_go(s->p);
    pv_process_unref(s->p);
    pv_loop_del(s->loop, &s->in);
    pv_timer_cancel(s->loop, &s->stop);
    return r;
}

static int shell_take_signals(struct shell *s, sigset_t *before, struct pv_err *err)
{
    struct sigaction old;
    sigset_t set;
    int fd;

    sigemptyset(&set);
    for (size_t i = 0; i < PV_ARRAY_LEN(taken_signals); i++)
        if (sigaction(taken_signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) /* nohup */
            sigaddset(&set, taken_signals[i]);
    sigaddset(&set, SIGWINCH);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return pv_err_sys(err, errno, "cannot make a signalfd");
    sigprocmask(SIG_BLOCK, &set, before);
    s->sig.fn = shell_read_signals;
    if (pv_loop_add(s->loop, &s->sig, fd, EPOLLIN, err) == 0)
        return fd;
    sigprocmask(SIG_SETMASK, before, NULL);
    close(fd);
    return -1;
}

int pv_shell_run(struct pv_agent *a, const struct pv_shell *o, struct pv_shell_end *end, struct pv_err *err)
{
    struct shell s = {.o = o, .end = end, .loop = a->guest->env->host.loop, .stop = {.fn = shell_on_stop}};
    sigset_t before;
    int r, fd;

    *end = (struct pv_shell_end){0};
    s.in.fd = -1;
    s.pty = isatty(o->in) && isatty(o->out);
    fd = shell_take_signals(&s, &before, err);
    if (fd < 0)
        return -1;
    r = s.pty ? pv_rawtty_enter(o->in, err) : 0;
    if (r == 0)
        r = shell_serve(&s, a, err);
    if (s.pty && (r < 0 || s.stopping))
        shell_reset_terminal(&s);
    pv_rawtty_leave();
    pv_loop_del(s.loop, &s.sig);
    close(fd);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return r;
}
