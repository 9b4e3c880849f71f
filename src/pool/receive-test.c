/* SPDX-License-Identifier: MIT */
/* Messages to the server from the process of a file that a test has corrupted. */
#include "util/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/fix.h"
#include "util/clock.h"
#include "util/mem.h"

enum { LEN = sizeof(struct pv_lease_request) };

static unsigned fds_count(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Its first len bytes, with n copies of a descriptor. */
struct message {
    const char *fault; /* the server's word on it */
    struct pv_lease_request request;
    size_t len;
    int fd;
    unsigned n;
};

static void message_send(const struct message *m, int sock)
{
    char data[2 * sizeof(m->request)] = "";
    union {
        char bytes[CMSG_SPACE(16 * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {data, m->len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    memcpy(data, &m->request, sizeof(m->request));
    if (m->n) {
        struct cmsghdr *c;

        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(m->n * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(m->n * sizeof(int));
        for (unsigned i = 0; i < m->n; i++)
            memcpy(CMSG_DATA(c) + i * sizeof(int), &m->fd, sizeof(int));
    }
    assert_int_equal(sendmsg(sock, &msg, 0), m->len);
}

/* without CPUs, so that the test runs on a host with one */
static const struct message standby = {NULL, {PV_LEASE_TRY_ACQUIRE, 6, M, 0, 0}, LEN, -1, 0};

static const char seven[] = "requested a lease under number 7, which is not free";

/* The process that sends an invalid message is read no more, its file fails, and no descriptor stays open. */
static void invalid_messages_fail_the_file(void **state)
{
    struct fix *x = *state;
    int stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct message all[] = {
        {"requested a lease under number 0, which is not free", {PV_LEASE_ACQUIRE, 0, M, 1, 0}, LEN, -1, 0},
        {"requested a lease under number 6, which is not free", {PV_LEASE_ACQUIRE, 6, M, 1, 0}, LEN, -1, 0},
        {"sent a descriptor that is no socket for a channel", {.op = PV_LEASE_FORK}, LEN, stream, 1},
        {"sent a request of a wrong length", {.op = PV_LEASE_BLOCK}, 0, -1, 0},
        {"sent a request of a wrong length", {.op = PV_LEASE_BLOCK}, 1, -1, 0},
        {"sent a request of a wrong length", {.op = PV_LEASE_BLOCK}, LEN + 1, -1, 0},
        {"sent a request of the unknown kind 99", {.op = 99}, LEN, -1, 0},
        {"sent a request of the unknown kind 0", {.op = 0}, LEN, -1, 0},
        {"requested 1025 CPUs for one VM", {PV_LEASE_ACQUIRE, 8, M, 1025, 0}, LEN, -1, 0},
        {"requested 4294967295 CPUs for one VM", {PV_LEASE_TRY_ACQUIRE, 8, M, UINT32_MAX, 0}, LEN, -1, 0},
        {seven, {PV_LEASE_ACQUIRE, 7, M, 1, 0}, LEN, -1, 0},
        {seven, {PV_LEASE_TRY_ACQUIRE, 7, M, 1, 0}, LEN, -1, 0},
        {"ended a wait for other files that it had not begun", {.op = PV_LEASE_UNBLOCK}, LEN, -1, 0},
        {"sent 0 descriptors with a request that has 1", {.op = PV_LEASE_FORK}, LEN, -1, 0},
        {"sent 2 descriptors with a request that has 1", {.op = PV_LEASE_FORK}, LEN, 0, 2},
        {"sent 1 descriptors with a request that has 0", {PV_LEASE_RELEASE, 7, 0, 0, 0}, LEN, 0, 1},
        {"sent 4 or more descriptors with a request that has 1",
         {PV_LEASE_PREEMPTIBLE, 7, 0, 0, 0},
         LEN,
         0,
         16},
        {"sent a descriptor that is no socket for a channel", {.op = PV_LEASE_FORK}, LEN, 0, 1},
        {"sent a descriptor that is no pidfd for a standby VM",
         {PV_LEASE_PREEMPTIBLE, 7, 0, 0, 0},
         LEN,
         0,
         1},
    };

    for (size_t i = 0; i < PV_ARRAY_LEN(all); i++) {
        unsigned before = fds_count();
        int a = fix_join(x, &x->a);

        fix_say(x, a, PV_LEASE_ACQUIRE, 7, M);
        fix_assert_reply(a, PV_LEASE_GRANTED, 7, "");
        message_send(&standby, a);
        fix_run(x);
        fix_assert_reply(a, PV_LEASE_GRANTED, 6, "");
        message_send(&all[i], a);
        fix_run(x);
        assert_ptr_equal(x->failed, &x->a);
        assert_string_equal(x->fault, all[i].fault);
        fix_say(x, a, PV_LEASE_ACQUIRE, 9, M); /* it is read no more */
        fix_assert_reply(a, 0, 0, NULL);
        assert_true(x->a.held.memory == M); /* its VMs have not ended yet */
        pv_pool_server_leave(x->s, &x->a);
        close(a);
        assert_int_equal(fds_count(), before);
        x->failed = NULL;
    }
    assert_true(x->a.held.memory == 0 && x->a.held.cpus == 0 && x->a.blocked == 0);
    close(stream);
}

/* Sends m while this process may open `room` descriptors more. */
static void message_send_full(struct fix *x, const struct message *m, int sock, unsigned room)
{
    struct rlimit was, full;
    int next = dup(sock);

    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    full = was;
    full.rlim_cur = (rlim_t)next + room;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
    message_send(m, sock);
    fix_run(x);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
}

/* A descriptor that this process had no room for is not the fault of the sender; one that is too many is. */
static void descriptor_limit(void **state)
{
    struct fix *x = *state;
    int a = fix_join(x, &x->a);
    const struct message lost[] = {{NULL, {.op = PV_LEASE_FORK}, LEN, 0, 1},
                                   {NULL, {PV_LEASE_PREEMPTIBLE, 7, 0, 0, 0}, LEN, 0, 1}};
    const struct {
        unsigned room;
        struct message m;
    } wrong[] = {
        {0, {"sent 0 or more descriptors with a request that has 0", {.op = PV_LEASE_BLOCK}, LEN, 0, 1}},
        {1, {"sent 1 or more descriptors with a request that has 1", {.op = PV_LEASE_FORK}, LEN, a, 2}}};

    for (size_t i = 0; i < PV_ARRAY_LEN(lost); i++) {
        message_send_full(x, &lost[i], a, 0);
        assert_null(x->failed);
    }
    fix_say(x, a, PV_LEASE_ACQUIRE, 1, M);
    fix_assert_reply(a, PV_LEASE_GRANTED, 1, "");
    for (size_t i = 0; i < PV_ARRAY_LEN(wrong); i++) {
        int b = fix_join(x, &x->b);

        message_send_full(x, &wrong[i].m, b, wrong[i].room);
        assert_ptr_equal(x->failed, &x->b);
        assert_string_equal(x->fault, wrong[i].m.fault);
        x->failed = NULL;
        pv_pool_server_leave(x->s, &x->b);
        close(b);
    }
    close(a);
}

static void message_pass(struct fix *x, int sock, struct pv_lease_request request, int fd)
{
    message_send(&(struct message){NULL, request, LEN, fd, fd >= 0}, sock);
    fix_run(x);
    assert_null(x->failed);
}

/* Sends a channel.  True when the server keeps it; *own is the other end. */
static bool fork_channel(struct fix *x, int sock, int *own)
{
    char byte;
    int sv[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
    message_pass(x, sock, (struct pv_lease_request){.op = PV_LEASE_FORK}, sv[1]);
    close(sv[1]);
    *own = sv[0];
    return recv(sv[0], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* A file has a bounded number of channels, which is its own; what the server keeps is not inherited. */
static void channels_are_bounded(void **state)
{
    enum { MOST = 32, TRIED = 40 };
    struct fix *x = *state;
    unsigned before = fds_count();
    int a = fix_join(x, &x->a), b = fix_join(x, &x->b), own[TRIED];
    int kept = 1, n = 0;
    bool had[256];

    for (int i = 0; i < TRIED; i++)
        kept += fork_channel(x, a, &own[i]);
    assert_int_equal(kept, MOST);
    for (int i = 0; i < TRIED; i++)
        close(own[i]);
    fix_run(x);
    assert_int_equal(fds_count(), before + 4);
    for (int fd = 0; fd < 256; fd++)
        had[fd] = fcntl(fd, F_GETFD) >= 0;
    for (int i = 1; i < MOST; i++)
        assert_true(fork_channel(x, a, &own[i]));
    assert_true(fork_channel(x, b, &own[0]));
    for (int i = 0; i < MOST; i++)
        fcntl(own[i], F_SETFD, FD_CLOEXEC);
    for (int fd = 0; fd < 256; fd++)
        if (!had[fd] && fcntl(fd, F_GETFD) >= 0) {
            assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
            n++;
        }
    assert_int_equal(n, 2 * MOST);
    for (int i = 1; i < MOST; i++)
        close(own[i]);
    close(own[0]);
    close(a);
    close(b);
}

/* Waits for other files, and requests that were not granted, end with the process that began them. */
static void ends_take_waits_along(void **state)
{
    struct fix *x = *state;
    int a = fix_join(x, &x->a), b = fix_join(x, &x->b), own;

    assert_true(fork_channel(x, a, &own));
    fix_say(x, own, PV_LEASE_BLOCK, 0, 0);
    assert_int_equal(x->a.blocked, 1);
    close(own);
    fix_run(x);
    assert_int_equal(x->a.blocked, 0);
    fix_say(x, a, PV_LEASE_ACQUIRE, 1, 768 * M);
    fix_say(x, b, PV_LEASE_ACQUIRE, 1, 512 * M);
    assert_int_equal(x->waits, 1);
    close(b);
    fix_run(x);
    assert_int_equal(x->waits, 0);
    close(a);
}

/* Other watches of the loop get their turn between the messages of one process, and its waits are bounded. */
static void waits_are_bounded(void **state)
{
    enum { AT_ONCE = 64, MOST = 512 };
    struct fix *x = *state;
    int a = fix_join(x, &x->a);
    const struct message block = {NULL, {.op = PV_LEASE_BLOCK}, LEN, -1, 0};

    for (int i = 0; i < AT_ONCE + 1; i++)
        message_send(&block, a);
    pv_loop_run(x->loop, NULL, NULL, pv_now(), NULL);
    assert_int_equal(x->a.blocked, AT_ONCE);
    fix_run(x);
    assert_int_equal(x->a.blocked, AT_ONCE + 1);
    while (x->a.blocked < MOST)
        message_pass(x, a, block.request, -1);
    message_send(&block, a);
    fix_run(x);
    assert_ptr_equal(x->failed, &x->a);
    assert_string_equal(x->fault, "began too many waits for other files");
    close(a);
}

/* The server does not wait for a process that reads no reply. */
static void unread_replies(void **state)
{
    struct fix *x = *state;
    int a = fix_join(x, &x->a), b = fix_join(x, &x->b);

    alarm(60);
    for (uint32_t i = 1; i <= 1000; i++)
        fix_say(x, a, PV_LEASE_TRY_ACQUIRE, i, UINT64_MAX);
    fix_say(x, b, PV_LEASE_ACQUIRE, 1, M);
    fix_assert_reply(b, PV_LEASE_GRANTED, 1, "");
    alarm(0);
    close(a);
    close(b);
}

/* ---- standby VMs ---- */

static void standbys_are_bounded(void **state)
{
    struct fix *x = *state;
    int a = fix_join(x, &x->a);

    fix_say(x, a, PV_LEASE_ACQUIRE, 1, 256 * M);
    fix_assert_reply(a, PV_LEASE_GRANTED, 1, "");
    x->used_of_a = 300 * M; /* 44M beyond the grants, which must not make a sum overflow */
    message_pass(x, a, (struct pv_lease_request){PV_LEASE_TRY_ACQUIRE, 2, UINT64_MAX - 10 * M, 0, 0}, -1);
    fix_assert_reply(a, PV_LEASE_REFUSED, 2, "no room for a standby VM");
    for (uint32_t i = 0; i < 9; i++) {
        message_pass(x, a, (struct pv_lease_request){PV_LEASE_TRY_ACQUIRE, 10 + i, M, 0, 0}, -1);
        fix_assert_reply(a, i < 8 ? PV_LEASE_GRANTED : PV_LEASE_REFUSED, 10 + i,
                         i < 8 ? "" : "no room for a standby VM");
    }
    close(a);
}

/* The pidfd of a process that has ended, and was waited for. */
static int ended_process(void)
{
    pid_t pid = fork();
    int fd;

    if (pid == 0)
        _exit(0);
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    assert_true(fd >= 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return fd;
}

/* A standby VM may have ended already; the server keeps one pidfd for each, and none for one that is not there. */
static void pidfds_do_not_stay(void **state)
{
    struct fix *x = *state;
    int a = fix_join(x, &x->a), pidfd = ended_process();
    unsigned before = fds_count();

    message_pass(x, a, (struct pv_lease_request){PV_LEASE_TRY_ACQUIRE, 1, M, 0, 0}, -1);
    fix_assert_reply(a, PV_LEASE_GRANTED, 1, "");
    for (uint32_t id = 1; id < 3; id++)
        for (int twice = 0; twice < 2; twice++)
            message_pass(x, a, (struct pv_lease_request){.op = PV_LEASE_PREEMPTIBLE, .id = id}, pidfd);
    assert_int_equal(fds_count(), before + 1);
    fix_say(x, a, PV_LEASE_RELEASE, 1, 0);
    assert_int_equal(fds_count(), before);
    close(pidfd);
    close(a);
}

/* A standby VM that is being killed has its memory until it has ended: no VM gets it by naming it. */
static void preempted_standby_is_not_adopted(void **state)
{
    struct fix *x = *state;
    int a = fix_join(x, &x->a), b = fix_join(x, &x->b);

    message_pass(x, a, (struct pv_lease_request){PV_LEASE_TRY_ACQUIRE, 1, 512 * M, 0, 0}, -1);
    fix_assert_reply(a, PV_LEASE_GRANTED, 1, "");
    fix_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    fix_assert_reply(b, PV_LEASE_WAIT, 1, "waiting for memory (600M; 0M of 1G in use)");
    message_pass(x, a, (struct pv_lease_request){PV_LEASE_ACQUIRE, 2, M, 1, 1}, -1);
    fix_assert_reply(b, 0, 0, NULL);
    close(a);
    close(b);
}

/* Preempted before the server knew its process: killed once that is known, also when no request waits any more. */
static void preempted_standby_is_killed_late(void **state)
{
    struct fix *x = *state;
    int a = fix_join(x, &x->a), b = fix_join(x, &x->b), pidfd, status = 0;
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            pause();
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    message_pass(x, a, (struct pv_lease_request){PV_LEASE_TRY_ACQUIRE, 1, 512 * M, 0, 0}, -1);
    fix_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    fix_say(x, b, PV_LEASE_RELEASE, 1, 0);
    message_pass(x, a, (struct pv_lease_request){.op = PV_LEASE_PREEMPTIBLE, .id = 1}, pidfd);
    alarm(60);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    alarm(0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(pidfd);
    close(a);
    close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(invalid_messages_fail_the_file, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(descriptor_limit, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(channels_are_bounded, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(ends_take_waits_along, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(waits_are_bounded, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(unread_replies, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(standbys_are_bounded, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(pidfds_do_not_stay, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(preempted_standby_is_not_adopted, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(preempted_standby_is_killed_late, fix_set_up, fix_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
