/* SPDX-License-Identifier: MIT */
/* Clients and server in one process, over real sockets; the test writes a client's messages itself where the
 * client would block. */
#include "util/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "childproto/lease.h"
#include "childproto/leasemsg.h"
#include "pool/server.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/spawn.h"

#define M (UINT64_C(1) << 20)

struct fix {
    struct pv_loop *loop;
    struct pv_pool_server *s;
    struct pv_pool_file *restarted, *waiter;
    int waits; /* +1 for each report that a file waits, -1 for each that it no longer does */
    struct pv_pool_file *failed;
    char fault[100];
    struct pv_pool_file a, b;
    uint64_t used_of_a; /* what the QEMUs of file a have of the host, bytes */
};

static uint64_t on_used(struct pv_pool_file *f, void *arg)
{
    struct fix *x = arg;

    return f == &x->a ? x->used_of_a : 0;
}

static void on_waits(struct pv_pool_file *f, bool does, void *arg)
{
    struct fix *x = arg;

    x->waiter = f;
    x->waits += does ? 1 : -1;
}

static void on_restart(struct pv_pool_file *f, const char *why, void *arg)
{
    assert_true(why && *why);
    ((struct fix *)arg)->restarted = f;
}

static void on_fail(struct pv_pool_file *f, const char *fault, void *arg)
{
    struct fix *x = arg;

    assert_null(x->failed);
    x->failed = f;
    snprintf(x->fault, sizeof(x->fault), "%s", fault);
}

static int set_up(void **state)
{
    struct fix *x = pv_xcalloc(1, sizeof(*x));

    x->loop = pv_loop_new(NULL);
    x->s = pv_pool_server_new(x->loop, &(struct pv_pool_server_opts){.memory = 1024 * M,
                                                                     .used = on_used,
                                                                     .waits = on_waits,
                                                                     .restart = on_restart,
                                                                     .fail = on_fail,
                                                                     .arg = x});
    *state = x;
    return 0;
}

static int tear_down(void **state)
{
    struct fix *x = *state;

    pv_pool_server_leave(x->s, &x->a);
    pv_pool_server_leave(x->s, &x->b);
    pv_pool_server_free(x->s);
    pv_loop_free(x->loop);
    free(x);
    return 0;
}

static int join_file(struct fix *x, struct pv_pool_file *f)
{
    int fd = pv_pool_server_join(x->s, f, NULL);

    assert_true(fd >= 0);
    return fd;
}

static void run_loop(struct fix *x)
{
    for (int i = 0; i < 4; i++)
        pv_loop_run(x->loop, NULL, NULL, pv_now(), NULL);
}

static void client_say(struct fix *x, int fd, uint32_t op, uint32_t id, uint64_t memory)
{
    struct pv_lease_request request = {.op = op, .id = id, .memory = memory, .cpus = 1};

    assert_int_equal(send(fd, &request, sizeof(request), 0), sizeof(request));
    run_loop(x);
}

/* Asserts the next reply; status 0: that there is no reply. */
static void assert_reply(int fd, uint32_t status, uint32_t id, const char *text)
{
    struct pv_lease_reply a;
    ssize_t n = recv(fd, &a, sizeof(a), MSG_DONTWAIT);

    if (!status) {
        assert_true(n <= 0);
        return;
    }
    assert_int_equal(n, sizeof(a));
    assert_int_equal(a.status, status);
    assert_int_equal(a.id, id);
    assert_string_equal(a.text, text);
}

static void granted_after_release(void **state)
{
    struct fix *x = *state;
    int a = join_file(x, &x->a), b = join_file(x, &x->b);

    client_say(x, a, PV_LEASE_ACQUIRE, 1, 768 * M);
    assert_reply(a, PV_LEASE_GRANTED, 1, "");
    client_say(x, b, PV_LEASE_ACQUIRE, 7, 512 * M);
    assert_reply(b, PV_LEASE_WAIT, 7, "waiting for memory (512M; 768M of 1G in use)");
    assert_true(x->waits == 1 && x->waiter == &x->b);
    client_say(x, b, PV_LEASE_ACQUIRE, 8, 2048 * M);
    assert_reply(b, PV_LEASE_REFUSED, 8,
                 "2G of memory are wanted, more than --mem gives to all VMs together: 1G");
    client_say(x, a, PV_LEASE_RELEASE, 1, 0);
    assert_reply(b, PV_LEASE_GRANTED, 7, "");
    assert_int_equal(x->waits, 0);
    close(a);
    close(b);
}

/* A killed process holds its memory until it is known to have ended; a builder that ended holds none. */
static void ends_of_processes(void **state)
{
    struct fix *x = *state;
    int a = join_file(x, &x->a), b = join_file(x, &x->b);
    struct pv_lease *file = pv_lease_new(dup(a)), *builder;
    struct pv_err err = PV_ERR_INIT;

    builder = pv_lease_fork(file, &err);
    assert_non_null(builder);
    run_loop(x);
    client_say(x, pv_lease_fd(builder), PV_LEASE_ACQUIRE, 1, 700 * M);
    assert_reply(pv_lease_fd(builder), PV_LEASE_GRANTED, 1, "");
    assert_true(x->a.held.memory == 700 * M);
    client_say(x, a, PV_LEASE_ACQUIRE, 1, 300 * M);
    assert_reply(a, PV_LEASE_GRANTED, 1, "");
    client_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    pv_lease_free(builder);
    run_loop(x);
    assert_reply(b, PV_LEASE_WAIT, 1, "waiting for memory (600M; 1000M of 1G in use)");
    assert_reply(b, PV_LEASE_GRANTED, 1, "");
    pv_lease_free(file);
    close(a);
    run_loop(x);
    assert_true(x->a.held.memory == 300 * M);
    pv_pool_server_leave(x->s, &x->a);
    assert_true(x->a.held.memory == 0);
    pv_pool_server_leave(x->s, &x->a);
    close(b);
}

static void deadlocked_files(void **state)
{
    struct fix *x = *state;
    int a = join_file(x, &x->a), b = join_file(x, &x->b);

    client_say(x, a, PV_LEASE_ACQUIRE, 1, 512 * M);
    client_say(x, b, PV_LEASE_ACQUIRE, 1, 512 * M);
    client_say(x, a, PV_LEASE_ACQUIRE, 2, 512 * M);
    assert_null(x->restarted);
    client_say(x, b, PV_LEASE_BLOCK, 0, 0); /* a fixture that the other file builds */
    assert_ptr_equal(x->restarted, &x->b);
    assert_reply(a, PV_LEASE_GRANTED, 1, "");
    assert_reply(a, PV_LEASE_WAIT, 2, "waiting for memory (512M; 1G of 1G in use)");
    close(b);
    pv_pool_server_leave(x->s, &x->b);
    assert_reply(a, PV_LEASE_GRANTED, 2, "");
    close(a);
}

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

/* The process that sends an invalid message is read no more, its file fails, and no descriptor stays open. */
static void invalid_messages_fail_the_file(void **state)
{
    enum { LEN = sizeof(struct pv_lease_request) };
    struct fix *x = *state;
    const struct message all[] = {
        {"sent a request of a wrong length", {.op = PV_LEASE_BLOCK}, 0, -1, 0},
        {"sent a request of a wrong length", {.op = PV_LEASE_BLOCK}, 1, -1, 0},
        {"sent a request of a wrong length", {.op = PV_LEASE_BLOCK}, LEN + 1, -1, 0},
        {"sent a request of the unknown kind 99", {.op = 99}, LEN, -1, 0},
        {"sent a request of the unknown kind 0", {.op = 0}, LEN, -1, 0},
        {"requested 1025 CPUs for one VM", {PV_LEASE_ACQUIRE, 8, M, 1025, 0}, LEN, -1, 0},
        {"requested 4294967295 CPUs for one VM", {PV_LEASE_TRY_ACQUIRE, 8, M, UINT32_MAX, 0}, LEN, -1, 0},
        {"requested a lease under number 7, which is not free", {PV_LEASE_ACQUIRE, 7, M, 1, 0}, LEN, -1, 0},
        {"requested a lease under number 7, which is not free",
         {PV_LEASE_TRY_ACQUIRE, 7, M, 1, 0},
         LEN,
         -1,
         0},
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
        int a = join_file(x, &x->a);

        client_say(x, a, PV_LEASE_ACQUIRE, 7, M);
        assert_reply(a, PV_LEASE_GRANTED, 7, "");
        message_send(&all[i], a);
        run_loop(x);
        assert_ptr_equal(x->failed, &x->a);
        assert_string_equal(x->fault, all[i].fault);
        client_say(x, a, PV_LEASE_ACQUIRE, 9, M); /* it is read no more */
        assert_reply(a, 0, 0, NULL);
        assert_true(x->a.held.memory == M); /* its VMs have not ended yet */
        pv_pool_server_leave(x->s, &x->a);
        close(a);
        assert_int_equal(fds_count(), before);
        x->failed = NULL;
    }
    assert_true(x->a.held.memory == 0 && x->a.held.cpus == 0 && x->a.blocked == 0);
}

/* A descriptor that this process had no room for is not the fault of the sender. */
static void descriptor_limit(void **state)
{
    struct fix *x = *state;
    int a = join_file(x, &x->a), next = dup(a);
    struct rlimit was, full;
    const struct message m = {NULL, {.op = PV_LEASE_FORK}, sizeof(struct pv_lease_request), 0, 1};

    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    full = was;
    full.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
    message_send(&m, a);
    run_loop(x);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_null(x->failed);
    client_say(x, a, PV_LEASE_ACQUIRE, 1, M);
    assert_reply(a, PV_LEASE_GRANTED, 1, "");
    close(a);
}

/* Requests that a client may make are refused, or have nothing to do. */
static void refused_requests(void **state)
{
    struct fix *x = *state;
    int a = join_file(x, &x->a);

    client_say(x, a, PV_LEASE_RELEASE, 5, 0);
    client_say(x, a, PV_LEASE_ACQUIRE, 1, UINT64_MAX);
    assert_reply(a, PV_LEASE_REFUSED, 1, "18446744073709551615 bytes of memory are wanted");
    for (uint32_t i = 0; i < 600; i++) /* more leases than one process may have */
    {
        client_say(x, a, PV_LEASE_ACQUIRE, 10 + i, 1);
        assert_reply(a, i < 512 ? PV_LEASE_GRANTED : PV_LEASE_REFUSED, 10 + i,
                     i < 512 ? "" : "this file has 512 VMs already");
    }
    assert_true(x->a.held.memory == 512);
    assert_null(x->failed);
    close(a);
}

static void client_library(void **state)
{
    struct fix *x = *state;
    struct pv_lease *l = pv_lease_new(join_file(x, &x->a));
    struct pv_err err = PV_ERR_INIT;

    assert_int_equal(
        pv_lease_acquire(l, x->loop, &(struct pv_lease_want){"vm1", 512 * M, 1, NULL}, NULL, NULL, &err), 0);
    assert_int_equal(
        pv_lease_acquire(l, x->loop, &(struct pv_lease_want){"vm2", 513 * M, 1, NULL}, NULL, NULL, &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, "the file's other VMs hold 512M"));
    pv_lease_release(l, "vm2");
    pv_lease_release(l, "vm1");
    run_loop(x);
    assert_true(x->a.held.memory == 0);
    assert_int_equal(
        pv_lease_acquire(l, x->loop, &(struct pv_lease_want){"vm2", 1024 * M, 1, NULL}, NULL, NULL, &err), 0);
    pv_pool_server_leave(x->s, &x->a); /* the supervisor closes the connection */
    err = (struct pv_err)PV_ERR_INIT;
    assert_int_equal(
        pv_lease_acquire(l, x->loop, &(struct pv_lease_want){"vm3", M, 1, NULL}, NULL, NULL, &err), -1);
    assert_int_equal(err.cls, PV_E_HOST);
    pv_lease_free(l);
}

/* ---- standby leases ---- */

/* Starts a process that only waits for signals; the caller owns *pidfd. */
static pid_t start_sleeper(int *pidfd)
{
    struct pv_err err = PV_ERR_INIT;
    char *argv[] = {"sleep", "100", NULL};
    pid_t pid = pv_spawn(&(struct pv_spawn){.file = "sleep", .argv = argv}, pidfd, &err);

    if (pid < 0)
        fail_msg("%s", err.text);
    return pid;
}

/* The signal that ended the process. */
static int process_end_signal(pid_t pid)
{
    int status = 0;

    for (int i = 0; i < 500 && waitpid(pid, &status, WNOHANG) == 0; i++)
        usleep(10000);
    assert_true(WIFSIGNALED(status));
    return WTERMSIG(status);
}

static int acquire_standby(struct fix *x, struct pv_lease *l, const char *vm, uint64_t memory)
{
    struct pv_err err;

    /* without CPUs, so that the test runs on a host with one */
    return pv_lease_try_acquire(l, x->loop, &(struct pv_lease_want){vm, memory, 0, NULL}, &err);
}

static int acquire_vm(struct fix *x, struct pv_lease *l, const char *vm, uint64_t memory, const char *standby)
{
    struct pv_err err;

    return pv_lease_acquire(l, x->loop, &(struct pv_lease_want){vm, memory, 1, standby}, NULL, NULL, &err);
}

/* A waiting file preempts the standby VM, whose process is killed. */
static void standby_is_preempted(void **state)
{
    struct fix *x = *state;
    struct pv_lease *l = pv_lease_new(join_file(x, &x->a));
    int b = join_file(x, &x->b), pidfd;
    pid_t pid = start_sleeper(&pidfd);

    assert_int_equal(acquire_vm(x, l, "vm1", 256 * M, NULL), 0);
    assert_int_equal(acquire_standby(x, l, "standby1", 512 * M), 0);
    pv_lease_preemptible(l, "standby1", pidfd);
    close(pidfd);
    assert_true(x->a.held.memory == 256 * M); /* a standby VM is not charged to the file */
    client_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    assert_reply(b, PV_LEASE_WAIT, 1, "waiting for memory (600M; 256M of 1G in use)");
    assert_null(x->restarted);
    assert_int_equal(process_end_signal(pid), SIGKILL);
    run_loop(x);
    assert_reply(b, PV_LEASE_GRANTED, 1, "");
    assert_int_equal(acquire_standby(x, l, "standby2", 512 * M), -1); /* no room is left */
    pv_lease_release(l, "standby1");                                  /* its owner has noticed the end */
    pv_lease_free(l);
    close(b);
}

/* The use of a file's QEMUs includes its standby VMs, whose memory is granted besides: it is not beyond the grants. */
static void standby_is_counted_once(void **state)
{
    struct fix *x = *state;
    struct pv_lease *l = pv_lease_new(join_file(x, &x->a));
    int b = join_file(x, &x->b);

    assert_int_equal(acquire_vm(x, l, "vm1", 256 * M, NULL), 0);
    assert_int_equal(acquire_standby(x, l, "standby1", 256 * M), 0);
    x->used_of_a = 512 * M;
    client_say(x, b, PV_LEASE_ACQUIRE, 1, 512 * M);
    assert_reply(b, PV_LEASE_GRANTED, 1, "");
    client_say(x, b, PV_LEASE_RELEASE, 1, 0);
    x->used_of_a = 513 * M; /* and what is beyond both counts */
    client_say(x, b, PV_LEASE_ACQUIRE, 2, 512 * M);
    assert_reply(b, PV_LEASE_WAIT, 2, "waiting for memory (512M; 257M of 1G in use)");
    pv_lease_free(l);
    close(b);
}

/* A VM adopts the standby lease: no memory is charged twice, and none is lost. */
static void standby_becomes_a_vm(void **state)
{
    struct fix *x = *state;
    struct pv_lease *l = pv_lease_new(join_file(x, &x->a));
    int b = join_file(x, &x->b), pidfd;
    pid_t pid = start_sleeper(&pidfd);

    assert_int_equal(acquire_standby(x, l, "standby1", 1024 * M), 0);
    pv_lease_preemptible(l, "standby1", pidfd);
    close(pidfd);
    assert_int_equal(acquire_vm(x, l, "vm1", 1024 * M, "standby1"), 0);
    assert_true(x->a.held.memory == 1024 * M);
    pv_lease_release(l, "standby1"); /* the lease no longer exists */
    run_loop(x);
    client_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    assert_reply(b, PV_LEASE_WAIT, 1, "waiting for memory (600M; 1G of 1G in use)");
    run_loop(x);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* a VM is not killed */
    pv_lease_release(l, "vm1");
    run_loop(x);
    assert_reply(b, PV_LEASE_GRANTED, 1, "");
    kill(pid, SIGKILL);
    process_end_signal(pid);
    pv_lease_free(l);
    close(b);
}

/* A restored VM has a lease already: a claim only keeps the standby VM from being preempted. */
static void standby_is_claimed(void **state)
{
    struct fix *x = *state;
    struct pv_lease *l = pv_lease_new(join_file(x, &x->a));
    int b = join_file(x, &x->b), pidfd;
    pid_t pid = start_sleeper(&pidfd);
    struct pv_err err;

    assert_int_equal(acquire_vm(x, l, "vm1", 512 * M, NULL), 0);
    assert_int_equal(acquire_standby(x, l, "standby1", 512 * M), 0);
    pv_lease_preemptible(l, "standby1", pidfd);
    assert_int_equal(pv_lease_claim(l, x->loop, "standby1", &err), 0);
    assert_int_equal(pv_lease_claim(l, x->loop, "standby1", &err), 0); /* claimed already */
    client_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    assert_reply(b, PV_LEASE_WAIT, 1, "waiting for memory (600M; 512M of 1G in use)");
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    client_say(x, b, PV_LEASE_RELEASE, 1, 0);
    /* too late: a file waited, and the standby VM is being killed */
    assert_int_equal(acquire_standby(x, l, "standby2", 512 * M), 0);
    pv_lease_preemptible(l, "standby2", pidfd);
    close(pidfd);
    client_say(x, b, PV_LEASE_ACQUIRE, 2, 600 * M);
    assert_int_equal(pv_lease_claim(l, x->loop, "standby2", &err), -1);
    assert_int_equal(process_end_signal(pid), SIGKILL);
    pv_lease_free(l);
    close(b);
}

static void standby_never_comes_first(void **state)
{
    struct fix *x = *state;
    struct pv_lease *l = pv_lease_new(join_file(x, &x->a));
    int b = join_file(x, &x->b), pidfd;
    pid_t pid;

    /* more CPUs than the host has */
    assert_int_equal(pv_lease_try_acquire(l, x->loop, &(struct pv_lease_want){"s", M, 1024, NULL}, NULL), -1);
    assert_int_equal(acquire_vm(x, l, "vm1", 600 * M, NULL), 0);
    client_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    assert_reply(b, PV_LEASE_WAIT, 1, "waiting for memory (600M; 600M of 1G in use)");
    assert_int_equal(acquire_standby(x, l, "standby1", M), -1); /* a file waits */
    client_say(x, b, PV_LEASE_RELEASE, 1, 0);
    /* preempted before the server knew its process: killed once the process is known */
    assert_int_equal(acquire_standby(x, l, "standby1", 256 * M), 0);
    client_say(x, b, PV_LEASE_ACQUIRE, 2, 400 * M);
    assert_reply(b, PV_LEASE_WAIT, 2, "waiting for memory (400M; 600M of 1G in use)");
    pid = start_sleeper(&pidfd);
    pv_lease_preemptible(l, "standby1", pidfd);
    close(pidfd);
    run_loop(x);
    assert_int_equal(process_end_signal(pid), SIGKILL);
    run_loop(x);
    assert_reply(b, PV_LEASE_GRANTED, 2, "");
    /* the standby leases of a file end with it */
    assert_int_equal(acquire_standby(x, l, "standby2", 8 * M), 0);
    pv_lease_free(l);
    run_loop(x);
    pv_pool_server_leave(x->s, &x->a);
    client_say(x, b, PV_LEASE_ACQUIRE, 3, 624 * M);
    assert_reply(b, PV_LEASE_GRANTED, 3, "");
    close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(granted_after_release, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ends_of_processes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deadlocked_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(invalid_messages_fail_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(descriptor_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(client_library, set_up, tear_down),
        cmocka_unit_test_setup_teardown(standby_is_preempted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(standby_is_counted_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(standby_becomes_a_vm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(standby_is_claimed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(standby_never_comes_first, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
