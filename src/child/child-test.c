/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child/child.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

/* The record of one child's callbacks. */
static struct {
    struct pv_buf said, wrote;
    int exits, status;
} seen;

static bool null_fails; /* open("/dev/null") does */

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int open(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    if (null_fails && !strcmp(path, "/dev/null")) {
        errno = EMFILE;
        return -1;
    }
    va_start(ap, flags);
    mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return openat(AT_FDCWD, path, flags, mode);
}

static void on_message(struct pv_child *c, const unsigned char *msg, size_t n)
{
    (void)c;
    pv_buf_add(&seen.said, msg, n);
    pv_buf_addc(&seen.said, '|');
}

static void on_output(struct pv_child *c, const char *data, size_t n)
{
    (void)c;
    pv_buf_add(&seen.wrote, data, n);
}

static void on_exit_status(struct pv_child *c, int status)
{
    (void)c;
    seen.exits++;
    seen.status = status;
}

static const struct pv_child_ops ops = {.message = on_message, .output = on_output, .exit = on_exit_status};

static int setup(void **state)
{
    *state = pv_loop_new(NULL);
    pv_buf_adds(&seen.said, "");
    pv_buf_adds(&seen.wrote, "");
    seen.exits = 0;
    seen.status = -1;
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    pv_loop_free(*state);
    pv_buf_free(&seen.said);
    pv_buf_free(&seen.wrote);
    return 0;
}

static bool has_exited(void *arg)
{
    (void)arg;
    return seen.exits > 0;
}

static bool has_spoken(void *arg)
{
    (void)arg;
    return seen.said.len > 0;
}

static void child_start(struct pv_child *c, struct pv_loop *loop, struct pv_child_opts o)
{
    struct pv_err err = PV_ERR_INIT;

    o.ops = &ops;
    if (pv_child_start(c, loop, &o, &err) < 0)
        fail_msg("%s", err.text);
}

static void wait_exit(struct pv_loop *loop)
{
    assert_int_equal(pv_loop_run(loop, has_exited, NULL, pv_deadline(20 * PV_NSEC_PER_SEC), NULL), 0);
}

static void send_text(const char *text)
{
    send(PV_CHILD_SOCK, text, strlen(text), MSG_NOSIGNAL);
}

static void talk_main(void *arg)
{
    send_text(arg);
    dprintf(1, "out");
    dprintf(2, "err");
    send_text("bye");
    _exit(7);
}

static void test_messages_output_status(void **state)
{
    struct pv_child c = PV_CHILD_INIT;

    child_start(&c, *state, (struct pv_child_opts){.main = talk_main, .arg = "hello", .capture = true});
    wait_exit(*state);
    assert_string_equal(seen.said.data, "hello|bye|");
    assert_string_equal(seen.wrote.data, "outerr");
    assert_true(WIFEXITED(seen.status));
    assert_int_equal(WEXITSTATUS(seen.status), 7);
    assert_int_equal(c.pid, 0);
    pv_child_end(&c);
    pv_child_end(&c);
    assert_int_equal(seen.exits, 1);
}

/* A child that cannot be set up tells the cause. */
static void test_no_descriptor_for_the_child(void **state)
{
    struct pv_child c = PV_CHILD_INIT;

    null_fails = true;
    child_start(&c, *state, (struct pv_child_opts){.main = talk_main, .arg = "hello", .capture = true});
    null_fails = false;
    wait_exit(*state);
    assert_string_equal(seen.said.data, "");
    assert_non_null(strstr(seen.wrote.data, strerror(EMFILE)));
    assert_int_equal(WEXITSTATUS(seen.status), 126);
    pv_child_end(&c);
}

/* Sends the state of the descriptors 3 to 39, a digit or a dot for each. */
static void fds_main(void *arg)
{
    char open_fds[38] = "";

    (void)arg;
    for (int fd = 3; fd < 40; fd++)
        open_fds[fd - 3] = fcntl(fd, F_GETFD) < 0 ? '.' : 'x';
    send_text(open_fds);
    dprintf(PV_CHILD_FDS, "first");
    dprintf(PV_CHILD_FDS + 2, "third");
}

static void test_descriptors(void **state)
{
    struct pv_child c = PV_CHILD_INIT;
    int one[2], three[2], spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char buf[16] = "";

    assert_int_equal(pipe2(one, O_CLOEXEC), 0);
    assert_int_equal(pipe2(three, O_CLOEXEC), 0);
    child_start(&c, *state,
                (struct pv_child_opts){.main = fds_main, .fds = (int[]){one[1], -1, three[1]}, .n_fds = 3});
    wait_exit(*state);
    assert_string_equal(seen.said.data, "xx.x.................................|");
    assert_int_equal(read(one[0], buf, sizeof(buf)), 5);
    assert_memory_equal(buf, "first", 5);
    assert_int_equal(read(three[0], buf, sizeof(buf)), 5);
    assert_memory_equal(buf, "third", 5);
    for (int i = 0; i < 2; i++) {
        close(one[i]);
        close(three[i]);
    }
    close(spare);
}

static void pause_main(void *arg)
{
    (void)arg;
    send_text("up");
    for (;;)
        pause();
}

static void test_term_and_kill(void **state)
{
    struct pv_child c = PV_CHILD_INIT;

    child_start(&c, *state, (struct pv_child_opts){.main = pause_main});
    assert_int_equal(pv_loop_run(*state, has_spoken, NULL, pv_deadline(20 * PV_NSEC_PER_SEC), NULL), 0);
    pv_child_term(&c);
    wait_exit(*state);
    assert_true(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGTERM);
    pv_child_term(&c);
    pv_child_kill(&c);

    seen.exits = 0;
    child_start(&c, *state, (struct pv_child_opts){.main = pause_main, .own_group = true, .capture = true});
    pv_child_kill(&c);
    wait_exit(*state);
    assert_true(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGKILL);
}

static void test_end_delivers(void **state)
{
    struct pv_child c = PV_CHILD_INIT;
    int64_t deadline = pv_deadline(20 * PV_NSEC_PER_SEC);

    pv_child_end(&c);
    child_start(&c, *state, (struct pv_child_opts){.main = pause_main, .own_group = true});
    while (!seen.said.len && pv_now() < deadline) /* the loop does not run: only drain may deliver */
        pv_child_drain(&c, 1);
    assert_string_equal(seen.said.data, "up|");
    pv_child_end(&c);
    assert_int_equal(seen.exits, 0);
    assert_int_equal(c.pid, 0);
    assert_int_equal(c.sock, -1);
}

/* The child's own child leaves the process group and keeps the socket; the exit is reported nevertheless. */
static void stray_main(void *arg)
{
    pid_t pid = fork();

    (void)arg;
    if (pid == 0) {
        setsid();
        sleep(3);
        _exit(0);
    }
    send_text("left");
}

static void test_stray_holds_nothing_up(void **state)
{
    struct pv_child c = PV_CHILD_INIT;
    int64_t begun = pv_now();

    child_start(&c, *state, (struct pv_child_opts){.main = stray_main, .own_group = true, .capture = true});
    wait_exit(*state);
    assert_true(pv_now() - begun < 3 * PV_NSEC_PER_SEC);
    assert_string_equal(seen.said.data, "left|");
    assert_int_equal(c.out, -1);
}

/* The child's own child goes on sending after the exit, for 15 s. */
static void flood_main(void *arg)
{
    int64_t until = pv_deadline(15 * PV_NSEC_PER_SEC);

    (void)arg;
    if (fork() == 0) {
        setsid();
        while (pv_now() < until && send(PV_CHILD_SOCK, "x", 1, MSG_NOSIGNAL) == 1)
            ;
        _exit(0);
    }
    usleep(200000); /* the flood begins before the exit */
}

static void on_slow_message(struct pv_child *c, const unsigned char *msg, size_t n)
{
    (void)c;
    (void)msg;
    (void)n;
    usleep(500); /* slower than the sender, so the socket never runs empty */
}

static void test_flood_ends_with_the_child(void **state)
{
    static const struct pv_child_ops slow = {
        .message = on_slow_message, .output = on_output, .exit = on_exit_status};
    struct pv_child c = PV_CHILD_INIT;
    int64_t begun = pv_now();

    assert_int_equal(
        pv_child_start(&c, *state, &(struct pv_child_opts){.ops = &slow, .main = flood_main}, NULL), 0);
    wait_exit(*state);
    assert_true(pv_now() - begun < 10 * PV_NSEC_PER_SEC);
    assert_int_equal(c.sock, -1);
}

/* An empty message is one, not the end of the socket. */
static void empty_main(void *arg)
{
    (void)arg;
    send_text("");
    send_text("after");
}

static void test_empty_message(void **state)
{
    struct pv_child c = PV_CHILD_INIT;

    child_start(&c, *state, (struct pv_child_opts){.main = empty_main});
    wait_exit(*state);
    assert_string_equal(seen.said.data, "|after|");
}

static void long_main(void *arg)
{
    static char message[PV_CHILD_MESSAGE_MAX + 10];

    (void)arg;
    memset(message, 'x', sizeof(message));
    send(PV_CHILD_SOCK, message, sizeof(message), MSG_NOSIGNAL);
}

/* A message beyond the maximum is never taken for one that has it. */
static void test_long_message(void **state)
{
    struct pv_child c = PV_CHILD_INIT;

    child_start(&c, *state, (struct pv_child_opts){.main = long_main});
    wait_exit(*state);
    assert_true(seen.said.len > PV_CHILD_MESSAGE_MAX + 1); /* and a '|' */
}

enum { MANY = 200 };

static void many_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < MANY; i++)
        send_text("x");
}

static void on_slower_message(struct pv_child *c, const unsigned char *msg, size_t n)
{
    on_message(c, msg, n);
    usleep(8000);
}

/* Messages that were sent before the exit are delivered, however long that takes. */
static void test_rest_is_whole(void **state)
{
    static const struct pv_child_ops slow = {
        .message = on_slower_message, .output = on_output, .exit = on_exit_status};
    struct pv_child c = PV_CHILD_INIT;

    assert_int_equal(
        pv_child_start(&c, *state, &(struct pv_child_opts){.ops = &slow, .main = many_main}, NULL), 0);
    assert_int_equal(waitid(P_PID, (id_t)c.pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    wait_exit(*state);
    assert_int_equal(seen.said.len, 2 * MANY);
}

static size_t flooded; /* bytes after the exit */

static void on_flood(struct pv_child *c, const char *data, size_t n)
{
    (void)data;
    flooded += c->pid ? 0 : n;
    usleep(50); /* slower than the writer, so the pipe never runs empty */
}

/* The child's own child, which has left the group, writes for 15 s. */
static void writes_main(void *arg)
{
    static const char piece[65536];
    int64_t until = pv_deadline(15 * PV_NSEC_PER_SEC);

    (void)arg;
    if (fork() == 0) {
        setsid();
        while (pv_now() < until && write(1, piece, sizeof(piece)) > 0)
            ;
        _exit(0);
    }
    usleep(200000);
}

/* The output after the exit is bounded. */
static void test_output_after_the_exit(void **state)
{
    static const struct pv_child_ops counting = {
        .message = on_message, .output = on_flood, .exit = on_exit_status};
    struct pv_child c = PV_CHILD_INIT;

    flooded = 0;
    assert_int_equal(
        pv_child_start(&c, *state,
                       &(struct pv_child_opts){.ops = &counting, .main = writes_main, .capture = true}, NULL),
        0);
    wait_exit(*state);
    assert_true(flooded <= (16 << 20) + 65536);
    assert_int_equal(c.out, -1);
}

/* The child's own child, which stays in the group, ends with the child. */
static void group_main(void *arg)
{
    (void)arg;
    if (fork() == 0)
        for (;;)
            pause();
}

static void test_group_ends_with_the_child(void **state)
{
    struct pv_child c = PV_CHILD_INIT;
    int64_t deadline = pv_deadline(20 * PV_NSEC_PER_SEC);
    ssize_t n = -1;
    int keep;

    child_start(&c, *state, (struct pv_child_opts){.main = group_main, .own_group = true});
    keep = fcntl(c.sock, F_DUPFD_CLOEXEC, 3);
    wait_exit(*state);
    /* the end of the socket, once nobody has its other end any more */
    while ((n = recv(keep, &(char){0}, 1, MSG_DONTWAIT)) != 0 && pv_now() < deadline)
        usleep(10000);
    assert_int_equal(n, 0);
    close(keep);
}

static void orphan_main(void *arg)
{
    struct pv_loop *loop = pv_loop_new(NULL);
    struct pv_child c = PV_CHILD_INIT;
    int fds[] = {PV_CHILD_SOCK};

    (void)arg;
    /* the grandchild inherits the test's socket as fds[0], which its exit closes */
    child_start(&c, loop, (struct pv_child_opts){.main = pause_main, .fds = fds, .n_fds = 1});
    pv_loop_run(loop, has_spoken, NULL, pv_deadline(20 * PV_NSEC_PER_SEC), NULL);
    send_text("both up");
    kill(getpid(), SIGKILL);
}

static void test_child_dies_with_parent(void **state)
{
    struct pv_child c = PV_CHILD_INIT;
    int64_t deadline = pv_deadline(20 * PV_NSEC_PER_SEC);
    int keep;

    child_start(&c, *state, (struct pv_child_opts){.main = orphan_main});
    keep = fcntl(c.sock, F_DUPFD_CLOEXEC, 3);
    wait_exit(*state);
    assert_string_equal(seen.said.data, "both up|");
    /* EOF only once the grandchild has exited too */
    while (recv(keep, &(char){0}, 1, MSG_DONTWAIT) != 0 && pv_now() < deadline)
        pv_loop_run(*state, NULL, NULL, pv_deadline(PV_NSEC_PER_SEC / 100), NULL);
    assert_int_equal(recv(keep, &(char){0}, 1, MSG_DONTWAIT), 0);
    close(keep);
}

static void test_plain_name(void **state)
{
    char name[] = "a b/c-1_\xc3\xa4.lua";

    (void)state;
    pv_child_plain_name(name);
    assert_string_equal(name, "a_b_c-1____lua");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_messages_output_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_descriptor_for_the_child, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_term_and_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_delivers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stray_holds_nothing_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flood_ends_with_the_child, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rest_is_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_output_after_the_exit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_group_ends_with_the_child, setup, teardown),
        cmocka_unit_test_setup_teardown(test_child_dies_with_parent, setup, teardown),
        cmocka_unit_test(test_plain_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
