/* SPDX-License-Identifier: MIT */
/* Processes and followed files against an agent that the test plays, one that lies among others. */
#include "util/test.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "guest/fake-agent.h"
#include "guest/follow.h"
#include "guest/held.h"
#include "guest/process.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/spool.h"

#define LIMIT (20 * PV_NSEC_PER_SEC)

enum { WINDOW = 256 * 1024 };

static void assert_err(const struct pv_err *err, enum pv_err_class cls, const char *text)
{
    if (err->cls != cls || !strstr(err->text, text))
        fail_msg("expected class %s with '%s', got class %s: %s", pv_err_class_name(cls), text,
                 pv_err_class_name(err->cls), err->text);
}

static void assert_output(struct pv_process *p, int which, const char *want)
{
    struct pv_reader r = {.spool = pv_process_output(p, which)};
    cleanup_buf struct pv_buf out = {0};

    pv_reader_take(&r, pv_spool_end(r.spool), &out);
    assert_string_equal(out.data, want);
}

static struct pv_process *start(struct pv_guest *g, struct pv_err *err)
{
    struct pv_exec x = {0};
    struct pv_process *p;

    pv_strv_add(&x.argv, "prog\033");
    p = pv_process_start(pv_guest_agent(g), &x, true, "x.lua:12", err);
    pv_strv_free(&x.argv);
    return p;
}

/* ---- the agent's side ---- */

static void send_started(int fd, uint32_t id, uint32_t pid)
{
    struct pv_enc e = fake_begin(PV_MSG_STARTED, id);

    pv_enc_u32(&e, pid);
    fake_send(fd, &e);
}

static void send_taken(int fd, uint32_t id, uint64_t taken, uint32_t closed)
{
    struct pv_enc e = fake_begin(PV_MSG_TAKEN, id);

    pv_enc_u64(&e, taken);
    pv_enc_u32(&e, closed);
    fake_send(fd, &e);
}

static void send_text(int fd, unsigned type, uint32_t id, const char *text)
{
    struct pv_enc e = fake_begin(type, id);

    pv_enc_bytes(&e, text, strlen(text));
    fake_send(fd, &e);
}

static void send_exit(int fd, uint32_t id, uint32_t code)
{
    struct pv_enc e = fake_begin(PV_MSG_EXIT, id);

    pv_enc_u32(&e, code);
    for (int i = 0; i < 2; i++)
        pv_enc_u32(&e, 0);
    pv_enc_u64(&e, 0);
    fake_send(fd, &e);
}

/* Gets STDIN frames; sends TAKEN behind each. Checks the window. */
static void take_input(int fd, uint32_t id, uint64_t n)
{
    struct fake_req r;
    size_t got;

    for (uint64_t taken = 0; taken < n; send_taken(fd, id, taken, 0)) {
        fake_expect(fd, &r, PV_MSG_STDIN);
        pv_dec_bytes(&r.d, &got);
        taken += got;
        FAKE_CHECK(got > 0 && got <= WINDOW);
    }
}

static void agent_runs_it(int fd)
{
    struct fake_req r;
    uint32_t id;

    fake_expect(fd, &r, PV_MSG_EXEC);
    id = r.id;
    FAKE_CHECK(pv_dec_u32(&r.d) == (PV_EXEC_PROCESS | PV_EXEC_STDIN));
    send_started(fd, id, 4711);
    send_text(fd, PV_MSG_STDOUT, id, "out");
    send_text(fd, PV_MSG_STDERR, id, "err");
    take_input(fd, id, 1000000);
    fake_expect(fd, &r, PV_MSG_SIGNAL);
    FAKE_CHECK(pv_dec_u32(&r.d) == SIGTERM);
    fake_expect(fd, &r, PV_MSG_STDIN);
    send_exit(fd, id, 3);
}

static void agent_takes_nothing(int fd)
{
    struct fake_req r;
    uint32_t id, cancelled;
    size_t got, sum = 0;

    fake_expect(fd, &r, PV_MSG_EXEC);
    id = r.id;
    send_started(fd, id, 4711);
    for (fake_get(fd, &r); r.type == PV_MSG_STDIN; fake_get(fd, &r)) {
        pv_dec_bytes(&r.d, &got);
        sum += got;
    }
    FAKE_CHECK(sum == WINDOW);
    FAKE_CHECK(r.type == PV_MSG_CANCEL);
    cancelled = r.id;
    FAKE_CHECK(cancelled == id);
    send_exit(fd, id, 137);
}

static void agent_says_closed(int fd)
{
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_EXEC);
    send_started(fd, r.id, 4711);
    fake_expect(fd, &r, PV_MSG_STDIN);
    send_taken(fd, r.id, 0, 1);
    fake_serve_pings(fd);
}

static void agent_cannot(int fd)
{
    struct fake_req r;

    fake_get(fd, &r);
    fake_error(fd, r.id, 2, "exec 'prog\033'");
}

static void agent_ends_unstarted(int fd)
{
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_EXEC);
    send_exit(fd, r.id, 0);
}

static void agent_fails_late(int fd)
{
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_EXEC);
    send_started(fd, r.id, 4711);
    fake_error(fd, r.id, 5, "exec 'late'");
}

static void agent_closes(int fd)
{
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_EXEC);
    send_started(fd, r.id, 4711);
    send_text(fd, PV_MSG_STDOUT, r.id, "last words");
}

/* Ways to break the protocol. */
static void lie_taken_too_much(int fd, uint32_t id)
{
    send_taken(fd, id, 1, 0);
}

static void lie_taken_flag(int fd, uint32_t id)
{
    send_taken(fd, id, 0, 2);
}

static void lie_started_twice(int fd, uint32_t id)
{
    send_started(fd, id, 4712);
}

static void lie_other_reply(int fd, uint32_t id)
{
    send_text(fd, PV_MSG_DATA, id, "data");
}

static void (*const lies[])(int fd, uint32_t id) = {lie_taken_too_much, lie_taken_flag, lie_started_twice,
                                                    lie_other_reply};
static size_t lie;

static void agent_lies(int fd)
{
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_EXEC);
    send_started(fd, r.id, 4711);
    lies[lie](fd, r.id);
    fake_serve_pings(fd);
}

static void agent_follows(int fd)
{
    struct fake_req r;

    fake_expect(fd, &r, PV_MSG_FOLLOW);
    FAKE_CHECK(pv_dec_u32(&r.d) == PV_FOLLOW_OFFSET && pv_dec_u64(&r.d) == 7);
    send_started(fd, r.id, 0);
    send_text(fd, PV_MSG_DATA, r.id, "line\n");
    fake_error(fd, r.id, 5, "read '/x'");
}

/* ---- tests ---- */

static void a_process_runs(void **state)
{
    static const fake_script scripts[] = {agent_runs_it};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *big = pv_xcalloc(1, 1000000);
    struct pv_process *p = start(g, &err);

    (void)state;
    if (!p)
        fail_msg("%s", err.text);
    assert_int_equal(pv_process_pid(p), 4711);
    assert_int_equal(pv_held_check_none(g, "snapshot", &err), -1);
    assert_err(&err, PV_E_USAGE, "the process 'prog\\x1b' is open, opened at x.lua:12");
    assert_int_equal(pv_process_write(p, big, 1000000, LIMIT, &err), 0);
    pv_process_signal(p, SIGTERM);
    assert_int_equal(pv_process_wait(p, pv_deadline(100 * PV_NSEC_PER_MSEC), &err), 1);
    assert_true(pv_process_running(p));
    pv_process_close_stdin(p);
    assert_int_equal(pv_process_wait(p, pv_deadline(LIMIT), &err), 0);
    assert_int_equal(pv_process_result(p)->exit_code, 3);
    assert_output(p, 0, "out");
    assert_output(p, 1, "err");
    assert_int_equal(pv_held_check_none(g, "snapshot", &err), 0);
    pv_process_signal(p, SIGTERM);
    assert_int_equal(pv_process_kill(p, LIMIT, &err), 0);
    assert_int_equal(pv_process_write(p, "x", 1, LIMIT, &err), -1);
    assert_err(&err, PV_E_USAGE, "is not open");
    pv_process_unref(p);
    fake_free(g);
}

static void input_that_is_not_read(void **state)
{
    static const fake_script scripts[] = {agent_takes_nothing};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *big = pv_xcalloc(1, 1000000);
    struct pv_process *p = start(g, &err);

    (void)state;
    assert_int_equal(pv_process_write(p, big, 1000000, 200 * PV_NSEC_PER_MSEC, &err), -1);
    assert_err(&err, PV_E_TIMEOUT, "1000000 bytes were not taken within 0.2 s");
    assert_int_equal(pv_process_kill(p, LIMIT, &err), 0);
    assert_int_equal(pv_process_result(p)->exit_code, 137);
    assert_int_equal(pv_process_write(p, "x", 1, LIMIT, &err), -1);
    assert_err(&err, PV_E_GUEST, "has ended with");
    pv_process_unref(p);
    fake_free(g);
}

static void a_closed_stdin(void **state)
{
    static const fake_script scripts[] = {agent_says_closed};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_err err = PV_ERR_INIT;
    struct pv_process *p = start(g, &err);

    (void)state;
    assert_int_equal(pv_process_write(p, "x", 1, LIMIT, &err), -1);
    assert_err(&err, PV_E_GUEST, "has closed its stdin");
    pv_process_unref(p); /* goes on; the guest's end closes it */
    fake_free(g);
}

static void a_start_that_fails(void **state)
{
    static const fake_script scripts[] = {agent_cannot, agent_cannot};
    struct pv_guest *g = fake_new(scripts, 2);
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_null(start(g, &err));
    assert_err(&err, PV_E_GUEST, "exec 'prog?'");
    assert_null(pv_follow_open(pv_guest_agent(g), "/x", PV_FOLLOW_END, 0, NULL, &err));
    assert_err(&err, PV_E_GUEST, "exec 'prog?'");
    assert_null(pv_follow_open(pv_guest_agent(g), "", PV_FOLLOW_END, 0, NULL, &err));
    assert_err(&err, PV_E_USAGE, "a guest path");
    assert_null(g->held);
    fake_free(g);
}

/* Neither may look like a command that went well. */
static void a_reply_that_makes_no_sense(void **state)
{
    static const fake_script scripts[] = {agent_ends_unstarted, agent_fails_late};
    struct pv_guest *g = fake_new(scripts, 2);
    struct pv_err err = PV_ERR_INIT;
    struct pv_process *p;

    (void)state;
    assert_null(start(g, &err));
    assert_err(&err, PV_E_PROTOCOL, "an end without a start");
    p = start(g, &err);
    assert_non_null(p);
    assert_int_equal(pv_process_wait(p, pv_deadline(LIMIT), &err), -1);
    assert_err(&err, PV_E_GUEST, "exec 'late'");
    pv_process_unref(p);
    fake_free(g);
}

static void a_connection_that_ends(void **state)
{
    static const fake_script scripts[] = {agent_closes};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_err err = PV_ERR_INIT;
    struct pv_process *p = start(g, &err);

    (void)state;
    assert_int_equal(pv_process_wait(p, pv_deadline(LIMIT), &err), -1);
    assert_false(pv_process_running(p));
    assert_output(p, 0, "last words");
    pv_process_unref(p);
    pv_guest_kill(g);
    fake_free(g);
}

static void a_death_of_the_guest(void **state)
{
    static const fake_script scripts[] = {agent_says_closed};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_err err = PV_ERR_INIT;
    struct pv_process *p = start(g, &err);

    (void)state;
    pv_guest_kill(g);
    assert_false(pv_process_running(p));
    assert_int_equal(pv_process_wait(p, pv_deadline(LIMIT), &err), -1);
    assert_err(&err, PV_E_USAGE, "is killed");
    pv_process_signal(p, SIGTERM);
    assert_int_equal(pv_process_kill(p, LIMIT, &err), 0);
    pv_process_unref(p);
    fake_free(g);
}

static void lies_break_the_session(void **state)
{
    static const fake_script scripts[] = {agent_lies};

    (void)state;
    for (lie = 0; lie < PV_ARRAY_LEN(lies); lie++) {
        struct pv_guest *g = fake_new(scripts, 1);
        struct pv_err err = PV_ERR_INIT;
        struct pv_process *p = start(g, &err);

        if (!p)
            fail_msg("%s", err.text);
        assert_int_equal(pv_process_wait(p, pv_deadline(LIMIT), &err), -1);
        assert_err(&err, PV_E_PROTOCOL, "the agent sent");
        pv_process_unref(p);
        pv_guest_kill(g);
        fake_free(g);
    }
}

static void a_followed_file(void **state)
{
    static const fake_script scripts[] = {agent_follows};
    struct pv_guest *g = fake_new(scripts, 1);
    struct pv_err err = PV_ERR_INIT;
    struct pv_follow *f = pv_follow_open(pv_guest_agent(g), "/x", PV_FOLLOW_OFFSET, 7, "x.lua:1", &err);

    (void)state;
    if (!f)
        fail_msg("%s", err.text);
    pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(300 * PV_NSEC_PER_MSEC), NULL);
    assert_false(pv_follow_is_open(f));
    assert_int_equal(pv_spool_end(pv_follow_spool(f)), 5);
    pv_follow_why(f, &err);
    assert_err(&err, PV_E_GUEST, "read '/x': Input/output error");
    pv_follow_close(f);
    fake_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_runs),
        cmocka_unit_test(input_that_is_not_read),
        cmocka_unit_test(a_closed_stdin),
        cmocka_unit_test(a_start_that_fails),
        cmocka_unit_test(a_reply_that_makes_no_sense),
        cmocka_unit_test(a_connection_that_ends),
        cmocka_unit_test(a_death_of_the_guest),
        cmocka_unit_test(lies_break_the_session),
        cmocka_unit_test(a_followed_file),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
