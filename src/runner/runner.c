/* SPDX-License-Identifier: MIT */
#include "runner/runner.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "loop/loop.h"
#include "runner/history.h"
#include "terminal/live.h"
#include "terminal/livetext.h"
#include "loop/out.h"
#include "report/report.h"
#include "report/outputs.h"
#include "runner/rundir.h"
#include "runner/sched.h"
#include "util/text.h"
#include "util/cachedir.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"

/* Of different notes of all files, and of one's bytes: a test file may send any number. */
enum { MAX_NOTICES = 64, MAX_NOTICE = 1024 };

enum { UNWRITTEN_MAX = 1 << 20 }; /* bytes of the output: with --live, files wait while there are more */

struct runner {
    const struct pv_test_list *files;
    const struct pv_run_opts *o;
    struct pv_loop *loop;
    struct pv_rundir dir;
    struct sched *sched;
    struct pv_file_report *reports; /* the scheduler's */
    size_t n;
    struct pv_out out;
    struct pv_live *live;
    struct pv_outputs *outputs; /* reports for machines and browsers; NULL: none */
    int64_t started;
    struct pv_watch signals;
    int sigfd;
    sigset_t old_mask;
    int stop_signal; /* that stopped the run; 0: none */
    struct pv_strv notices;
    bool failed; /* the run itself: *err is set */
    struct pv_err *err;
};

static bool run_was_stopped(const struct runner *r)
{
    return r->stop_signal || r->failed;
}

static void on_run_notice(const char *text, size_t n, void *arg)
{
    struct runner *r = arg;
    cleanup_buf struct pv_buf line = {0};

    if (r->notices.n > MAX_NOTICES)
        return;
    pv_text_clean(&line, text, n < MAX_NOTICE ? n : MAX_NOTICE, NULL);
    if (!line.data)
        return;
    for (size_t i = 0; i < r->notices.n; i++)
        if (!strcmp(r->notices.v[i], line.data))
            return;
    if (r->notices.n == MAX_NOTICES) {
        pv_buf_free(&line);
        pv_buf_addf(&line, "more than %d notes: further ones are not shown", MAX_NOTICES);
    }
    pv_strv_add(&r->notices, line.data);
    pv_buf_free(&line);
    pv_buf_addf(&line, "  note: %s\n", r->notices.v[r->notices.n - 1]);
    pv_live_put(r->live, &line);
}

/* The notes of the caller, before the first file. */
static void run_show_notes(struct runner *r)
{
    struct pv_buf text = {0};

    for (size_t i = 0; r->o->notes && i < r->o->notes->n; i++) {
        pv_buf_adds(&text, "  note: ");
        pv_text_clean(&text, r->o->notes->v[i], strlen(r->o->notes->v[i]), NULL);
        pv_buf_addc(&text, '\n');
    }
    pv_live_put(r->live, &text);
}

/* Saves the history; a failure to do so is a note, not a failure of the run. */
static void run_save_history(struct runner *r)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_buf text = {0};

    if (!r->o->history || pv_history_save(r->o->history, &err) == 0)
        return;
    pv_buf_adds(&text, "  note: how long files took and which failed is not kept: ");
    pv_text_clean(&text, err.text, strlen(err.text), NULL);
    pv_buf_addc(&text, '\n');
    pv_live_put(r->live, &text);
}

static void on_file_begin(struct pv_file_report *f, int64_t expected_ns, void *arg)
{
    struct runner *r = arg;

    pv_live_begin(r->live, f, expected_ns);
    if (r->outputs)
        pv_outputs_begin(r->outputs, f);
}

static void file_say_slow(struct pv_buf *out, const struct runner *r, const struct pv_file_report *f)
{
    int64_t took = f->duration_ns - f->waited_ns;

    if (!r->o->slow_ns || took <= r->o->slow_ns)
        return;
    pv_buf_adds(out, "  slow: ");
    pv_text_clean(out, f->name, strlen(f->name), NULL);
    pv_buf_addf(out, " took %.1f s, longer than %g s (--slow)\n", (double)took / PV_NSEC_PER_SEC,
                (double)r->o->slow_ns / PV_NSEC_PER_SEC);
}

static void on_file_end(struct pv_file_report *f, bool last, void *arg)
{
    struct runner *r = arg;
    struct pv_buf text = {0};

    pv_live_end(r->live, f, last);
    if (!last)
        return;
    pv_format_file(&text, f, &r->o->style);
    file_say_slow(&text, r, f);
    pv_live_put(r->live, &text);
    if (r->outputs)
        pv_outputs_file(r->outputs, f);
    if (r->o->ended)
        r->o->ended(f, r->o->arg);
    pv_report_shed(f); /* was written; the details of thousands of files would add up */
}

static void on_file_live(const struct pv_file_report *f, const char *vm, enum pv_live_kind kind,
                         const char *data, size_t n, void *arg)
{
    struct runner *r = arg;
    struct pv_livetext t = {
        .file = r->n > 1 || !vm ? f->name : NULL, .vm = vm, .kind = kind, .color = r->o->style.color};
    struct pv_buf text = {0};

    pv_livetext_add(&text, &t, data, n);
    pv_live_put(r->live, &text);
    if (r->out.queue.len > UNWRITTEN_MAX)
        sched_hold(r->sched, true);
}

static void on_run_out_empty(struct pv_out *o)
{
    sched_hold(PV_CONTAINER_OF(o, struct runner, out)->sched, false);
}

static void on_run_failed(const struct pv_err *err, void *arg)
{
    struct runner *r = arg;

    if (!r->failed)
        *r->err = *err;
    r->failed = true;
}

static void on_stop_signal(struct pv_watch *w, uint32_t events)
{
    struct runner *r = PV_CONTAINER_OF(w, struct runner, signals);
    struct signalfd_siginfo si;

    (void)events;
    if (read(r->sigfd, &si, sizeof(si)) != sizeof(si))
        return;
    if (r->stop_signal) { /* the second signal kills */
        sched_kill(r->sched);
        return;
    }
    r->stop_signal = (int)si.ssi_signo;
    pv_live_stopping(r->live);
    sched_stop(r->sched);
}

static void on_run_out_error(struct pv_out *o)
{
    struct runner *r = PV_CONTAINER_OF(o, struct runner, out);

    if (!r->failed)
        pv_err_sys(r->err, o->error, "cannot write the report to standard %s",
                   r->out.fd == STDOUT_FILENO ? "output" : "error");
    r->failed = true;
    sched_stop(r->sched);
}

static bool run_all_ended(void *arg)
{
    return sched_done(((const struct runner *)arg)->sched);
}

static bool run_out_done(void *arg)
{
    return pv_out_done(&((struct runner *)arg)->out);
}

static int run_watch_signals(struct runner *r, struct pv_err *err)
{
    struct sigaction sa;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    /* Under nohup SIGHUP is ignored and stays so; a signalfd would read it nevertheless. */
    if (sigaction(SIGHUP, NULL, &sa) < 0 || sa.sa_handler != SIG_IGN)
        sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, &r->old_mask);
    r->sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (r->sigfd < 0)
        return pv_err_sys(err, errno, "cannot make a signalfd");
    r->signals.fn = on_stop_signal;
    return pv_loop_add(r->loop, &r->signals, r->sigfd, EPOLLIN, err);
}

static int run_set_up(struct runner *r, struct pv_err *err)
{
    r->loop = pv_loop_new(err);
    if (!r->loop || run_watch_signals(r, err) < 0 || pv_rundir_open(&r->dir, err) < 0)
        return -1;
    if (r->o->own_cache) {
        cleanup_free char *cache = pv_path_join(r->dir.path, PV_RUNDIR_CACHE);

        pv_cachedir_use(cache);
    }
    pv_out_init(&r->out, r->loop, pv_outputs_take_stdout(&r->o->reports) ? STDERR_FILENO : STDOUT_FILENO);
    r->out.on_error = on_run_out_error;
    r->sched = sched_new(&(struct sched_opts){.run = r->o,
                                              .files = r->files,
                                              .loop = r->loop,
                                              .dir = &r->dir,
                                              .base_ns = r->started,
                                              .begin = on_file_begin,
                                              .end = on_file_end,
                                              .notice = on_run_notice,
                                              .live = on_file_live,
                                              .failed = on_run_failed,
                                              .arg = r});
    if (r->o->live)
        r->out.on_empty = on_run_out_empty;
    r->reports = sched_reports(r->sched, &r->n);
    r->live = pv_live_new(r->loop, &r->out,
                          &(struct pv_live_opts){r->o->terminal, sched_jobs(r->sched), r->o->style}, err);
    if (!r->live)
        return -1;
    for (size_t i = 0; i < r->n; i++)
        pv_live_expect(r->live, sched_expected(r->sched, i));
    return 0;
}

/* Waits for a stalled reader without limit, unless the run was stopped. */
static void run_flush_out(struct runner *r)
{
    while (!run_out_done(r) &&
           pv_loop_run(r->loop, run_out_done, r, pv_deadline(PV_NSEC_PER_SEC / 5), NULL) == 1 &&
           !r->stop_signal)
        ;
}

static const char *run_stopped_by(const struct runner *r)
{
    if (!r->stop_signal)
        return NULL;
    return r->stop_signal == SIGINT ? "SIGINT" : r->stop_signal == SIGTERM ? "SIGTERM" : "SIGHUP";
}

static int run_files(struct runner *r, struct pv_err *err)
{
    struct pv_buf text = {0};

    pv_buf_addf(&text, "%s\n\n", r->o->title ? r->o->title : "provium test");
    pv_live_put(r->live, &text);
    run_show_notes(r);
    sched_start(r->sched);
    /* Every file has a deadline, and so has every wait for the pool. */
    if (pv_loop_run(r->loop, run_all_ended, r, PV_FOREVER, err) < 0)
        return -1;
    if (r->failed)
        return -1;
    pv_live_finish(r->live);
    run_save_history(r);
    pv_buf_addc(&text, '\n');
    if (r->o->durations)
        pv_format_durations(&text, r->reports, r->n, r->o->durations);
    pv_format_summary(&text, r->reports, r->n, run_stopped_by(r), &r->o->style);
    pv_live_put(r->live, &text);
    run_flush_out(r);
    if (r->failed)
        return -1;
    if (r->stop_signal)
        return 128 + r->stop_signal;
    for (size_t i = 0; i < r->n; i++)
        if (pv_report_failed(&r->reports[i]) || (r->reports[i].flaky && r->o->style.fail_on_flaky))
            return 1;
    return 0;
}

static int run_with_outputs(struct runner *r, struct pv_err *err)
{
    const struct pv_output_opts *w = &r->o->reports;
    struct pv_err report_err = PV_ERR_INIT;
    int rc;

    if (w->json || w->junit || w->html || w->tap) {
        r->outputs = pv_outputs_open(w, r->o->info, r->loop, err);
        if (!r->outputs)
            return -1;
    }
    rc = run_files(r, err);
    if (!r->outputs)
        return rc;
    for (size_t i = 0; i < r->n; i++)
        if (!r->reports[i].ran)
            pv_outputs_file(r->outputs, &r->reports[i]);
    if (pv_outputs_end(r->outputs, rc < 0 ? 2 : rc, run_stopped_by(r), &report_err) == 0 || rc < 0)
        return rc;
    *err = report_err;
    return -1;
}

static bool run_kept_logs(const struct runner *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct pv_file_report *f = &r->reports[i];

        if (pv_report_failed(f) && f->n_logs)
            return true;
        for (size_t k = 0; k < f->n_attempts; k++)
            if (f->attempts[k].log)
                return true;
    }
    return false;
}

static void run_tear_down(struct runner *r)
{
    if (r->sched)
        sched_kill(r->sched);
    if (r->sched && sched_running(r->sched))
        pv_loop_run(r->loop, run_all_ended, r, pv_deadline(2 * PV_NSEC_PER_SEC), NULL);
    pv_rundir_close(&r->dir, !run_was_stopped(r) && run_kept_logs(r));
    pv_outputs_free(r->outputs);
    pv_live_free(r->live);
    if (r->out.loop)
        pv_out_fini(&r->out);
    if (r->loop)
        pv_loop_del(r->loop, &r->signals);
    pv_close(&r->sigfd);
    sigprocmask(SIG_SETMASK, &r->old_mask, NULL);
    sched_free(r->sched);
    pv_loop_free(r->loop);
    pv_strv_free(&r->notices);
}

int pv_runner_run(const struct pv_test_list *files, const struct pv_run_opts *o, struct pv_err *err)
{
    struct runner r = {.files = files,
                       .o = o,
                       .dir = PV_RUNDIR_INIT,
                       .signals = {.fd = -1},
                       .sigfd = -1,
                       .started = pv_now(),
                       .err = err};
    int rc;

    sigprocmask(SIG_BLOCK, NULL, &r.old_mask);
    rc = run_set_up(&r, err) < 0 ? -1 : run_with_outputs(&r, err);
    run_tear_down(&r);
    return rc;
}
