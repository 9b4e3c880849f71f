/* SPDX-License-Identifier: MIT */
/*
 * The limits of what one call may bring to the host: each is an error that names its option, and no more.  The
 * limits of the numbers in replies: each is an error of class protocol.
 */
#include "util/test.h"

#include <string.h>

#include "guest/fake-agent.h"
#include "guest/resume.h"
#include "guest/worker.h"
#include "util/clock.h"
#include "util/mem.h"

static void assert_err(const struct pv_err *err, enum pv_err_class cls, const char *text)
{
    if (err->cls != cls || !strstr(err->text, text))
        fail_msg("expected class %s with '%s', got class %s: %s", pv_err_class_name(cls), text,
                 pv_err_class_name(err->cls), err->text);
}

static void send_bytes(int fd, unsigned type, uint32_t id, size_t n)
{
    static char bytes[PV_CHUNK];
    struct pv_enc e = fake_begin(type, id);

    memset(bytes, 'x', n);
    pv_enc_bytes(&e, bytes, n);
    fake_send(fd, &e);
}

static void send_exit(int fd, uint32_t id)
{
    struct pv_enc e = fake_begin(PV_MSG_EXIT, id);

    for (int i = 0; i < 3; i++)
        pv_enc_u32(&e, 0);
    pv_enc_u64(&e, 0);
    fake_send(fd, &e);
}

static void send_job_state(int fd, uint32_t id)
{
    struct pv_enc e = fake_begin(PV_MSG_JOB_STATE, id);

    for (int i = 0; i < 3; i++)
        pv_enc_u32(&e, 0);
    fake_send(fd, &e);
}

/* Two commands and a job that print 3000 + 3000 bytes, each twice. */
static void agent_prints(int fd)
{
    struct fake_req r;

    for (int i = 0; i < 4; i++) {
        do
            fake_get(fd, &r);
        while (r.type == PV_MSG_CANCEL);
        send_bytes(fd, PV_MSG_STDOUT, r.id, 3000);
        send_bytes(fd, PV_MSG_STDERR, r.id, 3000);
        if (r.type == PV_MSG_EXEC)
            send_exit(fd, r.id);
        else
            send_job_state(fd, r.id);
    }
    fake_serve_pings(fd);
}

static void output_has_a_limit(void **state)
{
    static const fake_script scripts[] = {agent_prints};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_exec_result out = {0};
    struct pv_job_state job = {0};
    struct pv_err err = PV_ERR_INIT;
    struct pv_exec x = {.max_output = 5999};

    (void)state;
    pv_strv_add(&x.argv, "/bin/true");
    assert_int_equal(pv_agent_exec(pv_guest_agent(g), &x, &out, &err), -1);
    assert_err(&err, PV_E_GUEST, "more than max_output");
    assert_true(out.out.len + out.err.len <= 5999);
    pv_exec_result_fini(&out);
    out = (struct pv_exec_result){0};
    x.max_output = 6000;
    if (pv_agent_exec(pv_guest_agent(g), &x, &out, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(out.out.len + out.err.len, 6000);
    pv_exec_result_fini(&out);
    assert_int_equal(pv_agent_job_wait(pv_guest_agent(g), 7, 0, 100, &job, &err), -1);
    assert_err(&err, PV_E_GUEST, "more than max_output, which is 100");
    pv_job_state_fini(&job);
    job = (struct pv_job_state){0};
    if (pv_agent_job_kill(pv_guest_agent(g), 7, 0, 0, &job, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(job.out.len, 3000);
    pv_job_state_fini(&job);
    /* the session has survived */
    assert_int_equal(pv_agent_ping(pv_guest_agent(g), "x", 1, 10 * PV_NSEC_PER_SEC, NULL), 0);
    pv_strv_free(&x.argv);
    fake_free(g);
}

/* ---- numbers that an agent chooses ---- */

static uint64_t said; /* by the agent: a clock, a port */

static void agent_resumes(int fd)
{
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_RESUME);
    fake_ok(fd, r.id, said);
    fake_serve_pings(fd);
}

static void clocks_have_a_range(void **state)
{
    static const uint64_t clocks[] = {UINT64_MAX, UINT64_C(1) << 63, (UINT64_C(1) << 63) + 1};
    static const fake_script scripts[] = {agent_resumes};

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(clocks); i++) {
        struct pv_err err = PV_ERR_INIT;
        struct pv_guest *g;

        said = clocks[i];
        g = fake_new(scripts, 1);
        assert_int_equal(pv_resume_meet(g, pv_deadline(10 * PV_NSEC_PER_SEC), &err), -1);
        assert_err(&err, PV_E_PROTOCOL, "says that its clock is");
        fake_free(g);
    }
}

enum { LATE_REPLIES = 12 };

/* A busy host: the clock is off by what it took to set it, time and again, and then is not. */
static void agent_resumes_late(int fd)
{
    struct fake_req r;

    for (int i = 0; i <= LATE_REPLIES; i++) {
        fake_expect(fd, &r, PV_MSG_RESUME);
        fake_ok(fd, r.id, (uint64_t)(pv_wall_now() - (i < LATE_REPLIES ? 150 * PV_NSEC_PER_MSEC : 0)));
    }
    fake_serve_pings(fd);
}

static void late_clocks_are_set_again(void **state)
{
    static const fake_script scripts[] = {agent_resumes_late};
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = fake_new(scripts, 1);

    (void)state;
    if (pv_resume_meet(g, pv_deadline(10 * PV_NSEC_PER_SEC), &err) < 0)
        fail_msg("%s", err.text);
    fake_free(g);
}

static void agent_spawns(int fd)
{
    struct fake_req r;
    struct pv_enc e;

    fake_expect(fd, &r, PV_MSG_SPAWN);
    e = fake_begin(PV_MSG_WORKER, r.id);
    pv_enc_u32(&e, (uint32_t)said);
    pv_enc_u32(&e, 101);
    fake_send(fd, &e);
}

static void ports_have_a_range(void **state)
{
    static const uint32_t ports[] = {0, 1, 1023, PV_AGENT_PORT, UINT32_MAX};
    static const fake_script scripts[] = {agent_spawns, fake_serve_pings};

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(ports); i++) {
        struct pv_err err = PV_ERR_INIT;
        struct pv_guest *g;

        said = ports[i];
        g = fake_new(scripts, 2);
        assert_null(pv_worker_spawn(g, false, 0, &err));
        assert_err(&err, PV_E_PROTOCOL, "malformed WORKER");
        fake_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_has_a_limit),
        cmocka_unit_test(clocks_have_a_range),
        cmocka_unit_test(late_clocks_are_set_again),
        cmocka_unit_test(ports_have_a_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
