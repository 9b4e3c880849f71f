/* SPDX-License-Identifier: MIT */
/*
 * The monitor against a scripted peer on the other end of a socket pair: a child process that
 * sends its next step for each line that it gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "vm/qmp.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
#define OK_CAPS "{\"return\": {}, \"id\": 1}\r\n"

struct peer {
    struct pv_loop *loop;
    struct pv_qmp *qmp;
    pid_t pid;
    char events[512];
};

static void on_event(void *arg, const char *event, const json_t *data)
{
    struct peer *p = arg;
    size_t len = strlen(p->events);
    const char *reason = json_string_value(json_object_get(data, "reason"));

    snprintf(p->events + len, sizeof(p->events) - len, "%s(%s) ", event, reason ? reason : "");
}

/* Sends steps[0], waits for a line, sends steps[1] ...; then waits until our end is closed. */
static void peer_play(int fd, const char *const *steps)
{
    char c;

    alarm(20);
    for (size_t i = 0; steps[i]; i++) {
        if (pv_write_all(fd, steps[i], strlen(steps[i])) < 0)
            _exit(0);
        if (!steps[i + 1])
            break;
        do
            if (read(fd, &c, 1) != 1)
                _exit(0);
        while (c != '\n');
    }
}

static void peer_begin(struct peer *p, const char *const *steps, bool stay)
{
    int fds[2];

    memset(p, 0, sizeof(*p));
    p->loop = pv_loop_new(NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    fflush(NULL);
    p->pid = fork();
    if (p->pid == 0) {
        char c;

        signal(SIGPIPE, SIG_IGN);
        close(fds[0]);
        peer_play(fds[1], steps);
        while (stay && read(fds[1], &c, 1) == 1)
            ;
        _exit(0);
    }
    close(fds[1]);
    p->qmp = pv_qmp_take_fd(p->loop, fds[0], on_event, p, NULL);
    assert_non_null(p->qmp);
}

static void peer_finish(struct peer *p)
{
    pv_qmp_free(p->qmp);
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
    pv_loop_free(p->loop);
}

static int64_t deadline_soon(void)
{
    return pv_deadline(5 * PV_NSEC_PER_SEC);
}

static void test_call(void **state)
{
    static const char *const steps[] = {
        GREETING,
        OK_CAPS,
        "{\"event\": \"RESUME\", \"data\": {}, \"timestamp\": {\"seconds\": 1}}\r\n"
        "{\"return\": {\"status\": \"running\", \"n\": 9223372036854775807}, \"id\": 2}\r\n"
        "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n",
        "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command x has not been found\"}, "
        "\"id\": "
        "3}\n",
        "{\"return\": [], \"id\": 77}\n{\"return\": [1,2], \"id\": 4}\n",
        NULL};
    struct pv_err err = PV_ERR_INIT;
    char *reply = NULL;
    struct peer p;

    (void)state;
    peer_begin(&p, steps, true);
    if (pv_qmp_call(p.qmp, "query-status", NULL, &reply, deadline_soon(), &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(reply, "{\"status\":\"running\",\"n\":9223372036854775807}");
    free(reply);
    assert_int_equal(pv_qmp_call(p.qmp, "x", "{\"a\": 1}", NULL, deadline_soon(), &err), -1);
    assert_int_equal(err.cls, PV_E_HOST);
    assert_non_null(strstr(err.text, "QMP command 'x'"));
    assert_non_null(strstr(err.text, "has not been found"));
    /* a reply with another id is not the call's */
    assert_int_equal(pv_qmp_call(p.qmp, "y", NULL, &reply, deadline_soon(), &err), 0);
    assert_string_equal(reply, "[1,2]");
    free(reply);
    assert_string_equal(p.events, "RESUME() SHUTDOWN(guest-reset) ");
    assert_true(pv_qmp_was_ready(p.qmp));
    assert_null(pv_qmp_fault(p.qmp));

    err = (struct pv_err)PV_ERR_INIT;
    assert_int_equal(pv_qmp_call(p.qmp, "z", "[1]", NULL, deadline_soon(), &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_int_equal(pv_qmp_call(p.qmp, "z", "{", NULL, deadline_soon(), &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    peer_finish(&p);
}

/* The deadline ends a call without a reply, and the late reply is not the next call's. */
static void test_timeout_and_late_reply(void **state)
{
    static const char *const steps[] = {
        GREETING, OK_CAPS, "", "{\"return\": \"late\", \"id\": 2}\n{\"return\": \"mine\", \"id\": 3}\n",
        NULL};
    struct pv_err err = PV_ERR_INIT;
    char *reply = NULL;
    struct peer p;

    (void)state;
    peer_begin(&p, steps, true);
    assert_int_equal(pv_qmp_call(p.qmp, "a", NULL, &reply, pv_deadline(300 * PV_NSEC_PER_MSEC), &err), -1);
    assert_int_equal(err.cls, PV_E_TIMEOUT);
    assert_int_equal(pv_qmp_call(p.qmp, "b", NULL, &reply, deadline_soon(), &err), 0);
    assert_string_equal(reply, "\"mine\"");
    free(reply);
    peer_finish(&p);
}

/* A malformed message fails the call with class protocol at once and breaks the monitor. */
static const struct {
    const char *steps[4];
    const char *text;
    enum pv_err_class cls;
} bad[] = {
    {{"hello\n"}, "no JSON", PV_E_PROTOCOL},
    {{"{\"return\": {}}\n"}, "greeting", PV_E_PROTOCOL},
    {{"[1,2]\n"}, "no JSON object", PV_E_PROTOCOL},
    {{"{\"QMP\": 5}\n"}, "greeting", PV_E_PROTOCOL},
    {{GREETING, "{\"error\": {\"desc\": \"no\"}, \"id\": 1}\n"}, "qmp_capabilities", PV_E_PROTOCOL},
    {{GREETING, OK_CAPS "{\"foo\": 1}\n"}, "no reply and no event", PV_E_PROTOCOL},
    {{GREETING, OK_CAPS "{\"event\": 7}\n"}, "no reply and no event", PV_E_PROTOCOL},
    {{GREETING, OK_CAPS "{\"return\": 99999999999999999999999999, \"id\": 2}\n"}, "no JSON", PV_E_PROTOCOL},
    {{GREETING, OK_CAPS "{\"x\": \"\xff\xfe\"}\n"}, "no JSON", PV_E_PROTOCOL},
};

static void test_bad_peer(void **state)
{
    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        struct pv_err err = PV_ERR_INIT;
        struct peer p;

        peer_begin(&p, bad[i].steps, true);
        assert_int_equal(pv_qmp_call(p.qmp, "query-status", NULL, NULL, deadline_soon(), &err), -1);
        if (err.cls != bad[i].cls || !strstr(err.text, bad[i].text))
            fail_msg("case %zu: class %s: %s", i, pv_err_class_name(err.cls), err.text);
        assert_non_null(pv_qmp_fault(p.qmp));
        /* the monitor stays broken */
        assert_int_equal(pv_qmp_call(p.qmp, "query-status", NULL, NULL, deadline_soon(), &err), -1);
        assert_int_equal(err.cls, bad[i].cls);
        peer_finish(&p);
    }
}

static void test_peer_closes(void **state)
{
    static const char *const steps[] = {GREETING, OK_CAPS, "{\"event\": \"STOP\"}\n{\"ret", NULL};
    struct pv_err err = PV_ERR_INIT;
    struct peer p;

    (void)state;
    peer_begin(&p, steps, false);
    assert_int_equal(pv_qmp_call(p.qmp, "query-status", NULL, NULL, deadline_soon(), &err), -1);
    assert_int_equal(err.cls, PV_E_GUEST_DIED);
    assert_string_equal(p.events, "STOP() ");
    assert_true(pv_qmp_was_ready(p.qmp));
    peer_finish(&p);
}

/* A line that is too long breaks the monitor. */
static void test_endless_line(void **state)
{
    cleanup_buf struct pv_buf text = {0};
    struct pv_err err = PV_ERR_INIT;
    struct peer p;

    (void)state;
    pv_buf_adds(&text, GREETING "{\"x\": \"");
    for (int i = 0; i < PV_QMP_LINE_MAX + 200000; i++)
        pv_buf_addc(&text, 'a');
    {
        const char *const steps[] = {text.data, NULL};

        peer_begin(&p, steps, true);
    }
    assert_int_equal(pv_qmp_call(p.qmp, "query-status", NULL, NULL, deadline_soon(), &err), -1);
    assert_int_equal(err.cls, PV_E_PROTOCOL);
    assert_non_null(strstr(err.text, "longer than"));
    peer_finish(&p);
}

/* Messages may arrive byte by byte. */
static void test_small_pieces(void **state)
{
    static const char text[] = GREETING OK_CAPS "\r\n{\"event\": \"A\"}\r\n{\"event\": \"B\"}\n";
    struct pv_err err = PV_ERR_INIT;
    struct peer p = {0};
    int fds[2];

    (void)state;
    p.loop = pv_loop_new(NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    p.qmp = pv_qmp_take_fd(p.loop, fds[0], on_event, &p, &err);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        assert_int_equal(write(fds[1], text + i, 1), 1);
        assert_int_not_equal(pv_loop_run(p.loop, NULL, NULL, pv_now() + 100000, NULL), -1);
        pv_qmp_drain(p.qmp);
    }
    assert_string_equal(p.events, "A() B() ");
    assert_true(pv_qmp_was_ready(p.qmp));
    pv_qmp_free(p.qmp);
    close(fds[1]);
    pv_loop_free(p.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call),         cmocka_unit_test(test_timeout_and_late_reply),
        cmocka_unit_test(test_bad_peer),     cmocka_unit_test(test_peer_closes),
        cmocka_unit_test(test_endless_line), cmocka_unit_test(test_small_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
