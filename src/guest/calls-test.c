/* SPDX-License-Identifier: MIT */
/* System calls, jobs and workers against honest, lying and dying agents. */
#include "util/test.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "guest/fake-agent.h"
#include "guest/instance.h"
#include "guest/session.h"
#include "guest/worker.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "vm/vm.h"

#define PING_LIMIT (5 * PV_NSEC_PER_SEC)

static int variant;
static pid_t vm_pid;

static void assert_err(const struct pv_err *err, enum pv_err_class cls, const char *text)
{
    if (err->cls != cls || !strstr(err->text, text))
        fail_msg("expected class %s with '%s', got class %s: %s", pv_err_class_name(cls), text,
                 pv_err_class_name(err->cls), err->text);
}

static void assert_pings(struct pv_guest *g)
{
    struct pv_err err = PV_ERR_INIT;

    if (pv_agent_ping(pv_guest_agent(g), "x", 1, PING_LIMIT, &err) < 0)
        fail_msg("%s", err.text);
}

/* ---- system calls ---- */

static void refused_before_sending(void **state)
{
    static char big[PV_FRAME_MAX];
    static const struct pv_sys_buf one[] = {{0, "12345678", 8}}, slot6[] = {{6, "", 0}},
                                   twice[] = {{2, "a", 1}, {2, "b", 1}}, large[] = {{0, big, sizeof(big)}};
    static const struct pv_sys_ptr far[] = {{0, 1, 4, false, "", 0}},
                                   wrap[] = {{0, 0xfffffffc, 4, false, "", 0}},
                                   nobuf[] = {{1, 0, 4, false, "", 0}}, more[] = {{0, 0, 1, false, "ab", 2}},
                                   vast[] = {{0, 0, 0xffffffff, true, "", 0}};
    static const struct {
        struct pv_syscall c;
        const char *text;
    } bad[] = {
        {{.bufs = slot6, .n_bufs = 1}, "argument 6"},
        {{.bufs = twice, .n_bufs = 2}, "argument 2 has two"},
        {{.bufs = large, .n_bufs = 1}, "1048576"},
        {{.bufs = one, .n_bufs = 1, .ptrs = far, .n_ptrs = 1}, "offset 1 needs 8 bytes"},
        {{.bufs = one, .n_bufs = 1, .ptrs = wrap, .n_ptrs = 1}, "needs 8 bytes"},
        {{.bufs = one, .n_bufs = 1, .ptrs = nobuf, .n_ptrs = 1},
         "buffer 1, but there are 1 and 0 pointers in front"},
        {{.bufs = one, .n_bufs = 1, .ptrs = more, .n_ptrs = 1}, "2 bytes of data for 1 bytes"},
        {{.bufs = one, .n_bufs = 1, .ptrs = vast, .n_ptrs = 1}, "4294967295"},
        {{.ptrs = far, .n_ptrs = 65}, "65 pointers"},
        {{.timeout_ns = -1}, "negative"},
    };
    struct pv_guest *g = fake_new(NULL, 0); /* without an agent */

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        struct pv_err err = PV_ERR_INIT;
        struct pv_sysret r;

        assert_int_equal(pv_agent_syscall(pv_guest_agent(g), &bad[i].c, &r, &err), -1);
        assert_err(&err, PV_E_USAGE, bad[i].text);
    }
    fake_free(g);
}

/* Replies with the encoding that `variant` selects; 0 is the correct one. */
static void syscall_agent(int fd)
{
    struct fake_req r;
    struct pv_enc e;
    size_t n;

    fake_expect(fd, &r, PV_MSG_SYSCALL);
    FAKE_CHECK(pv_dec_u64(&r.d) == 1500);
    FAKE_CHECK(pv_dec_u32(&r.d) == 0);
    FAKE_CHECK(pv_dec_u64(&r.d) == UINT64_MAX);
    for (uint64_t i = 0; i < 6; i++)
        FAKE_CHECK(pv_dec_u64(&r.d) == (uint64_t)INT64_MIN + i);
    FAKE_CHECK(pv_dec_u32(&r.d) == 2);
    FAKE_CHECK(pv_dec_u32(&r.d) == 5 && !memcmp(pv_dec_bytes(&r.d, &n), "0123456789", 10) && n == 10);
    FAKE_CHECK(pv_dec_u32(&r.d) == 0 && pv_dec_bytes(&r.d, &n) && n == 0);
    FAKE_CHECK(pv_dec_u32(&r.d) == 2);
    FAKE_CHECK(pv_dec_u32(&r.d) == 0 && pv_dec_u32(&r.d) == 2 && pv_dec_u32(&r.d) == 3 &&
               pv_dec_u32(&r.d) == PV_PTR_OUTPUT && pv_dec_bytes(&r.d, &n) && n == 0);
    FAKE_CHECK(pv_dec_u32(&r.d) == 0 && pv_dec_u32(&r.d) == 0 && pv_dec_u32(&r.d) == 3 &&
               pv_dec_u32(&r.d) == 0 && !memcmp(pv_dec_bytes(&r.d, &n), "ab", 2) && n == 2);
    FAKE_CHECK(pv_dec_done(&r.d));
    e = fake_begin(PV_MSG_SYSRET, variant == 5 ? r.id + 1 : r.id);
    pv_enc_u64(&e, (uint64_t)INT64_MIN);
    pv_enc_u32(&e, variant == 1 ? 2 : variant == 2 ? UINT32_MAX : 3);
    pv_enc_bytes(&e, "ABCDEFGHIJ", variant == 3 ? 9 : 10);
    pv_enc_bytes(&e, "", 0);
    pv_enc_bytes(&e, "\0\1\2", 3);
    if (variant == 4)
        pv_enc_u32(&e, 0);
    if (variant == 6)
        fake_ok(fd, r.id, 0);
    if (variant == 7)
        fake_error(fd, r.id, ETIMEDOUT, "syscall");
    else
        fake_send(fd, &e);
    if (variant == 5) { /* a stale reply, then the correct one */
        e = fake_begin(PV_MSG_SYSRET, r.id);
        pv_enc_u64(&e, (uint64_t)INT64_MIN);
        pv_enc_u32(&e, 3);
        pv_enc_bytes(&e, "ABCDEFGHIJ", 10);
        pv_enc_bytes(&e, "", 0);
        pv_enc_bytes(&e, "\0\1\2", 3);
        fake_send(fd, &e);
    }
    fake_serve_pings(fd);
}

static int syscall_once(struct pv_guest *g, struct pv_sysret *r, struct pv_err *err)
{
    static const struct pv_sys_buf bufs[] = {{5, "0123456789", 10}, {0, NULL, 0}};
    static const struct pv_sys_ptr ptrs[] = {{0, 2, 3, true, NULL, 0}, {0, 0, 3, false, "ab", 2}};
    struct pv_syscall c = {.nr = UINT64_MAX,
                           .bufs = bufs,
                           .n_bufs = 2,
                           .ptrs = ptrs,
                           .n_ptrs = 2,
                           .timeout_ns = 1499 * PV_NSEC_PER_MSEC + 1};

    for (uint64_t i = 0; i < 6; i++)
        c.args[i] = (uint64_t)INT64_MIN + i;
    return pv_agent_syscall(pv_guest_agent(g), &c, r, err);
}

static void valid_replies(void **state)
{
    static const fake_script scripts[] = {syscall_agent};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct pv_guest *g = fake_new(scripts, 1);
        struct pv_err err = PV_ERR_INIT;
        struct pv_sysret r;

        variant = i ? 5 : 0;
        if (syscall_once(g, &r, &err) < 0)
            fail_msg("%s", err.text);
        assert_true(r.value == INT64_MIN);
        assert_int_equal(r.n_out, 3);
        assert_int_equal(r.out[0].len, 10);
        assert_memory_equal(r.out[0].data, "ABCDEFGHIJ", 10);
        assert_int_equal(r.out[1].len, 0);
        assert_int_equal(r.out[2].len, 3);
        assert_memory_equal(r.out[2].data, "\0\1\2", 3);
        pv_sysret_fini(&r);
        assert_pings(g);
        fake_free(g);
    }
}

static void invalid_replies(void **state)
{
    static const fake_script scripts[] = {syscall_agent, fake_serve_pings};

    (void)state;
    for (variant = 1; variant <= 7; variant++) {
        struct pv_guest *g;
        struct pv_err err = PV_ERR_INIT;
        struct pv_sysret r;

        if (variant == 5)
            continue;
        g = fake_new(scripts, 2);
        assert_int_equal(syscall_once(g, &r, &err), -1);
        assert_err(&err, variant == 7 ? PV_E_TIMEOUT : PV_E_PROTOCOL,
                   variant == 7   ? "was interrupted"
                   : variant == 6 ? "no answer to this request"
                                  : "does not fit");
        assert_int_equal(r.n_out, 0);
        assert_null(r.out);
        assert_pings(g); /* in a new session, except after the timeout */
        fake_free(g);
    }
}

/* ---- deaths ---- */

static void agent_dies_in_call(int fd)
{
    struct fake_req r;

    fake_get(fd, &r);
}

static void agent_knows_status(int fd)
{
    struct fake_req r;
    struct pv_enc e;

    fake_expect(fd, &r, PV_MSG_STATUS);
    FAKE_CHECK(pv_dec_u32(&r.d) == 100);
    e = fake_begin(PV_MSG_JOB_STATE, r.id);
    pv_enc_u32(&e, 0);
    pv_enc_u32(&e, 139);
    pv_enc_u32(&e, SIGSEGV);
    fake_send(fd, &e);
    fake_serve_pings(fd);
}

static void crash_is_reported_quickly(void **state)
{
    static const fake_script scripts[] = {agent_dies_in_call, agent_knows_status};
    struct pv_guest *g = fake_new(scripts, 2);
    struct pv_syscall c = {.nr = 0};
    struct pv_err err = PV_ERR_INIT;
    int64_t start = pv_now();
    struct pv_sysret r;

    (void)state;
    assert_int_equal(pv_agent_syscall(pv_guest_agent(g), &c, &r, &err), -1);
    assert_err(&err, PV_E_GUEST_DIED, "(pid 100) was killed by SIGSEGV");
    assert_true(pv_now() - start < PV_NSEC_PER_SEC);
    assert_int_equal(pv_guest_state(g), PV_GUEST_RUNNING);
    assert_pings(g);
    fake_free(g);
}

static void agent_ends_vm(int fd)
{
    struct fake_req r;

    fake_get(fd, &r);
    kill(vm_pid, SIGKILL);
}

static void a_dead_vm_has_priority(void **state)
{
    static const fake_script scripts[] = {agent_ends_vm};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_err err = PV_ERR_INIT;
    struct pv_syscall c = {.nr = 0};
    struct pv_sysret r;

    (void)state;
    vm_pid = pv_vm_pid(pv_instance_vm(g->instance));
    assert_int_equal(pv_agent_syscall(pv_guest_agent(g), &c, &r, &err), -1);
    assert_err(&err, PV_E_GUEST_DIED, "vm");
    assert_err(&err, PV_E_GUEST_DIED, "died: ");
    assert_int_equal(pv_guest_state(g), PV_GUEST_DEAD);
    fake_free(g);
}

/* ---- floods and silence ---- */

static void agent_floods(int fd)
{
    static char bytes[65536];
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_READ_FILE);
    for (;;) {
        struct pv_enc e = fake_begin(PV_MSG_DATA, r.id);

        pv_enc_bytes(&e, bytes, sizeof(bytes));
        fake_send(fd, &e);
    }
}

static int sink_million(void *arg, const void *data, size_t n)
{
    size_t *sum = arg;

    (void)data;
    *sum += n;
    return *sum > 1000000 ? -1 : 0;
}

static int sink_all(void *arg, const void *data, size_t n)
{
    *(size_t *)arg += n;
    (void)data;
    return 0;
}

/* An agent floods the host: the call ends when its sink fails, and at its deadline. */
static void flood_is_bounded(void **state)
{
    static const fake_script scripts[] = {agent_floods, agent_floods, fake_serve_pings};
    struct pv_guest *g = fake_new(scripts, 3);
    struct pv_err err = PV_ERR_INIT;
    int64_t start = pv_now();
    size_t sum = 0;

    (void)state;
    assert_int_equal(pv_agent_read_file_to(pv_guest_agent(g), "/x", 0, sink_million, &sum, &err), -1);
    assert_err(&err, PV_E_HOST, "given up by the host");
    assert_true(sum < 1100000);
    assert_int_equal(
        pv_agent_read_file_to(pv_guest_agent(g), "/x", 100 * PV_NSEC_PER_MSEC, sink_all, &sum, &err), -1);
    assert_err(&err, PV_E_TIMEOUT, "no answer within 0.1 s");
    assert_true(pv_now() - start < 10 * PV_NSEC_PER_SEC);
    assert_pings(g);
    fake_free(g);
}

static void agent_is_silent(int fd)
{
    struct fake_req r;

    for (;;)
        fake_get(fd, &r);
}

/* An agent that reads nothing, so that the host cannot even send the whole request. */
static void agent_is_stuck(int fd)
{
    struct pollfd p = {.fd = fd, .events = 0};

    poll(&p, 1, -1); /* until the host closes */
}

static void silence_times_out(void **state)
{
    static const fake_script scripts[] = {agent_is_silent, agent_is_stuck, fake_serve_pings};
    struct pv_guest *g = fake_new(scripts, 3);
    struct pv_err err = PV_ERR_INIT;
    char *much = pv_xcalloc(1, 4 << 20);
    pid_t qemu = pv_vm_pid(pv_instance_vm(g->instance));

    (void)state;
    kill(qemu, SIGSTOP);
    assert_int_equal(pv_agent_mount_vfs(pv_guest_agent(g), 50 * PV_NSEC_PER_MSEC, &err), -1);
    assert_err(&err, PV_E_TIMEOUT, "mount_vfs on vm");
    assert_non_null(strstr(err.text, "is stopped by a signal"));
    kill(qemu, SIGCONT);
    assert_int_equal(
        pv_agent_write_file(pv_guest_agent(g), "/x", much, 4 << 20, 0, 0, 50 * PV_NSEC_PER_MSEC, &err), -1);
    assert_err(&err, PV_E_TIMEOUT, "write_file '/x' on vm");
    assert_null(strstr(err.text, "is stopped by a signal"));
    free(much);
    assert_pings(g);
    fake_free(g);
}

static unsigned notices;

static void count_notice(const char *line, void *arg)
{
    (void)arg;
    assert_non_null(strstr(line, "went away between two calls"));
    notices++;
}

static void agent_replies_once(int fd)
{
    struct fake_req r;
    struct pv_enc e;

    fake_expect(fd, &r, PV_MSG_PING);
    e = fake_begin(PV_MSG_PONG, r.id);
    pv_enc_bytes(&e, "x", 1);
    fake_send(fd, &e);
}

static bool session_broken(void *arg)
{
    return pv_agent_session(arg)->state == PV_SESSION_BROKEN;
}

static void lost_process_is_reported(void **state)
{
    static const fake_script scripts[] = {agent_replies_once, fake_serve_pings};
    struct pv_guest *g = fake_new(scripts, 2);
    struct pv_guest_env env = *g->env;

    (void)state;
    notices = 0;
    env.observer.notice = count_notice;
    g->env = &env;
    assert_pings(g);
    assert_int_equal(pv_guest_wait(g, session_broken, pv_guest_agent(g), pv_deadline(PING_LIMIT), NULL), 0);
    assert_pings(g);
    assert_pings(g);
    assert_int_equal(notices, 1);
    fake_free(g);
}

/* ---- workers ---- */

static void agent_spawns_one(int fd)
{
    struct fake_req r;
    struct pv_enc e;

    fake_expect(fd, &r, PV_MSG_SPAWN);
    FAKE_CHECK(pv_dec_u32(&r.d) == 0 && pv_dec_done(&r.d));
    e = fake_begin(PV_MSG_WORKER, r.id);
    pv_enc_u32(&e, 6000);
    pv_enc_u32(&e, 101);
    fake_send(fd, &e);
    fake_expect(fd, &r, PV_MSG_STATUS);
    FAKE_CHECK(pv_dec_u32(&r.d) == 101);
    e = fake_begin(PV_MSG_JOB_STATE, r.id);
    pv_enc_u32(&e, 0);
    pv_enc_u32(&e, 1);
    pv_enc_u32(&e, 0);
    fake_send(fd, &e);
    fake_serve_pings(fd);
}

static void worker_calls(void **state)
{
    static const fake_script scripts[] = {agent_spawns_one, agent_dies_in_call};
    struct pv_guest *g = fake_new(scripts, 2);
    struct pv_err err = PV_ERR_INIT;
    struct pv_worker *w;

    (void)state;
    w = pv_worker_spawn(g, false, 0, &err);
    if (!w)
        fail_msg("%s", err.text);
    assert_ptr_equal(pv_worker_guest(w), g);
    assert_int_equal(pv_worker_state(w), PV_GUEST_RUNNING);
    assert_int_equal(pv_agent_ping(pv_worker_agent(w), "x", 1, PING_LIMIT, &err), -1);
    assert_err(&err, PV_E_GUEST_DIED, "worker 1 (pid 101) of vm");
    assert_err(&err, PV_E_GUEST_DIED, "exited with status 1");
    assert_int_equal(pv_worker_state(w), PV_GUEST_DEAD);
    assert_int_equal(pv_agent_ping(pv_worker_agent(w), "x", 1, PING_LIMIT, &err), -1);
    assert_err(&err, PV_E_GUEST_DIED, "exited with status 1");
    assert_pings(g);
    pv_guest_kill(g);
    assert_int_equal(pv_worker_state(w), PV_GUEST_KILLED);
    pv_worker_free(w);
    fake_free(g);
}

/* ---- ends ---- */

static void agent_shuts_down(int fd)
{
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_SHUTDOWN);
    fake_ok(fd, r.id, 0);
    fake_serve_pings(fd);
}

static void a_panic_during_shutdown_is_an_error(void **state)
{
    static const fake_script scripts[] = {agent_shuts_down};
    static const char panics[] = "sleep 1; echo '[ 1.0] Kernel panic - not syncing: no way down'; exit 0";
    struct pv_guest *g = fake_new_on(panics, scripts, 1);
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_int_equal(pv_guest_shutdown(g, PING_LIMIT, &err), -1);
    assert_err(&err, PV_E_GUEST_DIED, "panicked while it shut down: no way down");
    assert_int_equal(err.died, PV_DIED_PANIC);
    assert_int_equal(pv_guest_state(g), PV_GUEST_SHUT_DOWN);
    assert_true(pv_guest_panic_suspected(g));
    pv_guest_kill(g); /* no effect: it has ended */
    assert_int_equal(pv_guest_state(g), PV_GUEST_SHUT_DOWN);
    fake_free(g);
}

static unsigned findings;

static void count_finding(const struct pv_guest *g, const struct pv_finding *f, void *arg)
{
    (void)g;
    (void)arg;
    assert_int_equal(f->kind, PV_FINDING_WARNING);
    findings++;
}

/* A finding of an instance without a guest is passed to the guest that gets the instance next. */
static void a_finding_without_owner_is_kept(void **state)
{
    static const char warns[] =
        "echo '[    1.000000] WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1/0x2'; exec sleep 20";
    struct pv_guest *g = fake_new_on(warns, NULL, 0);
    struct pv_guest_env env = *g->env;
    struct pv_instance *i = pv_guest_release(g);

    (void)state;
    findings = 0;
    env.observer.finding = count_finding;
    pv_loop_run(env.host.loop, NULL, NULL, pv_deadline(PV_NSEC_PER_SEC / 2), NULL);
    pv_instance_settle_findings(i);
    assert_int_equal(findings, 0);
    g->env = &env;
    pv_guest_begin(g);
    pv_guest_adopt(g, i);
    assert_int_equal(findings, 1);
    pv_guest_kill(g);
    assert_int_equal(findings, 1);
    fake_free(g);
}

/* ---- jobs ---- */

static void job_state(int fd, uint32_t id, uint32_t running, uint32_t code)
{
    struct pv_enc e = fake_begin(PV_MSG_STDOUT, id);

    pv_enc_bytes(&e, "out", 3);
    fake_send(fd, &e);
    e = fake_begin(PV_MSG_JOB_STATE, id);
    pv_enc_u32(&e, running);
    pv_enc_u32(&e, code);
    pv_enc_u32(&e, 0);
    fake_send(fd, &e);
}

static void agent_has_jobs(int fd)
{
    struct fake_req r;
    struct pv_enc e;

    fake_expect(fd, &r, PV_MSG_JOB_START);
    e = fake_begin(PV_MSG_JOB, r.id);
    pv_enc_u32(&e, 7);
    pv_enc_u32(&e, 1234);
    fake_send(fd, &e);
    fake_expect(fd, &r, PV_MSG_JOB_WAIT);
    FAKE_CHECK(pv_dec_u32(&r.d) == 7 && pv_dec_u64(&r.d) == 0 && pv_dec_done(&r.d));
    job_state(fd, r.id, 1, 0);
    fake_expect(fd, &r, PV_MSG_JOB_KILL);
    job_state(fd, r.id, 0, 137);
    fake_expect(fd, &r, PV_MSG_JOB_WAIT);
    fake_error(fd, r.id, ENOENT, "job 8\n\033[2J");
    fake_expect(fd, &r, PV_MSG_JOB_WAIT);
    job_state(fd, r.id, 0, 256);
}

static void job_calls(void **state)
{
    static const fake_script scripts[] = {agent_has_jobs};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_err err = PV_ERR_INIT;
    struct pv_job_state s = {0};
    struct pv_exec x = {0};
    struct pv_job job;

    (void)state;
    assert_int_equal(pv_agent_job_start(pv_guest_agent(g), &x, &job, &err), -1);
    assert_err(&err, PV_E_USAGE, "empty");
    pv_strv_add(&x.argv, "/bin/true");
    assert_int_equal(pv_agent_job_start(pv_guest_agent(g), &x, &job, &err), 0);
    assert_int_equal(job.id, 7);
    assert_int_equal(job.pid, 1234);
    assert_int_equal(pv_agent_job_wait(pv_guest_agent(g), 7, 0, 0, &s, &err), 0);
    assert_true(s.running);
    assert_int_equal(s.exit_code, -1);
    assert_string_equal(s.out.data, "out");
    pv_job_state_fini(&s);
    assert_int_equal(pv_agent_job_kill(pv_guest_agent(g), 7, 0, 0, &s, &err), 0);
    assert_false(s.running);
    assert_int_equal(s.exit_code, 137);
    pv_job_state_fini(&s);
    assert_int_equal(pv_agent_job_wait(pv_guest_agent(g), 8, 0, 0, &s, &err), -1);
    assert_err(&err, PV_E_GUEST, "job 8??[2J");
    assert_int_equal(err.errnum, ENOENT);
    assert_int_equal(pv_agent_job_wait(pv_guest_agent(g), 7, 0, 0, &s, &err), -1);
    assert_err(&err, PV_E_PROTOCOL, "malformed JOB_STATE");
    pv_job_state_fini(&s);
    pv_strv_free(&x.argv);
    fake_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_before_sending),
        cmocka_unit_test(valid_replies),
        cmocka_unit_test(invalid_replies),
        cmocka_unit_test(crash_is_reported_quickly),
        cmocka_unit_test(a_dead_vm_has_priority),
        cmocka_unit_test(flood_is_bounded),
        cmocka_unit_test(silence_times_out),
        cmocka_unit_test(lost_process_is_reported),
        cmocka_unit_test(worker_calls),
        cmocka_unit_test(a_panic_during_shutdown_is_an_error),
        cmocka_unit_test(a_finding_without_owner_is_kept),
        cmocka_unit_test(job_calls),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
