/* SPDX-License-Identifier: MIT */
/*
 * The live lines end with a newline, so that they are `rows` lines above the cursor: erasing is "up by rows,
 * clear to the end of the screen".  Erasing, permanent text and the new lines are queued as one piece.  Live
 * lines are queued only when the output queue is empty, so a terminal that stalls costs no memory.
 *
 * Enter in the terminal's own line mode is echoed as a newline: reading n of them means that the lines are n
 * further up.
 */
#include "terminal/live.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "loop/loop.h"
#include "loop/out.h"
#include "terminal/status.h"
#include "child/tail.h"
#include "util/clock.h"
#include "util/err.h"

#define TICK (100 * PV_NSEC_PER_MSEC)

enum { UNREAD_MAX = 64 * 1024 }; /* bytes: a terminal that reads slower gets no further status */

/* reason: the one object of the terminal; its parts (progress, backlog, watches) are structs already */
struct pv_live {
    struct pv_loop *loop;
    struct pv_out *out;
    struct pv_live_opts o;
    int64_t begun;
    struct pv_doing *running; /* in the order of their begins */
    size_t n_running;
    struct pv_progress progress;
    struct pv_backlog backlog;
    int64_t done_ns; /* sum of the files that ended */
    size_t n_done, n_expected;
    int64_t expected_ns; /* of the files whose duration was known */

    struct pv_watch signals, keys;
    int sigfd, keyfd;
    sigset_t old_mask;
    struct pv_timer tick;
    bool asked;           /* Enter was pressed, and the status was not shown yet */
    bool finished;        /* the run's last line was printed: no status after it */
    bool drawing;         /* live lines are wanted, until pv_live_finish */
    unsigned rows;        /* live lines above the cursor */
    struct pv_buf screen; /* the live lines as drawn */
};

/* ---- drawing ---- */

/* False while another job of the user's shell is in the foreground. */
static bool terminal_is_foreground(int fd)
{
    pid_t owner = tcgetpgrp(fd);

    return owner < 0 ||
           owner == getpgrp(); /* < 0: this process has no controlling terminal, so no other job has it */
}

static void terminal_size(const struct pv_live *l, unsigned *cols, unsigned *rows)
{
    struct winsize ws = {0};

    if (ioctl(l->out->fd, TIOCGWINSZ, &ws) < 0 || ws.ws_col == 0 || ws.ws_row == 0) {
        ws.ws_col = 80;
        ws.ws_row = 24;
    }
    *cols = ws.ws_col - 1U; /* a line that fills the last column makes some terminals wrap */
    *rows = ws.ws_row;
}

static void live_add_erase(struct pv_live *l, struct pv_buf *b)
{
    if (l->rows)
        pv_buf_addf(b, "\r\033[%uA\033[J", l->rows);
    l->rows = 0;
}

static void live_update_progress(struct pv_live *l, int64_t now)
{
    int64_t sum = l->done_ns + l->expected_ns;
    size_t n = l->n_done + l->n_expected;

    l->backlog.mean_ns = n ? sum / (int64_t)n : -1;
    l->progress.elapsed_ns = now - l->begun;
    l->progress.left_ns = pv_status_left(l->running, l->n_running, &l->backlog, now);
}

/* Adds the live lines to b, where the cursor is at the beginning of a line. */
static void live_add_screen(struct pv_live *l, struct pv_buf *b)
{
    int64_t now = pv_now();
    unsigned cols, rows;

    pv_buf_free(&l->screen);
    if (!l->drawing || l->n_running == 0)
        return;
    terminal_size(l, &cols, &rows);
    live_update_progress(l, now);
    pv_status_screen(&l->screen, l->running, l->n_running, &l->progress, now, cols, rows, &l->o.style);
    pv_buf_add(b, l->screen.data, l->screen.len);
    for (size_t i = 0; i < l->screen.len; i++)
        l->rows += l->screen.data[i] == '\n';
}

static void live_read_keys(struct pv_live *l);
static void live_show_asked(struct pv_live *l);

static void live_redraw(struct pv_live *l)
{
    struct pv_buf text = {0}, old = l->screen;
    unsigned rows;

    if (!l->drawing || !pv_out_done(l->out) || !terminal_is_foreground(l->out->fd))
        return;
    if (l->keyfd >= 0 && l->keys.fd < 0) /* keys were unwatched while another job had the terminal */
        pv_loop_add(l->loop, &l->keys, l->keyfd, EPOLLIN, NULL);
    live_read_keys(l);
    rows = l->rows;
    l->screen = (struct pv_buf){0};
    live_add_erase(l, &text);
    live_add_screen(l, &text);
    if (rows == l->rows && old.len == l->screen.len &&
        (!old.len || !memcmp(old.data, l->screen.data, old.len)))
        pv_buf_free(&text); /* the screen shows it already */
    else
        pv_out_put(l->out, &text);
    pv_buf_free(&old);
}

static void on_live_tick(struct pv_timer *t)
{
    struct pv_live *l = PV_CONTAINER_OF(t, struct pv_live, tick);

    live_redraw(l);
    live_show_asked(l);
    if (l->drawing)
        pv_timer_arm(l->loop, &l->tick, pv_deadline(TICK));
}

void pv_live_put(struct pv_live *l, struct pv_buf *b)
{
    struct pv_buf text = {0};

    if (!l || b->len == 0) {
        pv_buf_free(b);
        return;
    }
    if (!l->drawing) {
        pv_out_put(l->out, b);
        return;
    }
    live_read_keys(l);
    live_add_erase(l, &text);
    pv_buf_add(&text, b->data, b->len);
    pv_buf_free(b);
    if (pv_out_done(l->out) && terminal_is_foreground(l->out->fd))
        live_add_screen(l, &text);
    pv_out_put(l->out, &text);
}

void pv_live_status(struct pv_live *l)
{
    struct pv_buf text = {0};
    int64_t now = pv_now();

    if (l->finished || l->out->queue.len > UNREAD_MAX)
        return;
    live_update_progress(l, now);
    pv_status_full(&text, l->running, l->n_running, &l->progress, now, pv_tail_of_log);
    pv_live_put(l, &text);
}

/* ---- keys and signals ---- */

/* Reads the keys typed so far; sets l->asked for Enter. */
static void live_read_keys(struct pv_live *l)
{
    struct termios tio;
    char buf[256];
    ssize_t n;
    bool echo;

    if (l->keyfd < 0 || l->keys.fd < 0)
        return;
    echo = tcgetattr(l->keyfd, &tio) == 0 && (tio.c_lflag & (ECHO | ECHONL));
    while ((n = read(l->keyfd, buf, sizeof(buf))) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (buf[i] != '\n')
                continue;
            l->asked = true;
            if (echo && l->rows)
                l->rows++;
        }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) /* EIO: another job has the terminal, or it hung up; the watch would fire for ever */
        pv_loop_del(l->loop, &l->keys);
}

static void live_show_asked(struct pv_live *l)
{
    if (!l->asked)
        return;
    l->asked = false;
    pv_live_status(l);
}

static void on_live_keys(struct pv_watch *w, uint32_t events)
{
    struct pv_live *l = PV_CONTAINER_OF(w, struct pv_live, keys);

    if (!(events & EPOLLIN)) {
        pv_loop_del(l->loop, &l->keys);
        return;
    }
    live_read_keys(l);
    live_show_asked(l);
}

static void live_continued(struct pv_live *l)
{
    l->rows = 0; /* the shell has written below: the old live lines can no longer be erased */
    live_redraw(l);
}

/* Ctrl-Z: erases the live lines and stops with the default action. Returns when continued. */
static void live_suspend(struct pv_live *l)
{
    const struct timespec now = {0};
    struct pv_buf text = {0};
    sigset_t set;

    if (pv_out_done(l->out)) {
        live_add_erase(l, &text);
        pv_out_put(l->out, &text);
        pv_out_push(l->out);
    }
    sigemptyset(&set);
    sigaddset(&set, SIGTSTP);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &set, NULL); /* stops here */
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCONT);
    sigtimedwait(&set, NULL,
                 &now); /* consume the SIGCONT of this stop: on_live_signal would take it for another one */
    live_continued(l);
}

static void on_live_signal(struct pv_watch *w, uint32_t events)
{
    struct pv_live *l = PV_CONTAINER_OF(w, struct pv_live, signals);
    struct signalfd_siginfo si;

    (void)events;
    if (read(l->sigfd, &si, sizeof(si)) != sizeof(si))
        return;
    if (si.ssi_signo == SIGUSR1)
        pv_live_status(l);
    else if (si.ssi_signo == SIGTSTP)
        live_suspend(l);
    else if (si.ssi_signo == SIGCONT)
        live_continued(l);
    else
        live_redraw(l);
}

static int live_watch_signals(struct pv_live *l, struct pv_err *err)
{
    struct sigaction sa;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    if (l->drawing) {
        sigaddset(&set, SIGWINCH);
        sigaddset(&set, SIGCONT);
        if (sigaction(SIGTSTP, NULL, &sa) < 0 || sa.sa_handler != SIG_IGN)
            sigaddset(&set, SIGTSTP);
    }
    sigprocmask(SIG_BLOCK, &set, &l->old_mask);
    l->sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (l->sigfd < 0)
        return pv_err_sys(err, errno, "cannot make a signalfd");
    return pv_loop_add(l->loop, &l->signals, l->sigfd, EPOLLIN, err);
}

/*
 * Opens the terminal again for keys: O_NONBLOCK on standard input's description would be seen by the parent
 * process, too.  Without keys SIGUSR1 still shows the status.
 */
static void live_watch_keys(struct pv_live *l)
{
    sigset_t set;

    if (!isatty(STDIN_FILENO))
        return;
    l->keyfd = open("/proc/self/fd/0", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (l->keyfd < 0)
        return;
    /* with SIGTTIN ignored a background read fails with EIO instead of stopping the run */
    sigemptyset(&set);
    sigaddset(&set, SIGTTIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pv_loop_add(l->loop, &l->keys, l->keyfd, EPOLLIN, NULL);
}

/* ---- begin and end of files ---- */

struct pv_live *pv_live_new(struct pv_loop *loop, struct pv_out *out, const struct pv_live_opts *o,
                            struct pv_err *err)
{
    struct pv_live *l = pv_xcalloc(1, sizeof(*l));

    *l = (struct pv_live){.loop = loop, .out = out, .o = *o, .begun = pv_now(), .sigfd = -1, .keyfd = -1};
    l->signals = (struct pv_watch){.fd = -1, .fn = on_live_signal};
    l->keys = (struct pv_watch){.fd = -1, .fn = on_live_keys};
    l->tick.fn = on_live_tick;
    l->drawing = o->terminal;
    l->backlog.jobs = o->jobs;
    sigprocmask(SIG_BLOCK, NULL, &l->old_mask);
    if (live_watch_signals(l, err) < 0) {
        pv_live_free(l);
        return NULL;
    }
    if (l->drawing) {
        live_watch_keys(l);
        pv_timer_arm(loop, &l->tick, pv_deadline(TICK));
    }
    return l;
}

void pv_live_free(struct pv_live *l)
{
    if (!l)
        return;
    pv_live_finish(l);
    pv_loop_del(l->loop, &l->signals);
    pv_close(&l->sigfd);
    pv_close(&l->keyfd);
    sigprocmask(SIG_SETMASK, &l->old_mask, NULL);
    pv_buf_free(&l->screen);
    free(l->running);
    free(l);
}

void pv_live_expect(struct pv_live *l, int64_t duration_ns)
{
    l->progress.total++;
    if (duration_ns < 0) {
        l->backlog.unknown++;
        return;
    }
    l->backlog.known_ns += duration_ns;
    l->expected_ns += duration_ns;
    l->n_expected++;
}

void pv_live_begin(struct pv_live *l, const struct pv_file_report *report, int64_t expected_ns)
{
    l->running = pv_xrealloc(l->running, (l->n_running + 1) * sizeof(*l->running));
    l->running[l->n_running++] =
        (struct pv_doing){.report = report, .started = pv_now(), .expected_ns = expected_ns};
    if (expected_ns >= 0)
        l->backlog.known_ns -= expected_ns < l->backlog.known_ns ? expected_ns : l->backlog.known_ns;
    else if (l->backlog.unknown)
        l->backlog.unknown--;
}

static void live_count_end(struct pv_live *l, const struct pv_file_report *f)
{
    l->n_done++;
    l->done_ns += f->duration_ns;
    if (f->interrupted)
        return;
    if (pv_report_failed(f))
        l->progress.failed++;
    else if (f->flaky)
        l->progress.flaky++;
    else if (f->outcome == PV_SKIP || f->outcome == PV_TODO)
        l->progress.skipped++;
    else
        l->progress.passed++;
}

void pv_live_end(struct pv_live *l, const struct pv_file_report *report, bool last)
{
    for (size_t i = 0; i < l->n_running; i++) {
        if (l->running[i].report != report)
            continue;
        if (!last && l->running[i].expected_ns >= 0)
            l->backlog.known_ns += l->running[i].expected_ns;
        else if (!last)
            l->backlog.unknown++;
        l->n_running--;
        memmove(&l->running[i], &l->running[i + 1], (l->n_running - i) * sizeof(*l->running));
        if (last)
            live_count_end(l, report);
        return;
    }
}

void pv_live_stopping(struct pv_live *l)
{
    l->progress.stopping = true;
    live_redraw(l);
}

void pv_live_finish(struct pv_live *l)
{
    struct pv_buf text = {0};

    l->finished = true;
    if (!l->drawing)
        return;
    live_read_keys(l);
    live_add_erase(l, &text);
    pv_out_put(l->out, &text);
    pv_out_push(l->out);
    l->drawing = false;
    pv_timer_cancel(l->loop, &l->tick);
    pv_loop_del(l->loop, &l->keys);
}
