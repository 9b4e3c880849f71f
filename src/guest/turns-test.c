/* SPDX-License-Identifier: MIT */
/* Requests to one VM by several tasks at a time: which session each gets, and what they see of its ends. */
#include "util/test.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "guest/fake-agent.h"
#include "guest/instance.h"
#include "guest/session.h"
#include "loop/loop.h"
#include "util/clock.h"

#define LIMIT (10 * PV_NSEC_PER_SEC)

enum what { CALL_PING, CALL_MOUNT, CALL_SYSCALL, CALL_JOB_WAIT, CALL_JOB_KILL };

/* One request in a task. */
struct call {
    struct pv_guest *g;
    enum what what;
    int64_t timeout;
    int r;
    int64_t value; /* of the system call; of a job: its exit code */
    struct pv_err err;
    struct pv_task *task;
};

static void call_make(void *arg)
{
    struct call *c = arg;
    struct pv_agent *a = pv_guest_agent(c->g);
    struct pv_syscall nr = {.nr = 1, .timeout_ns = c->timeout};
    struct pv_job_state job = {0};
    struct pv_sysret ret = {0};

    c->err = (struct pv_err)PV_ERR_INIT;
    switch (c->what) {
    case CALL_PING:
        c->r = pv_agent_ping(a, "x", 1, LIMIT, &c->err);
        break;
    case CALL_MOUNT:
        c->r = pv_agent_mount_vfs(a, LIMIT, &c->err);
        break;
    case CALL_SYSCALL:
        c->r = pv_agent_syscall(a, &nr, &ret, &c->err);
        c->value = ret.value;
        break;
    case CALL_JOB_WAIT:
        c->r = pv_agent_job_wait(a, 7, LIMIT, 0, &job, &c->err);
        c->value = job.exit_code;
        break;
    case CALL_JOB_KILL:
        c->r = pv_agent_job_kill(a, 7, LIMIT, 0, &job, &c->err);
        c->value = job.exit_code;
        break;
    }
    pv_sysret_fini(&ret);
    pv_job_state_fini(&job);
}

static void call_start(struct call *c, struct pv_guest *g, enum what what)
{
    *c = (struct call){.g = g, .what = what, .timeout = c->timeout};
    c->task = pv_task_start(g->env->host.loop, call_make, c, NULL);
    assert_non_null(c->task);
}

static bool call_is_done(void *arg)
{
    return pv_task_done(((struct call *)arg)->task);
}

static void call_end(struct call *c)
{
    assert_int_equal(pv_loop_run(c->g->env->host.loop, call_is_done, c, pv_deadline(LIMIT), NULL), 0);
    pv_task_free(c->task);
}

static void assert_ok(const struct call *c)
{
    if (c->r < 0)
        fail_msg("%s", c->err.text);
}

static void assert_failed(const struct call *c, enum pv_err_class cls, const char *text)
{
    assert_int_equal(c->r, -1);
    if (c->err.cls != cls || !strstr(c->err.text, text))
        fail_msg("expected class %s with '%s', got class %s: %s", pv_err_class_name(cls), text,
                 pv_err_class_name(c->err.cls), c->err.text);
}

/* ---- agents ---- */

static void reply_sysret(int fd, uint32_t id, uint64_t value)
{
    struct pv_enc e = fake_begin(PV_MSG_SYSRET, id);

    pv_enc_u64(&e, value);
    pv_enc_u32(&e, 0);
    fake_send(fd, &e);
}

/* Two system calls, each of which takes a moment. */
static void agent_takes_its_time(int fd)
{
    struct fake_req r;

    for (uint64_t i = 1; i <= 2; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        fake_expect(fd, &r, PV_MSG_SYSCALL);
        FAKE_CHECK(poll(&p, 1, 300) == 0); /* no other request comes meanwhile */
        reply_sysret(fd, r.id, i);
    }
    fake_serve_pings(fd);
}

/* A system call that does not return. */
static void agent_hangs(int fd)
{
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_SYSCALL);
    for (;;)
        fake_get(fd, &r);
}

static void agent_crashes(int fd)
{
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_SYSCALL);
    poll(NULL, 0, 200);
}

/* Replies to STATUS and system calls. */
static void agent_knows_status(int fd)
{
    struct fake_req r;
    struct pv_enc e;

    for (;;) {
        fake_get(fd, &r);
        if (r.type == PV_MSG_SYSCALL) {
            reply_sysret(fd, r.id, 5);
            continue;
        }
        FAKE_CHECK(r.type == PV_MSG_STATUS && pv_dec_u32(&r.d) == 100);
        e = fake_begin(PV_MSG_JOB_STATE, r.id);
        pv_enc_u32(&e, 0);
        pv_enc_u32(&e, 139);
        pv_enc_u32(&e, SIGSEGV);
        fake_send(fd, &e);
    }
}

static void send_job(int fd, uint32_t id, uint32_t running)
{
    struct pv_enc e = fake_begin(PV_MSG_JOB_STATE, id);

    pv_enc_u32(&e, running);
    pv_enc_u32(&e, running ? 0 : 137);
    pv_enc_u32(&e, 0);
    fake_send(fd, &e);
}

static void agent_has_a_job(int fd)
{
    struct fake_req r;
    uint32_t wait;

    fake_expect(fd, &r, PV_MSG_JOB_WAIT);
    wait = r.id;
    fake_expect(fd, &r, PV_MSG_CANCEL);
    FAKE_CHECK(r.id == wait);
    fake_error(fd, wait, ECANCELED, "wait for job 7");
    fake_expect(fd, &r, PV_MSG_JOB_KILL);
    send_job(fd, r.id, 0);
    fake_expect(fd, &r, PV_MSG_JOB_WAIT);
    send_job(fd, r.id, 0);
}

static void agent_is_cancelled(int fd)
{
    struct fake_req r;
    uint32_t wait;

    fake_expect(fd, &r, PV_MSG_JOB_WAIT);
    wait = r.id;
    fake_expect(fd, &r, PV_MSG_CANCEL);
    FAKE_CHECK(r.id == wait);
    fake_error(fd, wait, ECANCELED, "wait for job 7");
    fake_expect(fd, &r, PV_MSG_SYSCALL);
    for (;;)
        fake_get(fd, &r);
}

/* One raw call, then a fork of the process. */
static void agent_is_copied(int fd)
{
    struct fake_req r;
    struct pv_enc e;

    fake_expect(fd, &r, PV_MSG_SYSCALL);
    reply_sysret(fd, r.id, 1);
    fake_expect(fd, &r, PV_MSG_SPAWN);
    FAKE_CHECK(pv_dec_u32(&r.d) == 0);
    e = fake_begin(PV_MSG_WORKER, r.id);
    pv_enc_u32(&e, 6000);
    pv_enc_u32(&e, 200);
    fake_send(fd, &e);
    fake_expect(fd, &r, PV_MSG_SYSCALL);
    reply_sysret(fd, r.id, 2);
    fake_serve_pings(fd);
}

static void agent_reads_files(int fd)
{
    struct fake_req r;

    for (;;) {
        fake_expect(fd, &r, PV_MSG_MOUNT_VFS);
        poll(NULL, 0, 200);
        fake_ok(fd, r.id, 0);
    }
}

/* ---- tests ---- */

static void raw_calls_take_turns(void **state)
{
    static const fake_script scripts[] = {agent_takes_its_time, fake_serve_pings};
    struct pv_guest *g = fake_new(scripts, 2);
    struct call first = {0}, second = {0}, ping = {0};

    (void)state;
    call_start(&first, g, CALL_SYSCALL);
    call_start(&second, g, CALL_SYSCALL);
    call_start(&ping, g, CALL_PING); /* beside them, in an auxiliary session */
    call_end(&ping);
    assert_ok(&ping);
    assert_false(call_is_done(&first));
    call_end(&first);
    call_end(&second);
    assert_ok(&first);
    assert_ok(&second);
    assert_int_equal(first.value, 1);
    assert_int_equal(second.value, 2);
    assert_null(pv_guest_agent(g)->turns);
    fake_free(g);
}

/* The auxiliary session stays connected: one connection serves all requests that come one after the other. */
static void auxiliary_sessions_are_used_again(void **state)
{
    static const fake_script scripts[] = {agent_hangs, fake_serve_pings};
    struct pv_guest *g = fake_new(scripts, 2);
    struct call raw = {0}, ping = {0};

    (void)state;
    call_start(&raw, g, CALL_SYSCALL);
    for (int i = 0; i < 5; i++) {
        call_start(&ping, g, CALL_PING);
        call_end(&ping);
        assert_ok(&ping);
    }
    pv_guest_kill(g);
    call_end(&raw);
    assert_failed(&raw, PV_E_GUEST_DIED, "killed meanwhile");
    fake_free(g);
}

static void a_turn_has_a_deadline(void **state)
{
    static const fake_script scripts[] = {agent_hangs};
    struct pv_guest *g = fake_new(scripts, 1);
    struct call first = {0}, second = {.timeout = 50 * PV_NSEC_PER_MSEC};

    (void)state;
    call_start(&first, g, CALL_SYSCALL);
    call_start(&second, g, CALL_SYSCALL);
    call_end(&second);
    assert_failed(&second, PV_E_TIMEOUT, "was busy with syscall 1");
    pv_guest_kill(g);
    call_end(&first);
    fake_free(g);
}

/* A call whose task is cancelled ends in the guest as well, and its session serves the next call. */
static void a_cancelled_call_is_cancelled_in_the_guest(void **state)
{
    static const fake_script scripts[] = {agent_is_cancelled, fake_serve_pings};
    struct pv_guest *g = fake_new(scripts, 2);
    struct call wait = {0}, raw = {0};

    (void)state;
    call_start(&wait, g, CALL_JOB_WAIT);
    pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(100 * PV_NSEC_PER_MSEC), NULL);
    pv_task_cancel(wait.task);
    call_end(&wait);
    assert_failed(&wait, PV_E_HOST, "given up");
    call_start(&raw, g, CALL_SYSCALL); /* in the same session; does not return */
    pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(100 * PV_NSEC_PER_MSEC), NULL);
    pv_task_cancel(raw.task);
    call_end(&raw);
    assert_failed(&raw, PV_E_HOST, "given up");
    call_start(&raw, g, CALL_PING); /* in a new one */
    call_end(&raw);
    assert_ok(&raw);
    fake_free(g);
}

/* While tasks run, the main session is left to raw calls: others use a fork of its process. */
static void other_requests_see_what_raw_calls_made(void **state)
{
    static const fake_script scripts[] = {agent_is_copied, agent_reads_files};
    struct pv_guest *g = fake_new(scripts, 2);
    struct call raw = {0}, mount = {0}, again = {0};
    struct pv_guest_env env = *g->env;

    (void)state;
    g->env = &env;
    env.tasks = true;
    call_start(&raw, g, CALL_SYSCALL);
    call_end(&raw);
    assert_int_equal(raw.value, 1);
    call_start(&mount, g, CALL_MOUNT);
    pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(50 * PV_NSEC_PER_MSEC), NULL);
    call_end(&mount);
    assert_ok(&mount);
    call_start(&again, g, CALL_MOUNT); /* in the same fork */
    call_start(&raw, g, CALL_SYSCALL); /* beside it */
    call_end(&raw);
    assert_int_equal(raw.value, 2);
    assert_false(call_is_done(&again));
    call_end(&again);
    assert_ok(&again);
    fake_free(g);
}

/* A process that ends ends one call; the next one in the queue has the fresh process. */
static void a_crash_ends_one_call(void **state)
{
    static const fake_script scripts[] = {agent_crashes, agent_knows_status, agent_knows_status};
    struct pv_guest *g = fake_new(scripts, 3);
    struct call first = {0}, second = {0};

    (void)state;
    call_start(&first, g, CALL_SYSCALL);
    call_start(&second, g, CALL_SYSCALL);
    call_end(&first);
    call_end(&second);
    assert_failed(&first, PV_E_GUEST_DIED, "(pid 100) was killed by SIGSEGV");
    assert_ok(&second);
    assert_int_equal(second.value, 5);
    fake_free(g);
}

static void a_job_is_killed_while_it_is_waited_for(void **state)
{
    static const fake_script scripts[] = {agent_has_a_job};
    struct pv_guest *g = fake_new(scripts, 1);
    struct call wait = {0}, kill = {0};

    (void)state;
    call_start(&wait, g, CALL_JOB_WAIT);
    pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(100 * PV_NSEC_PER_MSEC), NULL);
    call_start(&kill, g, CALL_JOB_KILL);
    call_end(&kill);
    call_end(&wait);
    assert_ok(&kill);
    assert_ok(&wait);
    assert_int_equal(kill.value, 137);
    assert_int_equal(wait.value, 137);
    fake_free(g);
}

static void a_held_session_is_its_own(void **state)
{
    static const fake_script scripts[] = {fake_serve_pings, fake_serve_pings};
    struct pv_guest *g = fake_new(scripts, 2);
    struct pv_err err = PV_ERR_INIT;
    struct pv_session *s = pv_agent_open_aux(pv_guest_agent(g), pv_deadline(LIMIT), &err);
    struct call ping = {0};

    (void)state;
    if (!s)
        fail_msg("%s", err.text);
    assert_int_equal(s->state, PV_SESSION_OPEN);
    call_start(&ping, g, CALL_PING); /* in the main session, not in s */
    call_end(&ping);
    assert_ok(&ping);
    assert_int_equal(s->last_id, 0);
    pv_guest_kill(g);
    assert_int_equal(s->state, PV_SESSION_BROKEN);
    pv_agent_close_aux(pv_guest_agent(g), s);
    fake_free(g);
}

/* No matter whether it waits for its turn, opens a session or awaits its reply. */
static void a_reset_ends_all_calls(void **state)
{
    static const fake_script scripts[] = {agent_hangs}; /* a second connection is refused, and tried again */
    struct pv_guest *g = fake_new(scripts, 1);
    struct call raw = {0}, second = {0}, ping = {0};
    int64_t start;

    (void)state;
    call_start(&raw, g, CALL_SYSCALL);
    call_start(&second, g, CALL_SYSCALL);
    call_start(&ping, g, CALL_PING);
    pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(100 * PV_NSEC_PER_MSEC), NULL);
    assert_false(call_is_done(&ping));
    start = pv_now();
    pv_guest_on_reset(NULL, g);
    call_end(&ping);
    call_end(&raw);
    call_end(&second);
    assert_failed(&ping, PV_E_GUEST_DIED, "rebooted meanwhile, which ended this call");
    assert_failed(&raw, PV_E_GUEST_DIED, "rebooted meanwhile, which ended this call");
    assert_failed(&second, PV_E_GUEST_DIED, "rebooted meanwhile, which ended this call");
    assert_true(pv_now() - start < LIMIT / 2);
    fake_free(g);
}

static void agent_dies_of_a_call(int fd)
{
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_SYSCALL);
}

/* A host with too much to do: QEMU tells of the reset seconds after the device has broken the connections. */
static void a_reset_may_be_told_late(void **state)
{
    static const fake_script scripts[] = {agent_dies_of_a_call}; /* no further connection is made */
    struct pv_guest *g = fake_new(scripts, 1);
    struct call raw = {0};

    (void)state;
    call_start(&raw, g, CALL_SYSCALL);
    pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(100 * PV_NSEC_PER_MSEC), NULL);
    fake_set_ready(false);
    pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(2500 * PV_NSEC_PER_MSEC), NULL);
    assert_false(call_is_done(&raw));
    pv_guest_on_reset(NULL, g);
    call_end(&raw);
    assert_failed(&raw, PV_E_GUEST_DIED, "rebooted meanwhile, which ended this call");
    fake_set_ready(true);
    fake_free(g);
}

/* Between the fork of the main process and the session with it. */
static void a_reset_ends_a_call_that_opens_a_fork(void **state)
{
    static const fake_script scripts[] = {agent_is_copied}; /* the fork's port refuses */
    struct pv_guest *g = fake_new(scripts, 1);
    struct call raw = {0}, mount = {0};
    struct pv_guest_env env = *g->env;
    int64_t start;

    (void)state;
    g->env = &env;
    env.tasks = true;
    call_start(&raw, g, CALL_SYSCALL);
    call_end(&raw);
    call_start(&mount, g, CALL_MOUNT);
    pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(200 * PV_NSEC_PER_MSEC), NULL);
    assert_false(call_is_done(&mount));
    start = pv_now();
    pv_guest_on_reset(NULL, g);
    call_end(&mount);
    assert_failed(&mount, PV_E_GUEST_DIED, "rebooted meanwhile, which ended this call");
    assert_true(pv_now() - start < LIMIT / 2);
    fake_free(g);
}

/* Has one job, the first of its numbers; the first process ends before its wait. */
static void agent_numbers_jobs(int fd)
{
    struct fake_req r;
    struct pv_enc e;

    fake_expect(fd, &r, PV_MSG_JOB_START);
    e = fake_begin(PV_MSG_JOB, r.id);
    pv_enc_u32(&e, 1);
    pv_enc_u32(&e, 1234);
    fake_send(fd, &e);
    fake_expect(fd, &r, PV_MSG_JOB_WAIT);
    FAKE_CHECK(pv_dec_u32(&r.d) == 1);
    send_job(fd, r.id, 0);
    fake_serve_pings(fd);
}

static void ids_of_jobs_are_not_used_again(void **state)
{
    static const fake_script scripts[] = {agent_numbers_jobs, agent_numbers_jobs};
    struct pv_guest *g = fake_new(scripts, 2);
    struct pv_agent *a = pv_guest_agent(g);
    struct pv_err err = PV_ERR_INIT;
    struct pv_job_state s = {0};
    struct pv_exec x = {0};
    struct pv_job before, after;

    (void)state;
    pv_strv_add(&x.argv, "/bin/true");
    assert_int_equal(pv_agent_job_start(a, &x, &before, &err), 0);
    assert_int_equal(before.id, 1);
    pv_guest_on_reset(NULL, g);
    assert_int_equal(pv_agent_job_wait(a, before.id, 0, 0, &s, &err), -1);
    assert_non_null(strstr(err.text, "cannot job_wait: job 1 ended when vm"));
    assert_non_null(strstr(err.text, " rebooted"));
    assert_int_equal(pv_agent_job_start(a, &x, &after, &err), 0);
    assert_int_equal(pv_agent_job_kill(a, before.id, 0, 0, &s, &err), -1);
    assert_non_null(strstr(err.text, "cannot job_kill: job 1 ended when vm"));
    assert_int_equal(pv_agent_job_kill(a, 0, 0, 0, &s, &err), -1);
    assert_non_null(strstr(err.text, "there is no job 0"));
    assert_int_equal(pv_agent_job_wait(a, UINT64_MAX, 0, 0, &s, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    if (pv_agent_job_wait(a, after.id, 0, 0, &s, &err) < 0)
        fail_msg("%s", err.text);
    pv_job_state_fini(&s);
    pv_strv_free(&x.argv);
    fake_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_jobs_are_not_used_again),
        cmocka_unit_test(raw_calls_take_turns),
        cmocka_unit_test(auxiliary_sessions_are_used_again),
        cmocka_unit_test(a_turn_has_a_deadline),
        cmocka_unit_test(a_cancelled_call_is_cancelled_in_the_guest),
        cmocka_unit_test(other_requests_see_what_raw_calls_made),
        cmocka_unit_test(a_crash_ends_one_call),
        cmocka_unit_test(a_job_is_killed_while_it_is_waited_for),
        cmocka_unit_test(a_held_session_is_its_own),
        cmocka_unit_test(a_reset_ends_all_calls),
        cmocka_unit_test(a_reset_may_be_told_late),
        cmocka_unit_test(a_reset_ends_a_call_that_opens_a_fork),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
