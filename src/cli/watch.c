/* SPDX-License-Identifier: MIT */
/*
 * The rounds of --watch.  This process selects files, waits for changes, and has the terminal's keys; a round is a
 * child that does the work of `provium test` with the files that are due, and sends the paths that they read:
 *
 *     message    struct round_msg, then a path
 *       READY    the round takes SIGUSR1
 *       FILE     a file's run has ended; its paths follow
 *       INPUT    kind, stamp, path
 *       DONE     passed
 */
#include "cli/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child/child.h"
#include "cli/cli.h"
#include "cli/test-opts.h"
#include "cli/test-run.h"
#include "cli/watch-set.h"
#include "loop/loop.h"
#include "report/report.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"
#include "util/rawtty.h"
#include "util/sock.h"

#define GATHER (PV_NSEC_PER_SEC / 10) /* without a further change, before the set is looked at */
#define GATHER_MAX PV_NSEC_PER_SEC
#define POLL (2 * PV_NSEC_PER_SEC) /* between looks when directories cannot be watched */

enum { NAMES_SHOWN = 3 };

enum round_msg_type { ROUND_READY, ROUND_FILE, ROUND_INPUT, ROUND_DONE };

struct round_msg {
    enum round_msg_type type;
    enum pv_input_kind kind;
    bool passed;
    uint64_t stamp;
};

/* reason: the loop's watches, and the state of waiting and of the round, which callbacks share */
struct watch {
    const struct pv_test_cmd *c;
    struct pv_loop *loop;
    struct pv_watchset *set;
    struct pv_child child;
    bool running, ready;
    int rc; /* of the last round */
    struct pv_watch events, signals, keys;
    struct pv_timer gather;
    int64_t gather_since; /* the first change that was not looked at yet; 0: none */
    bool look, all, quit;
    int sigfd, stop_signal;
    bool has_run;
    struct pv_buf title; /* of the next round */
    char *last_error;    /* of a selection; shown once */
};

/* ---- in the round's process ---- */

struct round_job {
    const struct watch *w;
    const struct pv_test_plan *plan;
    const char *title;
};

static void round_send(struct round_msg m, const char *path)
{
    char buf[sizeof(m) + PATH_MAX];
    size_t n = path ? strnlen(path, PATH_MAX) : 0;

    memcpy(buf, &m, sizeof(m));
    memcpy(buf + sizeof(m), path ? path : "", n);
    pv_send(PV_CHILD_SOCK, buf, sizeof(m) + n, 0);
}

static void round_file_ended(const struct pv_file_report *f, void *arg)
{
    (void)arg;
    if (f->interrupted || !f->path)
        return;
    round_send((struct round_msg){.type = ROUND_FILE}, f->path);
    for (size_t i = 0; i < f->n_inputs; i++)
        round_send(
            (struct round_msg){.type = ROUND_INPUT, .kind = f->inputs[i].kind, .stamp = f->inputs[i].stamp},
            f->inputs[i].path);
    round_send((struct round_msg){.type = ROUND_DONE, .passed = !pv_report_failed(f)}, NULL);
}

/* Until the run takes signals itself. */
static void on_round_term(int sig)
{
    _exit(128 + sig);
}

static void round_main(void *arg)
{
    const struct round_job *job = arg;
    struct pv_test_round round = {.title = job->title, .ended = round_file_ended};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct pv_err err = PV_ERR_INIT;
    sigset_t set;
    int rc;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    round_send((struct round_msg){.type = ROUND_READY}, NULL);
    if (null >= 0) /* the keys are the watching process's */
        dup2(null, STDIN_FILENO);
    rc = pv_test_plan_run(job->plan, job->w->c, &round, &err);
    fflush(NULL);
    _exit(rc < 0 ? pv_cli_error(&err) : rc);
}

/* ---- the round, seen from here ---- */

static bool watch_is_ending(const struct watch *w)
{
    return w->quit || w->stop_signal;
}

static void on_round_message(struct pv_child *child, const unsigned char *msg, size_t n)
{
    struct watch *w = PV_CONTAINER_OF(child, struct watch, child);
    cleanup_free char *path = NULL;
    struct round_msg m;

    if (n < sizeof(m))
        return;
    memcpy(&m, msg, sizeof(m));
    path = pv_xstrndup((const char *)msg + sizeof(m), n - sizeof(m));
    switch (m.type) {
    case ROUND_READY:
        w->ready = true;
        break;
    case ROUND_FILE:
        pv_watchset_ran(w->set, path);
        break;
    case ROUND_INPUT:
        pv_watchset_input(w->set, m.kind, path, m.stamp);
        break;
    case ROUND_DONE:
        pv_watchset_done(w->set, m.passed);
        break;
    }
}

static void on_round_exit(struct pv_child *child, int status)
{
    struct watch *w = PV_CONTAINER_OF(child, struct watch, child);

    w->running = w->ready = false;
    if (!w->quit)
        w->rc = WIFEXITED(status) ? WEXITSTATUS(status) : PV_EXIT_ERROR;
    if (WIFSIGNALED(status) && !watch_is_ending(w))
        fprintf(stderr, "provium: the process of this round was ended by signal %d\n", WTERMSIG(status));
}

static const struct pv_child_ops round_ops = {.message = on_round_message, .exit = on_round_exit};

/* ---- keys and signals ---- */

static bool watch_has_keys(const struct watch *w)
{
    return w->keys.fd >= 0;
}

/* A process in the background must not touch its terminal. */
static void watch_take_keys(struct watch *w)
{
    if (watch_has_keys(w)) {
        pv_loop_del(w->loop, &w->keys);
        pv_rawtty_leave();
    }
    if (isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp() &&
        pv_rawtty_keys(STDIN_FILENO, NULL) == 0)
        pv_loop_add(w->loop, &w->keys, STDIN_FILENO, EPOLLIN, NULL);
}

static void round_show_status(struct watch *w)
{
    if (w->ready)
        kill(w->child.pid, SIGUSR1);
}

static void watch_quit(struct watch *w)
{
    w->quit = true;
    pv_child_term(&w->child);
}

static void on_watch_keys(struct pv_watch *watch, uint32_t events)
{
    struct watch *w = PV_CONTAINER_OF(watch, struct watch, keys);
    char keys[64];
    ssize_t n = -1;

    (void)events;
    if (tcgetpgrp(STDIN_FILENO) == getpgrp())
        n = read(STDIN_FILENO, keys, sizeof(keys));
    if (n <= 0) { /* in the background until SIGCONT, or the terminal is gone */
        pv_loop_del(w->loop, &w->keys);
        return;
    }
    for (ssize_t i = 0; i < n; i++)
        if (keys[i] == 'q' || keys[i] == 'Q' || keys[i] == 4) /* Ctrl-D */
            watch_quit(w);
        else if (keys[i] == '\n' && w->running)
            round_show_status(w);
        else if (keys[i] == '\n')
            w->all = true;
}

/* A signal of the terminal goes to the round, too; one of kill(2) comes here alone. */
static void watch_stop(struct watch *w, const struct signalfd_siginfo *si)
{
    w->stop_signal = (int)si->ssi_signo;
    if (w->running && si->ssi_code != SI_KERNEL)
        kill(w->child.pid, w->stop_signal);
}

static void on_watch_signal(struct pv_watch *watch, uint32_t events)
{
    struct watch *w = PV_CONTAINER_OF(watch, struct watch, signals);
    struct signalfd_siginfo si;

    (void)events;
    if (read(w->sigfd, &si, sizeof(si)) != sizeof(si))
        return;
    if (si.ssi_signo == SIGUSR1)
        round_show_status(w);
    else if (si.ssi_signo == SIGCONT)
        watch_take_keys(w);
    else
        watch_stop(w, &si);
}

static int watch_signals(struct watch *w, struct pv_err *err)
{
    static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCONT};
    struct sigaction sa;
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < PV_ARRAY_LEN(taken); i++)
        if (taken[i] != SIGHUP || (sigaction(SIGHUP, NULL, &sa) == 0 && sa.sa_handler != SIG_IGN))
            sigaddset(&set, taken[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    w->sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (w->sigfd < 0)
        return pv_err_sys(err, errno, "cannot make a signalfd");
    return pv_loop_add(w->loop, &w->signals, w->sigfd, EPOLLIN, err);
}

/* ---- changes ---- */

static void on_gathered(struct pv_timer *t)
{
    PV_CONTAINER_OF(t, struct watch, gather)->look = true;
}

/* While a round runs, events wait in the descriptor. */
static void on_watch_events(struct pv_watch *watch, uint32_t events)
{
    struct watch *w = PV_CONTAINER_OF(watch, struct watch, events);
    int64_t now = pv_now(), due = now + GATHER;
    char buf[16384];

    (void)events;
    while (read(w->events.fd, buf, sizeof(buf)) > 0)
        ;
    if (!w->gather_since)
        w->gather_since = now;
    if (due > w->gather_since + GATHER_MAX)
        due = w->gather_since + GATHER_MAX;
    pv_timer_arm(w->loop, &w->gather, due);
}

static void names_add(struct pv_buf *out, const char *const *v, size_t n)
{
    for (size_t i = 0; i < n && i < NAMES_SHOWN; i++)
        pv_buf_addf(out, "%s%s", i ? ", " : "", v[i]);
    if (n > NAMES_SHOWN)
        pv_buf_addf(out, " and %zu more", n - NAMES_SHOWN);
}

/* Looks for changes: a title of the next round when there are some. */
static void watch_look(struct watch *w, bool after_round)
{
    cleanup_strv struct pv_strv changed = {0}, notes = {0};

    w->look = false;
    w->gather_since = 0;
    pv_watchset_look(w->set, after_round, &changed, &notes);
    for (size_t i = 0; i < notes.n; i++)
        printf("note: %s\n", notes.v[i]);
    if (!changed.n)
        return;
    pv_buf_free(&w->title);
    names_add(&w->title, (const char *const *)changed.v, changed.n);
    pv_buf_adds(&w->title, " changed");
}

/* ---- selection ---- */

/* False: it is shown already. */
static bool watch_show_error(struct watch *w, const struct pv_err *err)
{
    if (w->last_error && !strcmp(w->last_error, err->text))
        return false;
    free(w->last_error);
    w->last_error = pv_xstrdup(err->text);
    pv_cli_error(err);
    return true;
}

/* Every provium.toml that is there, or would be found first if it came. */
static void watch_config(struct watch *w)
{
    cleanup_free char *dir = getcwd(NULL, 0);

    if (w->c->config) {
        pv_watchset_common(w->set, w->c->config);
        return;
    }
    while (dir) {
        cleanup_free char *path = pv_path_join(dir, "provium.toml");
        char *up = pv_path_dirname(dir);

        pv_watchset_common(w->set, path);
        if (access(path, F_OK) == 0 || !strcmp(dir, up)) {
            free(up);
            return;
        }
        free(dir);
        dir = up;
    }
}

/* Watches the directories of the command line for files that come. */
static void watch_dirs(struct watch *w)
{
    const struct pv_strv *paths = &w->c->select.paths;
    struct stat st;

    for (size_t i = 0; i < paths->n; i++)
        if (stat(paths->v[i], &st) == 0 && S_ISDIR(st.st_mode))
            pv_watchset_dir(w->set, paths->v[i]);
}

/* Brings the set's files up to the selection. */
static void watch_update_files(struct watch *w, const struct pv_test_list *files)
{
    cleanup_free const char **paths = pv_xcalloc(files->n + 1, sizeof(*paths));
    cleanup_strv struct pv_strv gone = {0};
    size_t before = 0, inputs;

    for (size_t i = 0; i < files->n; i++)
        paths[i] = files->v[i].path;
    pv_watchset_keep(w->set, paths, files->n, &gone);
    for (size_t i = 0; i < gone.n; i++)
        printf("%s is gone\n", gone.v[i]);
    before = pv_watchset_count(w->set, &inputs);
    for (size_t i = 0; i < files->n; i++)
        pv_watchset_add(w->set, files->v[i].path);
    if (w->has_run && !w->title.len && pv_watchset_count(w->set, &inputs) > before)
        pv_buf_adds(&w->title, "new");
}

/* Selects files; 0, or -1 with *err. */
static int watch_select(struct watch *w, struct pv_test_plan *plan, struct pv_err *err)
{
    watch_dirs(w); /* before they are read */
    if (pv_test_plan_open(plan, w->c, err) < 0)
        return -1;
    free(pv_steal(&w->last_error));
    watch_update_files(w, &plan->selected.files);
    return 0;
}

/* ---- rounds ---- */

/* Leaves the files that are due in the plan, and completes the title. */
static void round_choose(struct watch *w, struct pv_test_plan *plan)
{
    struct pv_test_list *files = &plan->selected.files;
    cleanup_free const char **names = pv_xcalloc(files->n + 1, sizeof(*names));
    size_t all = files->n, kept = 0;

    for (size_t i = 0; i < files->n; i++)
        if (pv_watchset_is_due(w->set, files->v[i].path)) {
            names[kept] = files->v[i].name;
            files->v[kept++] = files->v[i];
        } else {
            pv_test_file_fini(&files->v[i]);
        }
    files->n = kept;
    if (!w->has_run)
        return;
    pv_buf_adds(&w->title, w->title.len ? ": running " : "running ");
    if (kept == all && all > 1)
        pv_buf_addf(&w->title, "all %zu files", all);
    else
        names_add(&w->title, names, kept);
}

static bool round_is_over(void *arg)
{
    return !((const struct watch *)arg)->running;
}

static int round_run(struct watch *w, struct pv_test_plan *plan, struct pv_err *err)
{
    struct round_job job = {.w = w, .plan = plan};

    round_choose(w, plan);
    if (w->has_run && pv_test_is_terminal(STDOUT_FILENO))
        fputs("\033[H\033[2J", stdout);
    job.title = w->has_run ? w->title.data : NULL;
    pv_watchset_begin(w->set);
    w->running = true;
    if (pv_child_start(&w->child, w->loop,
                       &(struct pv_child_opts){
                           .ops = &round_ops, .main = round_main, .arg = &job, .on_term = on_round_term},
                       err) < 0) {
        w->running = false;
        return -1;
    }
    pv_loop_set(w->loop, &w->events, 0);
    if (pv_loop_run(w->loop, round_is_over, w, PV_FOREVER, err) < 0)
        return -1;
    pv_loop_set(w->loop, &w->events, EPOLLIN);
    w->has_run = true;
    w->all = false;
    pv_buf_free(&w->title);
    watch_look(w, true);
    return 0;
}

/* ---- waiting ---- */

static bool watch_has_work(void *arg)
{
    const struct watch *w = arg;

    return watch_is_ending(w) || w->look || w->all;
}

static void watch_say_waiting(const struct watch *w)
{
    size_t inputs, files = pv_watchset_count(w->set, &inputs);

    printf("\nwatching %zu file%s, %zu path%s; %s\n", files,
           files == 1 ? " and what it read" : "s and what they read", inputs, inputs == 1 ? "" : "s",
           watch_has_keys(w) ? "Enter runs all, q quits" : "Ctrl-C ends");
    if (!pv_watchset_sees_all(w->set))
        printf("note: not all directories can be watched, so they are compared every 2 s (raise "
               "fs.inotify.max_user_watches)\n");
    fflush(stdout);
}

/* Waits until something is to be looked at, or a key or signal came. */
static int watch_wait(struct watch *w, struct pv_err *err)
{
    int64_t deadline = pv_watchset_sees_all(w->set) ? PV_FOREVER : pv_deadline(POLL);
    int r = pv_loop_run(w->loop, watch_has_work, w, deadline, err);

    if (r < 0)
        return -1;
    if (!watch_is_ending(w) && !w->all)
        watch_look(w, false);
    return 0;
}

/* Selects, and runs what is due; -1 with *err: not even selected.  *ran: there was a round. */
static int watch_step(struct watch *w, bool *ran, struct pv_err *err)
{
    struct pv_test_plan plan = {0};
    int rc = watch_select(w, &plan, err);

    if (rc == 0) {
        if (w->all) {
            pv_buf_free(&w->title);
            pv_watchset_all_due(w->set);
        }
        *ran = pv_watchset_count_due(w->set) > 0;
        if (*ran)
            rc = round_run(w, &plan, err);
        else
            pv_buf_free(&w->title);
        w->all = false;
    }
    pv_test_plan_close(&plan);
    return rc;
}

static int watch_rounds(struct watch *w, struct pv_err *err)
{
    while (!watch_is_ending(w)) {
        struct pv_err step_err = PV_ERR_INIT;
        bool ran = false, shown = false;

        if (watch_step(w, &ran, &step_err) < 0) {
            if (!w->has_run) {
                *err = step_err;
                return -1;
            }
            w->all = false;
            shown = watch_show_error(w, &step_err);
        }
        if (ran && pv_watchset_count_due(w->set))
            continue;
        if (ran || shown)
            watch_say_waiting(w);
        if (!watch_is_ending(w) && watch_wait(w, err) < 0)
            return -1;
    }
    return w->stop_signal ? 128 + w->stop_signal : w->rc;
}

int pv_watch_run(const struct pv_test_cmd *c, struct pv_err *err)
{
    struct watch w = {.c = c,
                      .child = PV_CHILD_INIT,
                      .events = {.fd = -1, .fn = on_watch_events},
                      .signals = {.fd = -1, .fn = on_watch_signal},
                      .keys = {.fd = -1, .fn = on_watch_keys},
                      .gather = {.fn = on_gathered},
                      .sigfd = -1};
    int rc = -1;

    setvbuf(stdout, NULL, _IOLBF, 0);
    w.loop = pv_loop_new(err);
    w.set = w.loop ? pv_watchset_new(err) : NULL;
    if (w.set && watch_signals(&w, err) == 0 &&
        pv_loop_add(w.loop, &w.events, pv_watchset_fd(w.set), EPOLLIN, err) == 0) {
        watch_config(&w);
        watch_take_keys(&w);
        rc = watch_rounds(&w, err);
    }
    if (w.loop) {
        pv_child_end(&w.child);
        pv_timer_cancel(w.loop, &w.gather);
        pv_loop_del(w.loop, &w.events);
        pv_loop_del(w.loop, &w.keys);
        pv_loop_del(w.loop, &w.signals);
    }
    pv_rawtty_leave();
    pv_close(&w.sigfd);
    pv_watchset_free(w.set);
    pv_loop_free(w.loop);
    pv_buf_free(&w.title);
    free(w.last_error);
    return rc;
}
