/* SPDX-License-Identifier: MIT */
/* Background commands. The agent keeps their output; each reply has all of it. */
#include <errno.h>
#include <inttypes.h>

#include "guest/call.h"
#include "guest/guest-state.h"
#include "guest/output.h"

#include "util/clock.h"

/* For the transfer of the output, which may be long. */
#define JOB_LIMIT (60 * PV_NSEC_PER_SEC)

struct job_call {
    struct pv_call c;
    struct pv_job *job;         /* from JOB */
    struct pv_job_state *state; /* from JOB_STATE */
};

void pv_job_state_fini(struct pv_job_state *s)
{
    pv_buf_free(&s->out);
    pv_buf_free(&s->err);
}

static int job_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct job_call *j = PV_CONTAINER_OF(c, struct job_call, c);

    if (type != PV_MSG_JOB)
        return pv_call_unexpected(type, err);
    j->job->id = pv_dec_u32(d);
    j->job->pid = pv_dec_u32(d);
    return pv_dec_done(d) ? 1 : pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed JOB");
}

int pv_job_dec_state(struct pv_dec *d, bool *running, int *code, int *sig, struct pv_err *err)
{
    uint32_t run = pv_dec_u32(d), exit_code = pv_dec_u32(d), by = pv_dec_u32(d);

    if (!pv_dec_done(d) || run > 1 || exit_code > 255 || by > 64)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed JOB_STATE");
    *running = run;
    *code = (int)exit_code;
    *sig = (int)by;
    return 1;
}

static int job_state_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct pv_job_state *s = PV_CONTAINER_OF(c, struct job_call, c)->state;
    int sig, r;

    switch (type) {
    case PV_MSG_STDOUT:
        return pv_call_add_output(c, &s->out, d, err);
    case PV_MSG_STDERR:
        return pv_call_add_output(c, &s->err, d, err);
    case PV_MSG_JOB_STATE:
        r = pv_job_dec_state(d, &s->running, &s->exit_code, &sig, err);
        if (s->running)
            s->exit_code = -1;
        return r;
    default:
        return pv_call_unexpected(type, err);
    }
}

/* The agent keeps a job's output, so it is told when the job has ended. */
static void job_tell(const struct pv_agent *a, const struct pv_job_state *s)
{
    if (s->running)
        return;
    pv_output_tell(a->guest, &s->out, PV_OUTPUT_STDOUT, s->out.data, s->out.len);
    pv_output_tell(a->guest, &s->err, PV_OUTPUT_STDERR, s->err.data, s->err.len);
}

/* ---- ids ---- */

/* The process of the call's session has the jobs from here on. */
static void job_ids_follow(struct pv_agent *a, const struct pv_session *s)
{
    struct pv_job_ids *ids = &a->job_ids;
    const struct pv_guest *g = a->guest;

    if (ids->pid == s->agent_pid && ids->generation == g->generation)
        return;
    ids->end = ids->generation == g->generation ? NULL : g->life.how ? g->life.how : "was restored";
    ids->base = ids->last;
    ids->pid = s->agent_pid;
    ids->generation = g->generation;
}

/* The agent's number of a job, for a request that was begun.  -1: the request was dropped. */
static int job_find_number(struct pv_agent *a, struct pv_call *c, uint64_t job, const char *what,
                           uint32_t *number, struct pv_err *err)
{
    const struct pv_job_ids *ids = &a->job_ids;

    job_ids_follow(a, c->s);
    if (ids->base == 0 && job <= UINT32_MAX) {
        *number = (uint32_t)job;
        return 0;
    }
    if (job > ids->base && job <= ids->last) {
        *number = (uint32_t)(job - ids->base);
        return 0;
    }
    pv_call_drop(a, c);
    if (job == 0 || job > ids->base)
        return pv_err_set_at(err, PV_E_GUEST, ENOENT, __FILE__, __LINE__,
                             "%s on %s: there is no job %" PRIu64, what, a->name, job);
    if (ids->end)
        return pv_err_set(err, PV_E_USAGE, "cannot %s: job %" PRIu64 " ended when %s %s", what, job,
                          a->guest->name, ids->end);
    return pv_err_set(err, PV_E_USAGE, "cannot %s: job %" PRIu64 " ended with the agent process that had it",
                      what, job);
}

int pv_agent_job_start(struct pv_agent *a, const struct pv_exec *x, struct pv_job *job, struct pv_err *err)
{
    int64_t limit = x->timeout_ns ? x->timeout_ns : JOB_LIMIT;
    struct job_call j = {.c = {.frame = job_frame, .turn_ns = limit}, .job = job};
    struct pv_enc e;

    if (pv_call_check_command(x, "background", err) < 0 ||
        pv_call_begin(a, &j.c, PV_MSG_JOB_START, "background", &e, err) < 0)
        return -1;
    job_ids_follow(a, j.c.s);
    pv_output_tell_command(a->guest, x, " &");
    pv_enc_command(&e, a, x);
    if (pv_call_finish(a, &j.c, &e, "background", limit, err) < 0)
        return -1;
    job->id += a->job_ids.base;
    if (job->id > a->job_ids.last)
        a->job_ids.last = job->id;
    return 0;
}

int pv_agent_job_wait(struct pv_agent *a, uint64_t job, int64_t wait_ns, uint64_t max_output,
                      struct pv_job_state *s, struct pv_err *err)
{
    int64_t began = pv_now(), left = wait_ns;

    for (;;) {
        struct job_call j = {.c = {.frame = job_state_frame, .max_output = max_output, .yields = true},
                             .state = s};
        struct pv_enc e;
        uint32_t number;
        int r;

        if (pv_call_begin(a, &j.c, PV_MSG_JOB_WAIT, "job_wait", &e, err) < 0 ||
            job_find_number(a, &j.c, job, "job_wait", &number, err) < 0)
            return -1;
        pv_enc_u32(&e, number);
        pv_enc_u64(&e, pv_wire_ms(left));
        r = pv_call_finish(a, &j.c, &e, "job_wait", left < PV_FOREVER - JOB_LIMIT ? left + JOB_LIMIT : 0,
                           err);
        /* Its turn comes again when the request that it gave way to is over. */
        if (r == 0)
            job_tell(a, s);
        if (r == 0 || !j.c.yielded)
            return r;
        pv_job_state_fini(s);
        *s = (struct pv_job_state){0};
        left = wait_ns - (pv_now() - began);
        if (left < 0)
            left = 0;
    }
}

int pv_agent_job_kill(struct pv_agent *a, uint64_t job, int64_t timeout_ns, uint64_t max_output,
                      struct pv_job_state *s, struct pv_err *err)
{
    int64_t limit = timeout_ns ? timeout_ns : JOB_LIMIT;
    struct job_call j = {.c = {.frame = job_state_frame, .max_output = max_output, .turn_ns = limit},
                         .state = s};
    struct pv_enc e;
    uint32_t number;

    if (pv_call_begin(a, &j.c, PV_MSG_JOB_KILL, "job_kill", &e, err) < 0 ||
        job_find_number(a, &j.c, job, "job_kill", &number, err) < 0)
        return -1;
    pv_enc_u32(&e, number);
    if (pv_call_finish(a, &j.c, &e, "job_kill", limit, err) < 0)
        return -1;
    job_tell(a, s);
    return 0;
}
