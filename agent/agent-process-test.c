/* SPDX-License-Identifier: MIT */
/* The real agent binary over a socketpair: processes (EXEC with its later flags, SIGNAL) and FOLLOW. */
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
#include <unistd.h>

#include "client.h"

enum { ID = 7 };

static char dir[64], path[128];

static void put_str(struct pv_enc *e, const char *s)
{
    pv_enc_bytes(e, s, strlen(s));
}

/* EXEC of /bin/sh -c cmd, or of cmd alone with a lookup path. */
static void start(struct client *c, uint32_t flags, const char *lookup, const char *user, const char *cmd)
{
    static uint8_t frame[65536];
    struct pv_enc e = {.p = frame, .cap = sizeof(frame)};

    flags |= lookup ? PV_EXEC_LOOKUP : 0;
    flags |= user ? PV_EXEC_USER : 0;
    pv_enc_begin(&e, PV_MSG_EXEC);
    pv_enc_u32(&e, ID);
    pv_enc_u32(&e, flags);
    pv_enc_u64(&e, 0);
    if (lookup)
        put_str(&e, lookup);
    if (user)
        put_str(&e, user);
    put_str(&e, "");
    pv_enc_u32(&e, lookup ? 1 : 3);
    if (!lookup) {
        put_str(&e, "/bin/sh");
        put_str(&e, "-c");
    }
    put_str(&e, cmd);
    pv_enc_u32(&e, 1);
    put_str(&e, "A=1");
    cl_send(c, &e);
}

/* Collects replies until a frame of this type has come; all output is added to *a. */
static void wait_for(struct client *c, unsigned type, struct cl_reply *a)
{
    for (;;) {
        size_t n;

        assert_int_equal(cl_recv(c, CL_SOON), 1);
        if (c->type == PV_MSG_STDOUT || c->type == PV_MSG_DATA) {
            const void *p = pv_dec_bytes(&c->d, &n);

            a->data[1].p = realloc(a->data[1].p, a->data[1].n + n + 1);
            memcpy(a->data[1].p + a->data[1].n, p, n);
            a->data[1].n += n;
            a->data[1].p[a->data[1].n] = '\0';
        }
        if (c->type == type)
            return;
        assert_int_not_equal(c->type, PV_MSG_EXIT);
        assert_int_not_equal(c->type, PV_MSG_ERROR);
    }
}

/* Waits until the output is the text. */
static void wait_output(struct client *c, unsigned type, struct cl_reply *a, const char *text)
{
    while (a->data[1].n < strlen(text))
        wait_for(c, type, a);
    assert_string_equal((char *)a->data[1].p, text);
    a->data[1].n = 0;
}

static void send_signal(struct client *c, uint32_t sig)
{
    cl_u32(c, PV_MSG_SIGNAL, ID, sig);
}

static void get_exit(struct client *c, struct cl_reply *a)
{
    cl_reply(c, ID, NULL, 0, CL_SOON, a);
}

static void test_started_and_signals(void **state)
{
    struct client *c = *state;
    struct cl_reply a = {0};

    start(c, PV_EXEC_PROCESS, NULL, NULL, "trap 'echo got' TERM; echo ready; while :; do sleep 0.05; done");
    wait_for(c, PV_MSG_STARTED, &a);
    pid_t pid = (pid_t)pv_dec_u32(&c->d);

    assert_int_equal(kill(pid, 0), 0);
    wait_output(c, PV_MSG_STDOUT, &a, "ready\n");
    send_signal(c, SIGTERM);
    wait_output(c, PV_MSG_STDOUT, &a, "got\n");
    send_signal(c, SIGTERM);
    wait_output(c, PV_MSG_STDOUT, &a, "got\n");
    send_signal(c, SIGKILL);
    cl_reply_free(&a);
    get_exit(c, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.signal, SIGKILL);
    assert_int_equal(a.flags, 0);
    cl_reply_free(&a);
    send_signal(c, SIGTERM); /* of a request that is over: dropped */
    cl_sh(c, 8, 0, 0, "true");
    cl_reply(c, 8, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.code, 0);
    cl_reply_free(&a);
}

static void test_bad_signals(void **state)
{
    static const uint32_t bad[] = {0, 65, 0xffffffff};
    struct client *c = *state;
    struct cl_reply a = {0};

    start(c, PV_EXEC_PROCESS, NULL, NULL, "sleep 60");
    wait_for(c, PV_MSG_STARTED, &a);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        send_signal(c, bad[i]);
        assert_int_equal(cl_recv(c, CL_SOON), 1);
        assert_int_equal(c->type, PV_MSG_ERROR);
        assert_int_equal(pv_dec_u32(&c->d), EPROTO);
    }
    cl_id(c, PV_MSG_CANCEL, ID);
    get_exit(c, &a);
    assert_int_equal(a.flags, PV_EXIT_CANCELLED);
    cl_reply_free(&a);
}

/* Its stdin is full, and 256 KiB of it wait in the agent: signals are obeyed nevertheless. */
static void test_signal_behind_stdin(void **state)
{
    static uint8_t data[256 * 1024];
    struct client *c = *state;
    struct cl_reply a = {0};

    start(c, PV_EXEC_PROCESS | PV_EXEC_STDIN, NULL, NULL,
          "trap 'echo got' TERM; echo ready; while :; do sleep 0.05; done");
    wait_output(c, PV_MSG_STDOUT, &a, "ready\n");
    cl_data(c, PV_MSG_STDIN, ID, data, sizeof(data));
    cl_data(c, PV_MSG_STDIN, ID, data, sizeof(data));
    send_signal(c, SIGTERM);
    wait_output(c, PV_MSG_STDOUT, &a, "got\n");
    send_signal(c, SIGKILL);
    cl_reply_free(&a);
    get_exit(c, &a);
    assert_int_equal(a.signal, SIGKILL);
    cl_reply_free(&a);
}

static void test_taken(void **state)
{
    struct client *c = *state;
    struct cl_reply a = {0};

    start(c, PV_EXEC_PROCESS | PV_EXEC_STDIN, NULL, NULL,
          "read l; echo $l; exec 0</dev/null; echo closed; sleep 60");
    wait_for(c, PV_MSG_STARTED, &a); /* until then the reaper has the pipe as well */
    cl_data(c, PV_MSG_STDIN, ID, "line\n", 5);
    wait_for(c, PV_MSG_TAKEN, &a);
    assert_int_equal(pv_dec_u64(&c->d), 5);
    assert_int_equal(pv_dec_u32(&c->d), 0);
    while (!a.data[1].n || !strstr((char *)a.data[1].p, "line\nclosed\n"))
        wait_for(c, PV_MSG_STDOUT, &a);
    cl_data(c, PV_MSG_STDIN, ID, "lost\n", 5);
    wait_for(c, PV_MSG_TAKEN, &a);
    assert_int_equal(pv_dec_u64(&c->d), 5);
    assert_int_equal(pv_dec_u32(&c->d), 1);
    cl_id(c, PV_MSG_CANCEL, ID);
    cl_reply_free(&a);
    get_exit(c, &a);
    cl_reply_free(&a);
}

static void check_output(struct client *c, uint32_t flags, const char *lookup, const char *user,
                         const char *cmd, const char *want)
{
    struct cl_reply a;

    start(c, flags, lookup, user, cmd);
    get_exit(c, &a);
    assert_int_equal(a.type, PV_MSG_EXIT);
    assert_int_equal(a.data[1].n, strlen(want));
    assert_memory_equal(a.data[1].p, want, strlen(want));
    cl_reply_free(&a);
}

static void test_lookup(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    check_output(c, 0, "/no/such:/usr/bin:/bin", NULL, "env", "A=1\n");
    start(c, 0, "/no/such", NULL, "env");
    get_exit(c, &a);
    assert_int_equal(a.errnum, ENOENT);
    cl_reply_free(&a);
}

static void test_user(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    if (getuid() != 0)
        skip();
    check_output(c, 0, NULL, "nobody", "id -u; id -g; grep -E 'Groups|CapEff|CapPrm' /proc/self/status",
                 "65534\n65534\nGroups:\t65534 \nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n");
    check_output(c, 0, NULL, "65534", "id -un", "nobody\n");
    check_output(c, 0, NULL, "12345", "id -u; id -g; id -G; echo to stdout >/dev/stdout",
                 "12345\n12345\n12345\nto stdout\n");
    check_output(c, 0, NULL, "nobody", "echo $HOME $USER", "\n");
    check_output(c, PV_EXEC_HOME, NULL, "nobody", "echo $HOME $USER $LOGNAME",
                 "/nonexistent nobody nobody\n");
    start(c, 0, NULL, "no-such-user", "true");
    get_exit(c, &a);
    assert_int_equal(a.errnum, ENOENT);
    assert_string_equal(a.text, "'no-such-user' is no user in /etc/passwd");
    cl_reply_free(&a);
}

static void write_to(const char *to, int flags, const char *text)
{
    int fd = open(to, O_WRONLY | O_CREAT | flags, 0600);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void follow(struct client *c, uint32_t from, uint64_t offset, const char *file)
{
    uint8_t frame[8192];
    struct pv_enc e = {.p = frame, .cap = sizeof(frame)};

    pv_enc_begin(&e, PV_MSG_FOLLOW);
    pv_enc_u32(&e, ID);
    pv_enc_u32(&e, from);
    pv_enc_u64(&e, offset);
    put_str(&e, file);
    cl_send(c, &e);
}

static void follow_end(struct client *c, struct cl_reply *a)
{
    cl_id(c, PV_MSG_CANCEL, ID);
    cl_reply_free(a);
    get_exit(c, a);
    assert_int_equal(a->errnum, ECANCELED);
    cl_reply_free(a);
}

static void test_follow(void **state)
{
    struct client *c = *state;
    struct cl_reply a = {0};
    char other[160];

    write_to(path, O_TRUNC, "old\n");
    follow(c, PV_FOLLOW_END, 0, path);
    wait_for(c, PV_MSG_STARTED, &a);
    write_to(path, O_APPEND, "one\n");
    wait_output(c, PV_MSG_DATA, &a, "one\n");
    write_to(path, O_APPEND, "two\n");
    wait_output(c, PV_MSG_DATA, &a, "two\n");
    write_to(path, O_TRUNC, "new\n"); /* truncation */
    wait_output(c, PV_MSG_DATA, &a, "new\n");
    snprintf(other, sizeof(other), "%s.1", path); /* rotation: the old file's last bytes first */
    write_to(path, O_APPEND, "last\n");
    assert_int_equal(rename(path, other), 0);
    wait_output(c, PV_MSG_DATA, &a, "last\n");
    write_to(other, O_APPEND, "late\n");
    wait_output(c, PV_MSG_DATA, &a, "late\n");
    write_to(path, O_TRUNC, "rotated\n");
    wait_output(c, PV_MSG_DATA, &a, "rotated\n");
    follow_end(c, &a);

    follow(c, PV_FOLLOW_START, 0, path);
    wait_output(c, PV_MSG_DATA, &a, "rotated\n");
    follow_end(c, &a);
    follow(c, PV_FOLLOW_OFFSET, 3, path);
    wait_output(c, PV_MSG_DATA, &a, "ated\n");
    follow_end(c, &a);
}

static void test_follow_cannot(void **state)
{
    static const struct {
        const char *path;
        uint32_t from, errnum;
    } cases[] = {
        {"/no/such/file", PV_FOLLOW_END, ENOENT},
        {"/etc", PV_FOLLOW_START, EISDIR},
        {"/etc/passwd", PV_FOLLOW_OFFSET, EINVAL},
        {"/etc/passwd", 3, EPROTO},
    };
    struct client *c = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cl_reply a;

        follow(c, cases[i].from, UINT64_C(1) << 40, cases[i].path);
        get_exit(c, &a);
        assert_int_equal(a.errnum, cases[i].errnum);
        cl_reply_free(&a);
    }
}

/* A file of /proc has no size, and is no file that was truncated. */
static void test_follow_proc(void **state)
{
    struct client *c = *state;
    struct cl_reply a = {0};

    follow(c, PV_FOLLOW_START, 0, "/proc/self/comm");
    wait_output(c, PV_MSG_DATA, &a, "provium-agent\n");
    assert_int_equal(cl_recv(c, 300), -1);
    follow_end(c, &a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_started_and_signals, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_bad_signals, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_signal_behind_stdin, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_taken, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_lookup, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_user, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_follow, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_follow_cannot, cl_setup, cl_teardown),
        cmocka_unit_test_setup_teardown(test_follow_proc, cl_setup, cl_teardown),
    };
    char remove[160];
    int r;

    if (argc != 2)
        return 2;
    cl_agent = argv[1];
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof(dir), "/tmp/provium-follow-XXXXXX");
    if (!mkdtemp(dir))
        return 2;
    snprintf(path, sizeof(path), "%s/log", dir);
    r = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(remove, sizeof(remove), "rm -rf '%s'", dir);
    return system(remove) ? 2 : r;
}
