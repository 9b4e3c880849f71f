/* SPDX-License-Identifier: MIT */
/* The real agent binary, driven over a socketpair: commands. argv[1] is its path. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

static void get_reply(struct client *c, uint32_t id, struct cl_reply *a)
{
    cl_reply(c, id, NULL, 0, CL_SOON, a);
}

/* Whether a process has this mark in its command line; a zombie has no command line. */
static bool alive(const char *mark)
{
    char cmd[256];

    snprintf(cmd, sizeof(cmd), "grep -qsa -- '%s' /proc/[0-9]*/cmdline", mark);
    /* The command lines of grep and sh must not match: put one letter of the mark in brackets. */
    char *m = strstr(cmd, mark);
    char rest[256];
    snprintf(rest, sizeof(rest), "%s", m + 1);
    snprintf(m, sizeof(cmd) - (size_t)(m - cmd), "[%c]%s", mark[0], rest);
    return system(cmd) == 0;
}

static void gone_soon(const char *mark)
{
    int64_t due = cl_now_ms() + 5000;

    while (alive(mark) && cl_now_ms() < due)
        usleep(10000);
    assert_false(alive(mark));
}

static bool out_is(const struct cl_reply *a, const char *s)
{
    return a->data[1].n == strlen(s) && memcmp(a->data[1].p, s, a->data[1].n) == 0;
}

static void test_ping(void **state)
{
    struct client *c = *state;
    static uint8_t big[PV_FRAME_MAX - 8];
    size_t n;

    memset(big, 0xa5, sizeof(big));
    for (uint32_t id = 1; id < 20; id++) {
        cl_data(c, PV_MSG_PING, id, big, id == 10 ? sizeof(big) : id);
        assert_int_equal(cl_recv(c, CL_SOON), 1);
        assert_int_equal(c->type, PV_MSG_PONG);
        assert_int_equal(c->id, id);
        const void *p = pv_dec_bytes(&c->d, &n);
        assert_int_equal(n, id == 10 ? sizeof(big) : id);
        assert_memory_equal(p, big, n);
    }
}

static void test_exec(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_sh(c, 7, 0, 0, "echo out; echo err >&2; exit 42");
    get_reply(c, 7, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.code, 42);
    assert_int_equal(a.signal, 0);
    assert_int_equal(a.flags, 0);
    assert_true(a.duration > 0 && a.duration < UINT64_C(20000000000));
    assert_true(out_is(&a, "out\n"));
    assert_int_equal(a.data[2].n, 4);
    cl_reply_free(&a);

    cl_sh(c, 8, 0, 0, "kill -SEGV $$");
    get_reply(c, 8, &a);
    assert_int_equal(a.code, 128 + SIGSEGV);
    assert_int_equal(a.signal, SIGSEGV);
    cl_reply_free(&a);
}

/* A command's initial state: directory, environment, session, signals, descriptors, umask, OOM score. */
static void test_exec_world(void **state)
{
    static const char *const env[] = {"A=1", "B=two words", "PATH=/bin", NULL};
    struct client *c = *state;
    struct cl_reply a;

    cl_exec(c, 1, 0, 0, "/usr", (const char *const[]){"env", NULL}, env);
    get_reply(c, 1, &a);
    assert_true(out_is(&a, "A=1\nB=two words\nPATH=/bin\n"));
    cl_reply_free(&a);

    cl_exec(c, 2, 0, 0, "/usr", (const char *const[]){"/bin/pwd", NULL}, NULL);
    get_reply(c, 2, &a);
    assert_true(out_is(&a, "/usr\n"));
    cl_reply_free(&a);

    cl_sh(c, 3, 0, 0,
          "umask; cat /proc/self/oom_score_adj; read p c s pp pg sid rest </proc/self/stat; "
          "test $$ = $sid && echo leader; cat; ls /proc/self/fd | wc -l; "
          "grep -E 'Sig(Blk|Ign)' /proc/self/status");
    get_reply(c, 3, &a);
    assert_true(out_is(&a, "0022\n0\nleader\n4\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"));
    cl_reply_free(&a);
}

static void test_exec_cannot(void **state)
{
    static const struct {
        const char *prog, *cwd, *text;
        int errnum;
    } cases[] = {
        {"/nonexistent/sh", "", "exec '/nonexistent/sh'", ENOENT},
        {"no-such-program", "", "exec 'no-such-program'", ENOENT},
        {"", "", "exec ''", ENOENT},
        {"/etc/passwd", "", "exec '/etc/passwd'", EACCES},
        {"/bin/true", "/nonexistent", "chdir '/nonexistent'", ENOENT},
        {"/bin/true", "/etc/passwd", "chdir '/etc/passwd'", ENOTDIR},
    };
    struct client *c = *state;

    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cl_reply a;

        cl_exec(c, i, 0, 0, cases[i].cwd, (const char *const[]){cases[i].prog, NULL}, NULL);
        get_reply(c, i, &a);
        assert_int_equal(a.type, PV_MSG_ERROR);
        assert_string_equal(a.text, cases[i].text);
        assert_int_equal(a.errnum, cases[i].errnum);
        cl_reply_free(&a);
    }
}

/* 20 MB on each stream at once, more than any buffer holds, arrive byte for byte. */
static void test_exec_big(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_sh(c, 1, 0, 0, "(yes errors | head -c 20000000 >&2) & yes output | head -c 20000000; wait");
    get_reply(c, 1, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.code, 0);
    for (int k = 1; k < 3; k++) {
        assert_int_equal(a.data[k].n, 20000000);
        for (size_t i = 0; i < a.data[k].n; i++)
            if (a.data[k].p[i] != (uint8_t)(k == 1 ? "output\n" : "errors\n")[i % 7])
                fail_msg("stream %d differs at %zu", k, i);
    }
    cl_reply_free(&a);
}

static void test_stdin(void **state)
{
    struct client *c = *state;
    size_t n = 20000000;
    uint8_t *in = malloc(n);
    struct cl_reply a;

    for (size_t i = 0; i < n; i++)
        in[i] = (uint8_t)(i * 7 + i / 251);
    cl_sh(c, 1, PV_EXEC_STDIN, 0, "cat");
    cl_reply(c, 1, in, n, CL_SOON, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.data[1].n, n);
    assert_memory_equal(a.data[1].p, in, n);
    cl_reply_free(&a);

    /* A command that reads none of its stdin, or only the beginning, neither hangs nor fails. */
    cl_sh(c, 2, PV_EXEC_STDIN, 0, "exit 3");
    cl_reply(c, 2, in, n, CL_SOON, &a);
    assert_int_equal(a.code, 3);
    cl_reply_free(&a);
    free(in);
    cl_stop(c);
    assert_true(cl_start(c, cl_agent));
    cl_sh(c, 3, PV_EXEC_STDIN, 0, "head -c 3");
    cl_reply(c, 3, "abcdef", 6, CL_SOON, &a);
    assert_true(out_is(&a, "abc"));
    cl_reply_free(&a);
    cl_data(c, PV_MSG_STDIN, 3, "late", 4); /* after EXIT: dropped */
    cl_data(c, PV_MSG_WDATA, 3, "late", 4);
    cl_sh(c, 4, 0, 0, "echo next");
    get_reply(c, 4, &a);
    assert_true(out_is(&a, "next\n"));
    cl_reply_free(&a);
}

/* The process tree: a child, a grandchild in a session of its own, a daemon that forked twice. */
#define TREE(mark) \
    "sh -c 'sleep 1000." mark "' & setsid sh -c 'sleep 1001." mark "; :' & " \
    "(setsid sh -c '(sleep 1002." mark "; :) & exit' &) ; echo up; sleep 1003." mark "; :"

static void expect_up(struct client *c, uint32_t id)
{
    assert_int_equal(cl_recv(c, CL_SOON), 1);
    assert_int_equal(c->type, PV_MSG_STDOUT);
    assert_int_equal(c->id, id);
}

static void test_timeout(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    int64_t begin = cl_now_ms();

    cl_sh(c, 1, 0, 700, TREE("5551"));
    get_reply(c, 1, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.flags, PV_EXIT_TIMED_OUT);
    assert_int_equal(a.signal, SIGKILL);
    assert_int_equal(a.code, 128 + SIGKILL);
    assert_true(out_is(&a, "up\n"));
    assert_true(cl_now_ms() - begin >= 700 && cl_now_ms() - begin < 6000);
    assert_false(alive("00.5551") || alive("01.5551") || alive("02.5551") || alive("03.5551"));
    cl_reply_free(&a);
}

/*
 * The time in which the agent cannot run does not count: a stopped one sees what one sees whose host was suspended, that the
 * clock has leapt.  The clock of a test cannot leap.
 */
static void test_leap(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_sh(c, 1, 0, 3500, "echo up; sleep 6.5553; echo end");
    expect_up(c, 1);
    kill(c->pid, SIGSTOP);
    usleep(5000000);
    kill(c->pid, SIGCONT);
    get_reply(c, 1, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.flags, 0);
    assert_int_equal(a.code, 0);
    assert_true(out_is(&a, "end\n"));
    cl_reply_free(&a);

    cl_sh(c, 2, 0, 700, "sleep 20.5554"); /* what follows has its limit all the same */
    get_reply(c, 2, &a);
    assert_int_equal(a.flags, PV_EXIT_TIMED_OUT);
    cl_reply_free(&a);
}

/* A process tree that grows while it is killed; limited to 255 processes, because this is no guest. */
static void test_growing(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_sh(c, 1, 0, 150,
          "b() { [ $1 = 7 ] && exec sleep 20.5552; sleep 0.03; b $(($1 + 1)) & b $(($1 + 1)) & wait; }; b 0");
    get_reply(c, 1, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.flags, PV_EXIT_TIMED_OUT);
    assert_false(alive("20.5552"));
    cl_reply_free(&a);
}

static void test_cancel(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_sh(c, 5, 0, 0, TREE("5553"));
    expect_up(c, 5);
    cl_data(c, PV_MSG_PING, 99, "x", 1); /* replied to while the command runs */
    assert_int_equal(cl_recv(c, CL_SOON), 1);
    assert_int_equal(c->type, PV_MSG_PONG);
    cl_sh(c, 6, 0, 0, "true"); /* EBUSY */
    get_reply(c, 6, &a);
    assert_int_equal(a.errnum, EBUSY);
    cl_reply_free(&a);
    cl_id(c, PV_MSG_CANCEL, 4); /* no request has this id */
    cl_id(c, PV_MSG_CANCEL, 5);
    get_reply(c, 5, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.flags, PV_EXIT_CANCELLED);
    assert_int_equal(a.signal, SIGKILL);
    assert_false(alive("00.5553") || alive("01.5553") || alive("02.5553") || alive("03.5553"));
    cl_reply_free(&a);
    cl_id(c, PV_MSG_CANCEL, 5); /* the request is over */
}

/* A CANCEL behind STDIN that the command does not read. */
static void test_cancel_behind_stdin(void **state)
{
    static uint8_t junk[600000];
    struct client *c = *state;
    struct cl_reply a;

    cl_sh(c, 1, PV_EXEC_STDIN, 0, "sleep 1000.5554");
    cl_data(c, PV_MSG_STDIN, 1, junk, sizeof(junk));
    cl_id(c, PV_MSG_CANCEL, 1);
    get_reply(c, 1, &a);
    assert_int_equal(a.flags, PV_EXIT_CANCELLED);
    cl_reply_free(&a);
    cl_sh(c, 2, 0, 0, "echo next");
    get_reply(c, 2, &a);
    assert_true(out_is(&a, "next\n"));
    cl_reply_free(&a);
}

/* The host reads no output: the agent stops reading it too; PING and CANCEL still work. */
static void test_cancel_flood(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_sh(c, 1, 0, 0, "yes 5555-flood");
    assert_true(cl_await_unread(c, 100001));
    usleep(300000);
    cl_id(c, PV_MSG_CANCEL, 1);
    get_reply(c, 1, &a);
    assert_int_equal(a.flags, PV_EXIT_CANCELLED);
    assert_true(a.data[1].n > 100000 && a.data[1].n < 10000000);
    gone_soon("5555-flood");
    cl_reply_free(&a);
}

/* A daemon that holds stdout open, or writes to it for ever, does not delay EXIT. */
static void test_background(void **state)
{
    struct client *c = *state;
    int64_t begin = cl_now_ms();
    struct cl_reply a;

    cl_sh(c, 1, 0, 0, "sleep 8.5556 & echo started");
    get_reply(c, 1, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.code, 0);
    assert_true(out_is(&a, "started\n"));
    assert_true(cl_now_ms() - begin < 5000);
    assert_true(alive("8.5556"));
    cl_reply_free(&a);

    /* The timeout of a later command does not kill the daemon. */
    cl_sh(c, 2, 0, 300, "sleep 1000.5557");
    get_reply(c, 2, &a);
    assert_int_equal(a.flags, PV_EXIT_TIMED_OUT);
    assert_true(alive("8.5556"));
    assert_false(alive("1000.5557"));
    cl_reply_free(&a);

    cl_sh(c, 3, 0, 0, "yes 5558 & sleep 0.1");
    get_reply(c, 3, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    cl_reply_free(&a);
    gone_soon("yes.5558"); /* SIGPIPE */
    assert_true(cl_now_ms() - begin < 8000);
}

static void test_peer_gone(void **state)
{
    struct client *c = *state;

    cl_sh(c, 1, 0, 0, TREE("5559"));
    expect_up(c, 1);
    assert_true(alive("00.5559") && alive("01.5559") && alive("02.5559"));
    assert_int_equal(cl_stop(c), 0);
    gone_soon("00.5559");
    gone_soon("01.5559");
    gone_soon("02.5559");
    gone_soon("03.5559");
    assert_true(cl_start(c, cl_agent));

    /* The same while STDIN waits that the command does not take. */
    static uint8_t junk[900000];
    cl_sh(c, 1, PV_EXEC_STDIN, 0, "sleep 1000.5560");
    cl_data(c, PV_MSG_STDIN, 1, junk, sizeof(junk));
    assert_int_equal(cl_stop(c), 0);
    gone_soon("1000.5560");
    assert_true(cl_start(c, cl_agent));
}

/* A SIGKILL of the session ends the command too. */
static void test_session_killed(void **state)
{
    struct client *c = *state;

    cl_sh(c, 1, 0, 0, TREE("5561"));
    expect_up(c, 1);
    kill(c->pid, SIGTERM); /* ignored */
    cl_data(c, PV_MSG_PING, 2, "x", 1);
    assert_int_equal(cl_recv(c, CL_SOON), 1);
    assert_int_equal(c->type, PV_MSG_PONG);
    kill(c->pid, SIGKILL);
    cl_stop(c);
    gone_soon("00.5561");
    gone_soon("01.5561");
    gone_soon("02.5561");
    assert_true(cl_start(c, cl_agent));
}

static void test_not_in_a_guest(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    uint8_t buf[64];
    struct pv_enc e = {.p = buf, .cap = sizeof(buf)};

    pv_enc_begin(&e, PV_MSG_SHUTDOWN);
    pv_enc_u32(&e, 1);
    pv_enc_u32(&e, PV_SHUTDOWN_POWEROFF);
    cl_send(c, &e);
    get_reply(c, 1, &a);
    assert_int_equal(a.errnum, EPERM);
    cl_reply_free(&a);
    cl_id(c, PV_MSG_MOUNT_VFS, 2);
    get_reply(c, 2, &a);
    assert_int_equal(a.errnum, EPERM);
    cl_reply_free(&a);
}

#define T(f) cmocka_unit_test_setup_teardown(f, cl_setup, cl_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(test_ping),
        T(test_exec),
        T(test_exec_world),
        T(test_exec_cannot),
        T(test_exec_big),
        T(test_stdin),
        T(test_timeout),
        T(test_leap),
        T(test_growing),
        T(test_cancel),
        T(test_cancel_behind_stdin),
        T(test_cancel_flood),
        T(test_background),
        T(test_peer_gone),
        T(test_session_killed),
        T(test_not_in_a_guest),
    };

    if (argc < 2)
        return 2;
    cl_agent = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
