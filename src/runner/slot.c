/* SPDX-License-Identifier: MIT */
/*
 * How a file's process ends:
 *
 *   by itself                    the process sent its verdict; the supervisor sees the pidfd
 *   timeout, stop of the run     SIGTERM to the process, after 2 s SIGKILL to its group
 *   an invalid message           SIGKILL to its group, slot_fail; the verdict says which
 *   the supervisor was killed    SIGTERM by PR_SET_PDEATHSIG: the handler finds itself orphaned, removes the
 *                                run's directory and kills its own group; it needs neither Lua nor the loop
 *
 * In every case the group gets SIGKILL in the end (child/child.h), and VMs die by a PR_SET_PDEATHSIG of their
 * own.
 */
#include "runner/slot.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child/tail.h"
#include "childproto/event.h"
#include "childproto/result.h"
#include "report/outputs.h"
#include "terminal/status.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spawn.h"

#define GRACE (2 * PV_NSEC_PER_SEC)
#define SAVE_TIME \
    (120 * PV_NSEC_PER_SEC) /* more than testfile/save.c takes, or testfile/coverage.c for a VM */

enum { TAIL_LINES = 20, EVENTS_AT_ONCE = 64, LIVE_LINE_MAX = 4096 };

static const char *const slot_state_names[] = {"free", "running", "stopping", "killed"};
_Static_assert(sizeof(slot_state_names) / sizeof(slot_state_names[0]) == SLOT_STATES, "name every state");

static void slot_set_state(struct slot *s, enum slot_state to)
{
    pv_debug("runner", "%s: %s -> %s", s->report->name, slot_state_names[s->state], slot_state_names[to]);
    s->state = to;
}

/* ---- in the file's process ---- */

/* The argument of the child; on the stack of slot_start. */
struct slot_job {
    const struct pv_test_file *file;
    const struct pv_run_opts *run;
    const char *log_dir;
    bool want_steps;
};

/* For the handler of SIGTERM only; the supervisor writes it before it forks. */
static struct {
    pid_t supervisor;
    struct pv_rundir dir;
} orphan;

static void on_child_term(int sig)
{
    int e = errno;

    if (getppid() != orphan.supervisor) {
        pv_rundir_remove_in_handler(&orphan.dir);
        kill(0, SIGKILL);
        _exit(128 + sig);
    }
    /* The supervisor sent it, and cleans up itself: die by the signal as soon as the handler returns. */
    signal(sig, SIG_DFL);
    raise(sig);
    errno = e;
}

/* Where the file's process has the run's directory (its lock) and its channel to the pool. */
enum { CHILD_DIR = PV_CHILD_FDS, CHILD_LEASE, CHILD_IN, CHILD_OUT };

static void slot_child_main(void *arg)
{
    const struct slot_job *job = arg;
    struct pv_result *result = pv_result_new(PV_CHILD_SOCK);
    struct pv_run_file rf = {.path = job->file->path,
                             .name = job->file->name,
                             .root = job->file->alone ? NULL : job->file->root,
                             .log_dir = job->log_dir,
                             .lease = CHILD_LEASE,
                             .in = job->run->debug_out ? CHILD_IN : -1,
                             .out = job->run->debug_out ? CHILD_OUT : -1};

    if (job->want_steps)
        pv_result_want_steps(result);
    job->run->run(&rf, result, job->run->arg);
}

/* ---- in the supervisor ---- */

/* True when the last console event of that VM already had these lines. */
static bool slot_tail_is_known(const struct pv_file_report *f, const char *vm, const struct pv_buf *tail)
{
    for (size_t i = f->n_consoles; i > 0; i--) {
        const struct pv_console *c = &f->consoles[i - 1];

        if (c->vm && c->tail && !strcmp(c->vm, vm))
            return pv_tail_same(c->tail, tail->data);
    }
    return false;
}

/* Adds the last lines of every console log, for a process that can no longer send them. */
static void slot_add_tails(struct pv_file_report *f)
{
    for (size_t i = 0; i < f->n_logs && !f->interrupted; i++) {
        const char *vm = f->logs[i].vm;
        cleanup_buf struct pv_buf tail = {0};

        if (pv_is_network_log(vm) || pv_tail_of_log(f->logs[i].path, TAIL_LINES, &tail, NULL) < 0 ||
            !tail.len || slot_tail_is_known(f, vm, &tail))
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
static void slot_settle_logs(struct slot *s)
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

/* Adds " while booting vm1", or " in test 'x'": the file's phase, else its innermost open sub-test. */
static void slot_add_doing(struct pv_buf *why, const struct pv_file_report *f)
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

/* Completes the report by how the process ended. */
static void slot_judge(struct slot *s, int status)
{
    struct pv_file_report *f = s->report;
    enum pv_class cls = PV_CLASS_HARNESS;
    cleanup_buf struct pv_buf why = {0};
    char text[64];

    pv_wait_status_text(status, text);
    if (s->fault) {
        pv_buf_addf(&why, "killed by the supervisor: its process %s", s->fault);
        slot_add_doing(&why, f);
    } else if (s->state == SLOT_STOPPING || s->state == SLOT_KILLED) {
        if (f->verdict && status == 0)
            return; /* the file had ended when the signal came */
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
        return; /* os.exit: the binding has sent the verdict */
    } else if (f->verdict) {
        pv_buf_addf(&why, "ended by %s after the file was finished", text);
    } else if (WIFEXITED(status)) {
        pv_buf_addf(&why, "ended with %s before the file was finished", text);
    } else {
        pv_buf_adds(&why, text);
        slot_add_doing(&why, f);
    }
    pv_report_broken(f, cls, why.data ? why.data : "interrupted");
    slot_add_tails(f);
}

/* Moves the file's deadline. */
static void slot_extend(struct slot *s, int64_t ns)
{
    int64_t left = s->timer.due - pv_now() + ns;

    if (s->time_left >= 0)
        s->time_left += ns;
    else
        pv_timer_arm(s->loop, &s->timer, pv_deadline(left > 0 ? left : 0));
}

/*
 * A save (of the VMs, or of their coverage) by a file's process does not count against its limit, for at most SAVE_TIME in
 * all: a process that never ends it is timed out.
 */
static void slot_on_saving(struct slot *s, bool on)
{
    int64_t now = pv_now(), took = now - s->saving;

    if (s->state != SLOT_RUNNING || on == (s->saving != 0))
        return;
    if (on) {
        s->saving = now;
        slot_extend(s, s->save_left);
        return;
    }
    if (took > s->save_left)
        took = s->save_left;
    slot_extend(s, took - s->save_left);
    s->save_left -= took;
    s->saving = 0;
}

/* A file's process may send notices without end. */
static void slot_notice(struct slot *s, const struct pv_event *ev)
{
    static const char more[] = "further notices of this file are left out";

    if (s->n_notices > SLOT_NOTICES)
        return;
    if (s->n_notices++ < SLOT_NOTICES)
        s->on_notice(s, ev->text, ev->text_len);
    else
        s->on_notice(s, more, sizeof(more) - 1);
}

/* --live: output of a file or of its VMs. */
static void slot_live(struct slot *s, const struct pv_event *ev)
{
    cleanup_free char *vm = pv_xstrndup(ev->name, ev->name_len);

    if (!s->live || ev->id >= PV_LIVE_KINDS)
        slot_fail(s, "sent an invalid event");
    else
        s->on_live(s, vm, (enum pv_live_kind)ev->id, ev->text, ev->text_len);
}

/* Shows the file's own output in whole lines; all: what has no end, too. */
static void slot_live_own(struct slot *s, bool all)
{
    const char *end = s->line.len ? memrchr(s->line.data, '\n', s->line.len) : NULL;
    size_t n = end ? (size_t)(end - s->line.data) + 1 : 0;

    if (all || (!n && s->line.len >= LIVE_LINE_MAX))
        n = s->line.len;
    if (n)
        s->on_live(s, NULL, PV_LIVE_STDOUT, s->line.data, n);
    pv_buf_consume(&s->line, n);
}

static void on_slot_message(struct pv_child *c, const unsigned char *msg, size_t n)
{
    struct slot *s = PV_CONTAINER_OF(c, struct slot, child);
    struct pv_event ev;

    if (s->fault)
        return;
    if (!pv_event_decode(&ev, msg, n))
        slot_fail(s, "sent an invalid event");
    else if (ev.type == PV_EV_NOTICE)
        slot_notice(s, &ev);
    else if (ev.type == PV_EV_LIVE)
        slot_live(s, &ev);
    else if (ev.type == PV_EV_SAVING)
        slot_on_saving(s, ev.ok);
    else
        pv_report_event(s->report, &ev);
}

static void on_slot_output(struct pv_child *c, const char *data, size_t n)
{
    struct slot *s = PV_CONTAINER_OF(c, struct slot, child);

    pv_report_output(s->report, data, n);
    if (!s->live)
        return;
    pv_buf_add(&s->line, data, n);
    slot_live_own(s, false);
}

static void on_slot_exit(struct pv_child *c, int status)
{
    struct slot *s = PV_CONTAINER_OF(c, struct slot, child);

    pv_timer_cancel(s->loop, &s->timer);
    slot_live_own(s, true);
    s->report->duration_ns = pv_now() - s->started;
    if (s->time_left >= 0)
        s->report->waited_ns += pv_now() - s->paused;
    slot_judge(s, status);
    if (s->want_steps)
        pv_report_load_consoles(s->report,
                                pv_report_failed(s->report) ? PV_CONSOLE_FAILED_MAX : PV_CONSOLE_PASSED_MAX);
    slot_settle_logs(s);
    pv_buf_free(&s->line);
    free(s->log_dir);
    free(s->doing);
    free(s->fault);
    s->log_dir = s->doing = s->fault = NULL;
    slot_set_state(s, SLOT_FREE);
    s->on_end(s);
}

static const struct pv_child_ops slot_child_ops = {
    .message = on_slot_message, .output = on_slot_output, .exit = on_slot_exit};

static void on_slot_timer(struct pv_timer *t)
{
    struct slot *s = PV_CONTAINER_OF(t, struct slot, timer);

    if (s->state == SLOT_RUNNING) {
        struct pv_buf doing = {0};

        pv_child_drain(&s->child, EVENTS_AT_ONCE);
        s->timed_out = true;
        slot_add_doing(&doing, s->report);
        pv_status_vms(&doing, s->report, pv_now(), pv_tail_of_log);
        s->doing = doing.data; /* handed over */
        slot_stop(s);
    } else {
        slot_kill(s);
    }
}

void slot_init(struct slot *s, struct pv_loop *loop, const struct pv_rundir *dir)
{
    *s = (struct slot){.loop = loop, .dir = dir, .child = PV_CHILD_INIT, .timer = {.fn = on_slot_timer}};
}

/* RUN/001-NAME in characters that need no quoting; RUN/001-NAME-try2 for later attempts. */
static char *slot_make_log_dir(const struct slot *s, const struct slot_file *f, struct pv_err *err)
{
    const char *name = pv_path_basename(f->file->name);
    size_t len = strlen(name), base = strlen(s->dir->path);
    size_t stem = len > 4 && !strcmp(name + len - 4, ".lua") ? len - 4 : len, shown = stem < 100 ? stem : 100;
    cleanup_free char *again = f->attempt > 1 ? pv_xasprintf("-try%u", f->attempt) : pv_xstrdup("");
    char *dir = pv_xasprintf("%s/%03u-%.*s%s", s->dir->path, f->number, (int)shown, name, again);

    pv_child_plain_name(dir + base + 1);
    if (mkdir(dir, 0700) == 0)
        return dir;
    pv_err_sys(err, errno, "cannot make directory '%s'", dir);
    free(dir);
    return NULL;
}

int slot_start(struct slot *s, const struct slot_file *f, const struct pv_run_opts *o, struct pv_err *err)
{
    int fds[] = {s->dir->fd, f->lease, STDIN_FILENO, o->debug_out};
    struct slot_job job = {.file = f->file, .run = o, .want_steps = pv_outputs_want_steps(&o->reports)};
    const struct pv_child_opts child = {.ops = &slot_child_ops,
                                        .main = slot_child_main,
                                        .arg = &job,
                                        .fds = fds,
                                        .n_fds = o->debug_out ? 4 : 2,
                                        .capture = true,
                                        .own_group = true,
                                        .on_term = on_child_term};

    s->report = f->report;
    s->timed_out = false;
    s->n_notices = 0;
    s->timeout_ns = o->timeout_ns;
    s->time_left = -1;
    s->saving = 0;
    s->save_left = SAVE_TIME;
    s->want_steps = job.want_steps;
    s->live = o->live;
    job.log_dir = s->log_dir = slot_make_log_dir(s, f, err);
    if (!s->log_dir)
        return -1;
    orphan.supervisor = getpid();
    orphan.dir = *s->dir;
    orphan.dir.fd = CHILD_DIR;
    s->started = pv_now();
    f->report->begin_ns = s->started - f->report->base_ns;
    if (pv_child_start(&s->child, s->loop, &child, err) < 0) {
        pv_rm_rf(s->log_dir);
        free(s->log_dir);
        s->log_dir = NULL;
        return pv_err_wrap(err, "cannot run '%s'", f->file->name);
    }
    pv_timer_arm(s->loop, &s->timer, pv_deadline(s->timeout_ns));
    f->report->ran = true;
    slot_set_state(s, SLOT_RUNNING);
    return 0;
}

void slot_stop(struct slot *s)
{
    if (s->state != SLOT_RUNNING)
        return;
    slot_set_state(s, SLOT_STOPPING);
    pv_child_term(&s->child);
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

void slot_hold(struct slot *s, bool on)
{
    if (s->state != SLOT_FREE)
        pv_child_hold(&s->child, on);
}

pid_t slot_pid(const struct slot *s)
{
    return s->child.pid;
}

void slot_kill(struct slot *s)
{
    if (s->state == SLOT_FREE)
        return;
    pv_timer_cancel(s->loop, &s->timer);
    slot_set_state(s, SLOT_KILLED);
    pv_child_kill(&s->child);
}

void slot_fail(struct slot *s, const char *fault)
{
    if (s->state == SLOT_FREE || s->fault)
        return;
    s->fault = pv_xstrdup(fault);
    slot_kill(s);
}
