/* SPDX-License-Identifier: MIT */
/* The real agent binary over a socketpair: commands on a terminal (EXEC with PV_EXEC_PTY, WINDOW). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

enum { ID = 7 };

/* Output of the terminal behind the last text that see() was asked for. */
static struct {
    char p[65536];
    size_t n;
} unseen;

static const uint32_t pty = PV_EXEC_PTY | PV_EXEC_STDIN | PV_EXEC_PROCESS;

static void exec_on(struct client *c, uint32_t flags, uint32_t rows, uint32_t columns, const char *cmd)
{
    static uint8_t frame[65536];
    const char *argv[] = {"/bin/sh", "-c", cmd};
    struct pv_enc e = {.p = frame, .cap = sizeof(frame)};

    unseen.n = 0;
    unseen.p[0] = '\0';
    pv_enc_begin(&e, PV_MSG_EXEC);
    pv_enc_u32(&e, ID);
    pv_enc_u32(&e, flags);
    pv_enc_u64(&e, 0);
    pv_enc_u32(&e, rows);
    pv_enc_u32(&e, columns);
    pv_enc_bytes(&e, "", 0);
    pv_enc_u32(&e, 3);
    for (int i = 0; i < 3; i++)
        pv_enc_bytes(&e, argv[i], strlen(argv[i]));
    pv_enc_u32(&e, 1);
    pv_enc_bytes(&e, "PATH=/usr/bin:/bin", 18);
    cl_send(c, &e);
}

static void send_window(struct client *c, uint32_t rows, uint32_t columns)
{
    static uint8_t frame[64];
    struct pv_enc e = {.p = frame, .cap = sizeof(frame)};

    pv_enc_begin(&e, PV_MSG_WINDOW);
    pv_enc_u32(&e, ID);
    pv_enc_u32(&e, rows);
    pv_enc_u32(&e, columns);
    cl_send(c, &e);
}

static void type(struct client *c, const char *s)
{
    cl_data(c, PV_MSG_STDIN, ID, s, strlen(s));
}

/* Reads output until the text is in it; the next call looks behind the text. */
static void see(struct client *c, const char *text)
{
    const char *at;
    size_t got;

    while (!(at = strstr(unseen.p, text))) {
        assert_int_equal(cl_recv(c, CL_SOON), 1);
        assert_int_not_equal(c->type, PV_MSG_ERROR);
        assert_int_not_equal(c->type, PV_MSG_EXIT);
        if (c->type != PV_MSG_STDOUT)
            continue;
        const void *p = pv_dec_bytes(&c->d, &got);

        assert_true(unseen.n + got < sizeof(unseen.p));
        memcpy(unseen.p + unseen.n, p, got);
        unseen.n += got;
        unseen.p[unseen.n] = '\0';
    }
    at += strlen(text);
    unseen.n -= (size_t)(at - unseen.p);
    memmove(unseen.p, at, unseen.n + 1);
}

static void get_exit(struct client *c, uint32_t code, uint32_t sig)
{
    struct cl_reply a = {0};

    cl_reply(c, ID, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.code, code);
    assert_int_equal(a.signal, sig);
    cl_reply_free(&a);
}

static void test_terminal(void **state)
{
    struct client *c = *state;

    exec_on(c, pty, 31, 97,
            "test -t 0 && test -t 1 && test -t 2 && stty size && tty && echo x >/dev/tty; "
            "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done");
    see(c, "31 97\r\n/dev/pts/");
    see(c, "x\r\nready\r\n");
    send_window(c, 40, 132);
    see(c, "40 132\r\n");
    type(c, "\x03");
    get_exit(c, 130, SIGINT);
}

/* Job control: the terminal's interrupt and stop reach the foreground process, and the shell goes on. */
static void test_job_control(void **state)
{
    static const char foreground[] =
        "sh -c 'echo ru\"\"n; exec sleep 1000'\n"; /* "run": it has the terminal */
    struct client *c = *state;

    exec_on(c, pty, 24, 80, "PS1='$ ' exec sh -i");
    type(c, foreground);
    see(c, "run\r\n");
    type(c, "\x1a");
    see(c, "Stopped");
    type(c, "kill -9 %1; echo go\"\"ing\n");
    see(c, "going");
    type(c, foreground);
    see(c, "run\r\n");
    type(c, "\x03");
    type(c, "echo st=$?; exit 7\n");
    see(c, "st=130");
    get_exit(c, 7, 0);
}

/* All output is sent, also what is on its way through the terminal when the command ends. */
static void test_output_is_whole(void **state)
{
    struct client *c = *state;

    for (int i = 0; i < 20; i++) {
        struct cl_reply a = {0};

        exec_on(c, pty, 24, 80, "stty -opost; head -c 3000 /dev/zero; printf end");
        cl_reply(c, ID, NULL, 0, CL_SOON, &a);
        assert_int_equal(a.type, PV_MSG_EXIT);
        assert_int_equal(a.data[1].n, 3003);
        assert_memory_equal(a.data[1].p + 3000, "end", 3);
        cl_reply_free(&a);
    }
}

static void test_end_of_input(void **state)
{
    struct client *c = *state;

    exec_on(c, pty, 24, 80, "cat; echo one; cat; echo two");
    type(c, "");
    see(c, "one\r\n");
    type(c, "");
    see(c, "two\r\n");
    get_exit(c, 0, 0);
}

/* A shell that ignores its hangup, with a job, goes when the request is cancelled; so does a daemon of it. */
static void test_cancel(void **state)
{
    struct client *c = *state;
    struct cl_reply a = {0};

    exec_on(c, pty, 24, 80, "trap '' HUP INT TERM; setsid sleep 7654321 & echo ready; wait");
    see(c, "ready");
    cl_id(c, PV_MSG_CANCEL, ID);
    cl_reply(c, ID, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.flags, PV_EXIT_CANCELLED);
    cl_reply_free(&a);
    assert_int_not_equal(system("grep -qa '[7]654321' /proc/[0-9]*/cmdline 2>/dev/null"), 0);
}

static void test_malformed(void **state)
{
    static const struct {
        uint32_t flags, rows, columns;
    } bad[] = {{PV_EXEC_PTY, 24, 80},
               {PV_EXEC_PTY | PV_EXEC_STDIN, 24, 80},
               {PV_EXEC_PTY | PV_EXEC_PROCESS, 24, 80},
               {PV_EXEC_PTY | PV_EXEC_STDIN | PV_EXEC_PROCESS, 65536, 80},
               {PV_EXEC_PTY | PV_EXEC_STDIN | PV_EXEC_PROCESS, 24, 0xffffffff}};
    struct client *c = *state;
    struct cl_reply a = {0};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        exec_on(c, bad[i].flags, bad[i].rows, bad[i].columns, "true");
        cl_reply(c, ID, NULL, 0, CL_SOON, &a);
        assert_int_equal(a.errnum, EPROTO);
        cl_reply_free(&a);
    }
    exec_on(c, pty, 24, 80, "sleep 60");
    send_window(c, 24, 65536);
    cl_reply(c, ID, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.errnum, EPROTO);
    cl_reply_free(&a);
    cl_id(c, PV_MSG_CANCEL, ID);
    get_exit(c, 137, SIGKILL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_terminal, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_job_control, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_output_is_whole, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_end_of_input, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_cancel, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_malformed, cl_setup, cl_teardown),
    };

    if (argc != 2)
        return 2;
    cl_agent = argv[1];
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
