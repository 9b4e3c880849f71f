/* SPDX-License-Identifier: MIT */
/*
 * Background jobs: JOB_START, JOB_WAIT and JOB_KILL.  A reaper watches over each job and copies its output to
 * two unlinked files.  The session's end closes the control sockets, upon which the reapers kill.
 */
#include "agent/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/high-fd.h"
#include "agent/process.h"
#include "agent/reaper.h"
#include "agent/util.h"
#include "command.h"

enum { JOBS_MAX = 256, START_MS = 20000 };

_Static_assert((int)AG_REAPERS_MAX > (int)JOBS_MAX, "a session can wait for the reapers of all its jobs");

struct job {
    uint32_t id; /* 0: free */
    pid_t reaper;
    int ctl;    /* to the reaper; -1 once the job has ended */
    int out[2]; /* files with its stdout and stderr */
    bool told;  /* the host knows that it has ended */
    int status; /* once ended: wait status */
};

struct jobs {
    uint32_t last_id;
    struct job job[JOBS_MAX];
};

static void job_close(struct job *j)
{
    ag_close(&j->ctl);
    ag_close(&j->out[0]);
    ag_close(&j->out[1]);
    j->id = 0;
}

static void jobs_close(void *memory)
{
    struct jobs *jobs = memory;

    for (size_t i = 0; i < JOBS_MAX; i++)
        if (jobs->job[i].id)
            job_close(&jobs->job[i]);
}

static const struct ag_kept_kind jobs_kept = {.size = sizeof(struct jobs), .close = jobs_close};

/* ---- start ---- */

struct job_start {
    struct ag_command_args args;
};

AG_STATE(job_start, job_start_state)

/* A free place, or that of the oldest job whose end the host knows; NULL: all run. */
static struct job *find_job_place(struct jobs *jobs)
{
    struct job *old = NULL;

    for (size_t i = 0; i < JOBS_MAX; i++) {
        struct job *j = &jobs->job[i];

        if (!j->id)
            return j;
        if (j->told && (!old || j->id < old->id))
            old = j;
    }
    if (old)
        job_close(old);
    return old;
}

static int open_sink(void)
{
    static const char *const dirs[] = {"/tmp", "/dev/shm", "/run", "/"};
    int fd = memfd_create("provium-job", MFD_CLOEXEC);

    for (size_t i = 0; fd < 0 && i < sizeof(dirs) / sizeof(dirs[0]); i++)
        fd = open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return ag_high_fd(fd);
}

/* Opens the job's files and pipes and starts its reaper; 0, or -1 with errno. */
static int launch_job(struct ag_session *s, struct job *j, struct ag_command *c)
{
    int r = 0;

    c->stdio[0] = s->w.null_fd;
    for (int i = 0; i < 2 && r == 0; i++)
        if ((c->sink[i] = j->out[i] = open_sink()) < 0 ||
            ag_command_pipe(&c->pump[i], &c->stdio[1 + i], true) < 0)
            r = -1;
    if (r == 0 && (j->reaper = ag_reaper_start(s, c, &j->ctl)) < 0)
        r = -1;
    int e = errno;

    for (int i = 0; i < 2; i++) {
        ag_close(&c->pump[i]);
        ag_close(&c->stdio[1 + i]);
    }
    errno = e;
    return r;
}

/* Waits for the reaper's first report: AG_STARTED, or AG_FAILED, also when none comes. */
static struct ag_report first_report(struct job *j)
{
    struct pollfd p = {.fd = j->ctl, .events = POLLIN};
    int64_t due = ag_now() + (int64_t)START_MS * 1000000;
    struct ag_report r;

    while (poll(&p, 1, START_MS) < 0 && ag_now() < due)
        ;
    if (recv(j->ctl, &r, sizeof(r), MSG_DONTWAIT) != sizeof(r))
        r = (struct ag_report){.kind = AG_FAILED, .at = AG_AT_FORK, .value = ETIMEDOUT};
    return r;
}

static void reply_job(struct ag_session *s, uint32_t id, const struct job *j, pid_t pid)
{
    struct pv_enc e = ag_frame_begin(s, PV_MSG_JOB, 64);

    pv_enc_u32(&e, id);
    pv_enc_u32(&e, j->id);
    pv_enc_u32(&e, (uint32_t)pid);
    ag_frame_end(s, &e);
}

static void start_job(struct ag_session *s, uint32_t id, struct jobs *jobs, struct job *j)
{
    const struct ag_command_args *args = &job_start_state(s)->args;
    struct ag_command c = ag_command_of(s, args);
    struct ag_report r = {.kind = AG_FAILED};

    c.started = true;
    *j = (struct job){.ctl = -1, .out = {-1, -1}};
    if (launch_job(s, j, &c) < 0) {
        ag_reply_error(s, id, errno, "start '%.4000s'", args->argv[0]);
    } else {
        r = first_report(j);
        if (r.kind != AG_STARTED)
            ag_reply_error(s, id, r.value, "%s '%.4000s'",
                           r.at == AG_AT_FORK ? "start" : ag_command_action(&r),
                           r.at == AG_AT_CHDIR ? args->cwd : args->argv[0]);
    }
    if (r.kind != AG_STARTED) {
        ag_reap_later(s, j->reaper);
        job_close(j);
        return;
    }
    if (++jobs->last_id == 0)
        jobs->last_id = 1;
    j->id = jobs->last_id;
    reply_job(s, id, j, r.value);
}

static bool job_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    if (!ag_command_decode(&job_start_state(s)->args, d))
        return false;
    struct jobs *jobs = ag_keep(s, &jobs_kept);
    struct job *j = jobs ? find_job_place(jobs) : NULL;

    if (j)
        start_job(s, id, jobs, j);
    else if (jobs)
        ag_reply_error(s, id, EAGAIN, "start a job: %d are running already", JOBS_MAX);
    else
        ag_reply_error(s, id, errno, "start a job");
    return true;
}

const struct ag_verb ag_verb_job_start = {.message = PV_MSG_JOB_START, .start = job_start};

/* ---- wait, kill ---- */

struct job_wait {
    struct job *job;
    int64_t due; /* INT64_MAX: wait for the job's end */
    bool sending;
    int64_t at[2], end[2]; /* once sending: offsets in the job's files */
};

AG_STATE(job_wait, job_wait_state)

/* Takes the reaper's report.  True when the job has ended. */
static bool job_ended(struct ag_session *s, struct job *j)
{
    struct ag_report r;

    if (j->ctl < 0)
        return true;
    ssize_t n = recv(j->ctl, &r, sizeof(r), MSG_DONTWAIT);

    if (n < 0)
        return false;
    j->status = n == sizeof(r) ? r.value : SIGKILL; /* no report: the reaper was killed */
    ag_close(&j->ctl);
    ag_reap_later(s, j->reaper);
    return true;
}

static int64_t size_of_file(int fd)
{
    struct stat st;

    return fstat(fd, &st) < 0 ? 0 : st.st_size;
}

/* Sends on the job's output from w->at; false when the output buffer is full. */
static bool send_job_output(struct ag_session *s, struct job_wait *w)
{
    for (int i = 0; i < 2; i++)
        while (w->at[i] < w->end[i]) {
            if (!ag_data_room(s))
                return false;
            int64_t left = w->end[i] - w->at[i];
            ssize_t n = ag_reply_data(s, i ? PV_MSG_STDERR : PV_MSG_STDOUT, w->job->out[i], w->at[i],
                                      left < PV_CHUNK ? (size_t)left : PV_CHUNK);

            if (n < 0 && errno == EINTR)
                continue;
            w->at[i] = n <= 0 ? w->end[i] : w->at[i] + n;
        }
    return true;
}

static void job_wait_more(struct ag_session *s, const struct pollfd *p)
{
    struct job_wait *w = job_wait_state(s);
    struct job *j = w->job;

    (void)p;
    if (!w->sending) {
        if (!job_ended(s, j) && ag_now() < w->due)
            return;
        w->sending = true;
        for (int i = 0; i < 2; i++)
            w->end[i] = size_of_file(j->out[i]);
    }
    if (!send_job_output(s, w))
        return;
    j->told = j->ctl < 0;
    ag_reply_state(s, s->id, !j->told, j->status);
    ag_request_end(s);
}

static void job_wait_pollfds(struct ag_session *s, struct pollfd *p, bool stalled)
{
    const struct job_wait *w = job_wait_state(s);

    (void)stalled;
    if (!w->sending)
        p[0] = (struct pollfd){.fd = w->job->ctl, .events = POLLIN};
}

static int64_t job_wait_due(struct ag_session *s)
{
    return job_wait_state(s)->sending ? ag_due_with_room(s) : job_wait_state(s)->due;
}

static void job_wait_cancel(struct ag_session *s)
{
    ag_request_fail(s, ECANCELED, "wait for job %u", job_wait_state(s)->job->id);
}

/* Sets the state up; false when there is no such job, which has been replied. */
static bool find_job(struct ag_session *s, uint32_t id)
{
    struct job_wait *w = job_wait_state(s);
    struct jobs *jobs = ag_keep(s, &jobs_kept);

    *w = (struct job_wait){.due = INT64_MAX};
    for (size_t i = 0; i < JOBS_MAX && jobs && id; i++)
        if (jobs->job[i].id == id)
            w->job = &jobs->job[i];
    if (!w->job)
        ag_request_fail(s, ENOENT, "job %u", id);
    return w->job;
}

static bool job_wait_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    uint32_t job = pv_dec_u32(d);
    uint64_t ms = pv_dec_u64(d);

    (void)id;
    if (!pv_dec_done(d))
        return false;
    if (!find_job(s, job))
        return true;
    if (ms < (uint64_t)(INT64_MAX - ag_now()) / 1000000)
        job_wait_state(s)->due = ag_now() + (int64_t)ms * 1000000;
    job_wait_more(s, NULL);
    return true;
}

static bool job_kill_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    uint32_t job = pv_dec_u32(d);

    (void)id;
    if (!pv_dec_done(d))
        return false;
    if (!find_job(s, job))
        return true;
    /* No due time: the reaper reports the end after some seconds at most. */
    if (!job_ended(s, job_wait_state(s)->job))
        ag_reaper_kill(job_wait_state(s)->job->ctl);
    job_wait_more(s, NULL);
    return true;
}

const struct ag_verb ag_verb_job_wait = {
    .message = PV_MSG_JOB_WAIT,
    .start = job_wait_start,
    .pollfds = job_wait_pollfds,
    .due = job_wait_due,
    .more = job_wait_more,
    .cancel = job_wait_cancel,
};

const struct ag_verb ag_verb_job_kill = {
    .message = PV_MSG_JOB_KILL,
    .start = job_kill_start,
    .pollfds = job_wait_pollfds,
    .due = job_wait_due,
    .more = job_wait_more,
    .cancel = job_wait_cancel,
};
