/* SPDX-License-Identifier: MIT */
/*
 * Background jobs.  A keeper (keeper.c) watches over each and writes what it says to two files without a
 * name; here is only who they are.  The end of the session closes the line to each keeper, which kills.
 */
#include "agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/util.h"

enum { START_MS = 20000 };

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void ag_job_close(struct ag_job *j)
{
    close_fd(&j->ctl);
    close_fd(&j->out[0]);
    close_fd(&j->out[1]);
    j->id = 0;
}

/* ---- start ---- */

/* A free place; the one that has been asked for longest ago makes room, if it is over and that was told. */
static struct ag_job *find_place(struct ag_session *s)
{
    struct ag_job *old = NULL;

    for (size_t i = 0; i < AG_JOBS_MAX; i++) {
        struct ag_job *j = &s->jobs[i];

        if (!j->id)
            return j;
        if (j->told && (!old || j->id < old->id))
            old = j;
    }
    if (old)
        ag_job_close(old);
    return old;
}

static int open_sink(void)
{
    static const char *const dirs[] = {"/tmp", "/dev/shm", "/run", "/"};
    int fd = memfd_create("provium-job", MFD_CLOEXEC);

    for (size_t i = 0; fd < 0 && i < sizeof(dirs) / sizeof(dirs[0]); i++)
        fd = open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd;
}

static int make_pipe(int *read_end, int *write_end)
{
    int p[2];

    if (pipe2(p, O_CLOEXEC) < 0)
        return -1;
    *read_end = p[0];
    *write_end = p[1];
    return fcntl(p[0], F_SETFL, O_NONBLOCK);
}

/* Descriptors and the keeper; 0 or -1 with errno, and what was opened is still open. */
static int launch(struct ag_session *s, struct ag_job *j, struct ag_command *c)
{
    int ctl[2];

    c->stdio[0] = s->w.null_fd;
    for (int i = 0; i < 2; i++) {
        if ((c->sink[i] = j->out[i] = open_sink()) < 0 || make_pipe(&c->pump[i], &c->stdio[1 + i]) < 0)
            return -1;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ctl) < 0)
        return -1;
    j->ctl = ctl[0];
    j->keeper = ag_fork_keeper(s, false);
    if (j->keeper == 0) {
        close(ctl[0]);
        ag_keeper(ctl[1], c);
    }
    int e = errno;

    close(ctl[1]);
    errno = e;
    return j->keeper < 0 ? -1 : 0;
}

/* What the keeper says first. */
static bool first_report(struct ag_job *j, struct ag_report *r)
{
    struct pollfd p = {.fd = j->ctl, .events = POLLIN};
    int64_t due = ag_now() + (int64_t)START_MS * 1000000;

    while (poll(&p, 1, START_MS) < 0 && ag_now() < due)
        ;
    if (recv(j->ctl, r, sizeof(*r), MSG_DONTWAIT) == sizeof(*r))
        return true;
    *r = (struct ag_report){.kind = AG_FAILED, .at = AG_AT_FORK, .value = ETIMEDOUT};
    return false;
}

void ag_job_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    static const char *const doing[] = {
        [AG_AT_FORK] = "start", [AG_AT_CHDIR] = "chdir", [AG_AT_EXEC] = "exec"};
    struct ag_command c = {.argv = s->args,
                           .envp = s->envs,
                           .cwd = s->cwd,
                           .stdio = {-1, -1, -1},
                           .pump = {-1, -1},
                           .sink = {-1, -1},
                           .job = true,
                           .proc_fd = s->w.proc_fd,
                           .life_fd = s->w.life_fd,
                           .urgent = s->w.may_halt};
    struct ag_report r;

    if (!ag_take_command(s, d)) {
        ag_reply_error(s, id, EPROTO, "malformed JOB_START");
        return;
    }
    struct ag_job *j = find_place(s);

    if (!j) {
        ag_reply_error(s, id, EAGAIN, "start a job: %d are running already", AG_JOBS_MAX);
        return;
    }
    *j = (struct ag_job){.ctl = -1, .out = {-1, -1}};
    int failed = launch(s, j, &c), e = errno;

    for (int i = 0; i < 2; i++) {
        close_fd(&c.pump[i]);
        close_fd(&c.stdio[1 + i]);
    }
    if (failed) {
        ag_reply_error(s, id, e, "start '%.4000s'", s->args[0]);
    } else if (!first_report(j, &r) || r.kind != AG_STARTED) {
        ag_reply_error(s, id, r.value, "%s '%.4000s'", doing[r.at],
                       r.at == AG_AT_CHDIR ? s->cwd : s->args[0]);
        failed = 1;
    }
    if (failed) {
        ag_reap_later(s, j->keeper);
        ag_job_close(j);
        return;
    }
    j->pid = r.value;
    if (++s->last_job == 0)
        s->last_job = 1;
    j->id = s->last_job;
    struct pv_enc enc = ag_begin(s, PV_MSG_JOB, 64);

    pv_enc_u32(&enc, id);
    pv_enc_u32(&enc, j->id);
    pv_enc_u32(&enc, (uint32_t)j->pid);
    ag_end(s, &enc);
}

/* ---- wait, kill ---- */

/* Has it ended? */
static bool look(struct ag_session *s, struct ag_job *j)
{
    struct ag_report r;

    if (j->ctl < 0)
        return true;
    ssize_t n = recv(j->ctl, &r, sizeof(r), MSG_DONTWAIT);

    if (n < 0)
        return false;
    int status = n == sizeof(r) ? r.value : SIGKILL; /* the keeper was killed, and all that it kept */

    j->signal = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
    j->code = j->signal ? 128 + j->signal : (uint32_t)WEXITSTATUS(status);
    close_fd(&j->ctl);
    ag_reap_later(s, j->keeper);
    return true;
}

void ag_job_ask(struct ag_session *s, uint32_t id, struct pv_dec *d, bool kill_it)
{
    uint32_t job = pv_dec_u32(d);
    uint64_t ms = kill_it ? 0 : pv_dec_u64(d);
    struct ag_job_wait *w = &s->wait;

    if (!pv_dec_done(d)) {
        ag_reply_error(s, id, EPROTO, "malformed %s", kill_it ? "JOB_KILL" : "JOB_WAIT");
        return;
    }
    *w = (struct ag_job_wait){.due = INT64_MAX};
    for (size_t i = 0; i < AG_JOBS_MAX && job; i++)
        if (s->jobs[i].id == job)
            w->job = &s->jobs[i];
    if (!w->job) {
        ag_reply_error(s, id, ENOENT, "job %u", job);
        return;
    }
    if (!kill_it && ms < (uint64_t)(INT64_MAX - ag_now()) / 1000000)
        w->due = ag_now() + (int64_t)ms * 1000000;
    if (kill_it && !look(s, w->job)) /* the keeper gives up after some seconds, so no due time here */
        send(w->job->ctl, "k", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    s->req = AG_JOB;
    s->id = id;
    ag_job_more(s);
}

int64_t ag_job_due(const struct ag_session *s, int *fd)
{
    *fd = s->wait.sending ? -1 : s->wait.job->ctl;
    return s->wait.sending ? INT64_MAX : s->wait.due;
}

static int64_t size_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) < 0 ? 0 : st.st_size;
}

void ag_job_more(struct ag_session *s)
{
    struct ag_job_wait *w = &s->wait;
    struct ag_job *j = w->job;

    if (!w->sending) {
        if (!look(s, j) && ag_now() < w->due)
            return;
        w->sending = true;
        for (int i = 0; i < 2; i++)
            w->end[i] = size_of(j->out[i]);
    }
    for (int i = 0; i < 2; i++)
        while (w->at[i] < w->end[i]) {
            if (!ag_data_room(s))
                return;
            int64_t left = w->end[i] - w->at[i];
            ssize_t n = ag_pump(s, i ? PV_MSG_STDERR : PV_MSG_STDOUT, j->out[i], w->at[i],
                                left < PV_CHUNK ? (size_t)left : PV_CHUNK);

            if (n < 0 && errno == EINTR)
                continue;
            w->at[i] = n <= 0 ? w->end[i] : w->at[i] + n;
        }
    bool runs = j->ctl >= 0;
    struct pv_enc e = ag_begin(s, PV_MSG_JOB_STATE, 64);

    pv_enc_u32(&e, s->id);
    pv_enc_u32(&e, runs);
    pv_enc_u32(&e, runs ? 0 : j->code);
    pv_enc_u32(&e, runs ? 0 : j->signal);
    ag_end(s, &e);
    j->told = !runs;
    ag_request_end(s);
}
