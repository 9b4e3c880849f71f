/* SPDX-License-Identifier: MIT */
/*
 * How a file's process ends, and who cleans up:
 *
 *   by itself                    it said its verdict; the supervisor sees the pidfd
 *   timeout, stop of the run     SIGTERM to the process, after 2 s SIGKILL to its group
 *   the supervisor was killed    SIGTERM by PR_SET_PDEATHSIG: the handler finds itself orphaned, removes the
 *                                run's directory and kills its own group; needs neither Lua nor the loop
 *
 * In every case the group gets SIGKILL in the end (before the leader is reaped, so that its number cannot
 * have been given to others), and VMs die by PR_SET_PDEATHSIG of their own.
 */
#include "runner/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "childproto/event.h"
#include "terminal/status.h"
#include "child/tail.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/path.h"
#include "util/spawn.h"

#define GRACE (2 * PV_NSEC_PER_SEC)

enum { TAIL_LINES = 20, EVENTS_AT_ONCE = 64 };

static const char *const state_names[] = {"free", "running", "stopping", "killed"};
_Static_assert(sizeof(state_names) / sizeof(state_names[0]) == SLOT_STATES, "name every state");

static void set_state(struct slot *s, enum slot_state to)
{
    pv_debug("runner", "%s: %s -> %s", s->report->name, state_names[s->state], state_names[to]);
    s->state = to;
}

/* ---- in the file's process ---- */

/* For the handler only; written before it is installed. */
static struct {
    pid_t supervisor;
    struct pv_rundir dir;
} orphan;

static void on_term(int sig)
{
    int e = errno;

    if (getppid() != orphan.supervisor) {
        pv_rundir_remove_in_handler(&orphan.dir);
        kill(0, SIGKILL);
        _exit(128 + sig);
    }
    /* The supervisor wants us gone and cleans up itself: die by the signal as soon as we return. */
    signal(sig, SIG_DFL);
    raise(sig);
    errno = e;
}

enum { CHILD_SOCK = 3, CHILD_DIR, CHILD_LEASE, CHILD_END, PLACE_BASE = 64 };

/* The descriptors of a file's process: its ends. */
struct child_fds {
    int sock, out, dir, lease;
};

/* 0 /dev/null, 1 and 2 the pipe, 3 the socket, 4 the run's directory (its lock), 5 the pool, nothing else. */
static void child_place_fds(const struct child_fds *fds)
{
    int from[CHILD_END] = {[1] = fds->out,
                           [2] = fds->out,
                           [CHILD_SOCK] = fds->sock,
                           [CHILD_DIR] = fds->dir,
                           [CHILD_LEASE] = fds->lease};

    from[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < CHILD_END; i++)
        if ((from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, PLACE_BASE)) < 0)
            _exit(126);
    for (int i = 0; i < CHILD_END; i++)
        if (dup3(from[i], i, i >= CHILD_SOCK ? O_CLOEXEC : 0) < 0)
            _exit(126);
    syscall(SYS_close_range, CHILD_END, ~0U, 0);
}

static _Noreturn void child_main(const struct slot *s, const struct pv_test_file *file,
                                 const struct pv_run_opts *o, const struct child_fds *fds, pid_t supervisor)
{
    struct sigaction sa = {.sa_handler = on_term};
    struct pv_result *result;
    struct pv_run_file rf = {.path = file->path,
                             .name = file->name,
                             .root = file->root,
                             .log_dir = s->log_dir,
                             .lease = CHILD_LEASE};
    sigset_t none;

    setpgid(0, 0);
    child_place_fds(fds);
    orphan.supervisor = supervisor;
    orphan.dir = *s->dir;
    orphan.dir.fd = CHILD_DIR;
    sigaction(SIGTERM, &sa, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (getppid() != supervisor)
        raise(SIGTERM);
    result = pv_result_new(CHILD_SOCK);
    if (s->want_steps)
        pv_result_want_steps(result);
    o->run(&rf, result, o->arg);
    fflush(NULL);
    _exit(0);
}

/* ---- in the supervisor ---- */

/* True when the file's process itself said the same of that VM last. */
static bool tail_is_known(const struct pv_file_report *f, const char *vm, const struct pv_buf *tail)
{
    for (size_t i = f->n_consoles; i > 0; i--) {
        const struct pv_console *c = &f->consoles[i - 1];

        if (c->vm && c->tail && !strcmp(c->vm, vm))
            return pv_tail_same(c->tail, tail->data);
    }
    return false;
}

/* The last lines of every console, which the file's process can not say any more. */
static void add_tails(struct pv_file_report *f)
{
    for (size_t i = 0; i < f->n_logs && !f->interrupted; i++) {
        const char *vm = f->logs[i].vm;
        cleanup_buf struct pv_buf tail = {0};

        if (pv_tail_of_log(f->logs[i].path, TAIL_LINES, &tail, NULL) < 0 || !tail.len ||
            tail_is_known(f, vm, &tail))
            continue;
        pv_report_event(f, &(struct pv_event){.type = PV_EV_CONSOLE,
                                              .id = PV_NO_TEST,
                                              .name = vm,
                                              .name_len = strlen(vm),
                                              .text = tail.data,
                                              .text_len = tail.len});
    }
}

/* Removes the log directory of a file that passed; one that failed keeps its logs. */
static void settle_logs(struct slot *s)
{
    struct pv_file_report *f = s->report;
    size_t kept = 0;

    if (!pv_report_failed(f) || f->interrupted) {
        pv_rm_rf(s->log_dir);
        return;
    }
    for (size_t i = 0; i < f->n_logs; i++) {
        struct stat st;

        if (lstat(f->logs[i].path, &st) == 0) {
            f->logs[kept++] = f->logs[i];
            continue;
        }
        free(f->logs[i].vm);
        free(f->logs[i].path);
    }
    f->n_logs = kept;
    if (kept == 0)
        pv_rm_rf(s->log_dir);
}

/* What the file was busy with: a guest call, or a sub-test. */
static void add_doing(struct pv_buf *why, const struct pv_file_report *f)
{
    if (f->phase && *f->phase) {
        pv_buf_addf(why, " while %s", f->phase);
        return;
    }
    for (size_t i = f->n_tests; i > 0; i--)
        if (!f->tests[i - 1].ended) {
            pv_buf_addf(why, " in test '%s'", f->tests[i - 1].name);
            return;
        }
}

static void judge(struct slot *s, int status)
{
    struct pv_file_report *f = s->report;
    enum pv_class cls = PV_CLASS_HARNESS;
    cleanup_buf struct pv_buf why = {0};
    char text[64];

    pv_wait_status_text(status, text);
    if (s->state == SLOT_STOPPING || s->state == SLOT_KILLED) {
        if (f->verdict && status == 0)
            return; /* it was done when the signal came */
        if (s->timed_out)
            pv_buf_addf(&why, "timed out after %g s", (double)s->timeout_ns / PV_NSEC_PER_SEC);
        else
            f->interrupted = true;
        cls = s->timed_out ? PV_CLASS_TIMEOUT : PV_CLASS_NONE;
        if (s->timed_out && s->doing)
            pv_buf_adds(&why, s->doing);
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && f->verdict) {
        return;
    } else if (WIFEXITED(status) && f->verdict && f->outcome == PV_FAIL) {
        return; /* os.exit, which has said so */
    } else if (f->verdict) {
        pv_buf_addf(&why, "ended by %s after the file was finished", text);
    } else if (WIFEXITED(status)) {
        pv_buf_addf(&why, "ended with %s before the file was finished", text);
    } else {
        pv_buf_adds(&why, text);
        add_doing(&why, f);
    }
    pv_report_broken(f, cls, why.data ? why.data : "interrupted");
    add_tails(f);
}

static void close_sock(struct slot *s)
{
    pv_loop_del(s->loop, &s->sock_watch);
    pv_close(&s->sock);
}

static void close_out(struct slot *s)
{
    pv_loop_del(s->loop, &s->out_watch);
    pv_close(&s->out);
}

static void drain_sock(struct slot *s, int most)
{
    unsigned char buf[PV_EVENT_MAX + 1];

    while (s->sock >= 0 && most-- > 0) {
        ssize_t n = recv(s->sock, buf, sizeof(buf), MSG_DONTWAIT);
        struct pv_event ev;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close_sock(s);
            return;
        }
        if (!pv_event_decode(&ev, buf, (size_t)n))
            continue;
        if (ev.type == PV_EV_NOTICE)
            s->on_notice(s, ev.text, ev.text_len);
        else
            pv_report_event(s->report, &ev);
    }
}

static void drain_out(struct slot *s, int most)
{
    char buf[16384];

    while (s->out >= 0 && most-- > 0) {
        ssize_t n = read(s->out, buf, sizeof(buf));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close_out(s);
            return;
        }
        pv_report_output(s->report, buf, (size_t)n);
    }
}

static void on_sock(struct pv_watch *w, uint32_t events)
{
    (void)events;
    drain_sock(PV_CONTAINER_OF(w, struct slot, sock_watch), EVENTS_AT_ONCE);
}

static void on_out(struct pv_watch *w, uint32_t events)
{
    (void)events;
    drain_out(PV_CONTAINER_OF(w, struct slot, out_watch), EVENTS_AT_ONCE);
}

static void on_exit_of_child(struct pv_watch *w, uint32_t events)
{
    struct slot *s = PV_CONTAINER_OF(w, struct slot, proc_watch);
    int status = 0;

    (void)events;
    kill(-s->pid, SIGKILL);
    while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
        ;
    pv_timer_cancel(s->loop, &s->timer);
    pv_loop_del(s->loop, &s->proc_watch);
    pv_close(&s->pidfd);
    drain_sock(s, INT32_MAX);
    /* Something that left the group may hold the pipe and go on writing: take what is there, no more. */
    drain_out(s, 1024);
    close_sock(s);
    close_out(s);
    s->report->duration_ns = pv_now() - s->started;
    if (s->time_left >= 0)
        s->report->waited_ns += pv_now() - s->paused;
    judge(s, status);
    if (s->want_steps)
        pv_report_load_consoles(s->report,
                                pv_report_failed(s->report) ? PV_CONSOLE_FAILED_MAX : PV_CONSOLE_PASSED_MAX);
    settle_logs(s);
    free(s->log_dir);
    free(s->doing);
    s->log_dir = s->doing = NULL;
    set_state(s, SLOT_FREE);
    s->on_end(s);
}

static void on_timer(struct pv_timer *t)
{
    struct slot *s = PV_CONTAINER_OF(t, struct slot, timer);

    if (s->state == SLOT_RUNNING) {
        struct pv_buf doing = {0};

        drain_sock(s, EVENTS_AT_ONCE);
        s->timed_out = true;
        add_doing(&doing, s->report);
        pv_status_vms(&doing, s->report, pv_now(), pv_tail_of_log);
        s->doing = doing.data; /* handed over */
        slot_stop(s);
    } else {
        slot_kill(s);
    }
}

void slot_init(struct slot *s, struct pv_loop *loop, const struct pv_rundir *dir)
{
    *s = (struct slot){.loop = loop, .dir = dir, .pidfd = -1, .sock = -1, .out = -1};
    s->proc_watch = (struct pv_watch){.fd = -1, .fn = on_exit_of_child};
    s->sock_watch = (struct pv_watch){.fd = -1, .fn = on_sock};
    s->out_watch = (struct pv_watch){.fd = -1, .fn = on_out};
    s->timer.fn = on_timer;
}

/* RUN/001-NAME, NAME reduced to what needs no quoting anywhere; RUN/001-NAME-try2 for later attempts. */
static char *make_log_dir(const struct slot *s, const struct slot_file *f, struct pv_err *err)
{
    const char *name = pv_path_basename(f->file->name);
    size_t len = strlen(name), base = strlen(s->dir->path);
    size_t stem = len > 4 && !strcmp(name + len - 4, ".lua") ? len - 4 : len, shown = stem < 100 ? stem : 100;
    cleanup_free char *again = f->attempt > 1 ? pv_xasprintf("-try%u", f->attempt) : pv_xstrdup("");
    char *dir = pv_xasprintf("%s/%03u-%.*s%s", s->dir->path, f->number, (int)shown, name, again);

    for (char *c = dir + base + 1; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", *c))
            *c = '_';
    if (mkdir(dir, 0700) == 0)
        return dir;
    pv_err_sys(err, errno, "cannot make directory '%s'", dir);
    free(dir);
    return NULL;
}

static int watch_child(struct slot *s, struct pv_err *err)
{
    s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
    if (s->pidfd < 0)
        return pv_err_sys(err, errno, "cannot open a pidfd (Linux 5.3 or newer is needed)");
    if (pv_loop_add(s->loop, &s->proc_watch, s->pidfd, EPOLLIN, err) < 0 ||
        pv_loop_add(s->loop, &s->sock_watch, s->sock, EPOLLIN, err) < 0 ||
        pv_loop_add(s->loop, &s->out_watch, s->out, EPOLLIN, err) < 0)
        return -1;
    pv_timer_arm(s->loop, &s->timer, pv_deadline(s->timeout_ns));
    return 0;
}

/* After a failure on the way up: nothing of the file is left, the slot is free. */
static int give_up(struct slot *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    pv_loop_del(s->loop, &s->proc_watch);
    pv_close(&s->pidfd);
    close_sock(s);
    close_out(s);
    if (s->log_dir)
        pv_rm_rf(s->log_dir);
    free(s->log_dir);
    s->log_dir = NULL;
    return -1;
}

int slot_start(struct slot *s, const struct slot_file *f, const struct pv_run_opts *o, struct pv_err *err)
{
    int sv[2] = {-1, -1}, out[2] = {-1, -1}, e;
    const char *name = f->file->name;
    pid_t supervisor = getpid();

    s->report = f->report;
    s->timed_out = false;
    s->timeout_ns = o->timeout_ns;
    s->time_left = -1;
    s->pid = -1;
    s->log_dir = make_log_dir(s, f, err);
    if (!s->log_dir)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0 || pipe2(out, O_CLOEXEC) < 0) {
        e = errno;
        pv_close(&sv[0]);
        pv_close(&sv[1]);
        give_up(s);
        return pv_err_sys(err, e, "cannot make a socket pair and a pipe for '%s'", name);
    }
    fflush(NULL);
    s->started = pv_now();
    s->want_steps = pv_reports_want_steps(&o->reports);
    f->report->begin_ns = s->started - f->report->base_ns;
    s->pid = fork();
    if (s->pid == 0)
        child_main(s, f->file, o, &(struct child_fds){sv[1], out[1], s->dir->fd, f->lease}, supervisor);
    e = errno;
    close(sv[1]);
    close(out[1]);
    s->sock = sv[0];
    s->out = out[0];
    if (s->pid < 0) {
        give_up(s);
        return pv_err_sys(err, e, "cannot fork for '%s'", name);
    }
    setpgid(s->pid, s->pid); /* in both: whoever comes first */
    fcntl(s->out, F_SETFL, O_NONBLOCK);
    if (watch_child(s, err) < 0)
        return give_up(s);
    f->report->ran = true;
    set_state(s, SLOT_RUNNING);
    return 0;
}

void slot_stop(struct slot *s)
{
    if (s->state != SLOT_RUNNING)
        return;
    set_state(s, SLOT_STOPPING);
    kill(s->pid, SIGTERM);
    pv_timer_arm(s->loop, &s->timer, pv_deadline(GRACE));
}

void slot_pause(struct slot *s, bool on)
{
    if (s->state != SLOT_RUNNING || on == (s->time_left >= 0))
        return;
    if (on) {
        int64_t left = s->timer.due - pv_now();

        s->time_left = left > 0 ? left : 0;
        s->paused = pv_now();
        pv_timer_cancel(s->loop, &s->timer);
        return;
    }
    s->report->waited_ns += pv_now() - s->paused;
    pv_timer_arm(s->loop, &s->timer, pv_deadline(s->time_left));
    s->time_left = -1;
}

pid_t slot_pid(const struct slot *s)
{
    return s->pid;
}

void slot_kill(struct slot *s)
{
    if (s->state == SLOT_FREE)
        return;
    pv_timer_cancel(s->loop, &s->timer);
    set_state(s, SLOT_KILLED);
    kill(-s->pid, SIGKILL);
}
