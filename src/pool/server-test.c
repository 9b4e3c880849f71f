/* SPDX-License-Identifier: MIT */
/* Clients and server in one process, over real sockets. */
#include "util/test.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "childproto/lease.h"
#include "loop/loop.h"
#include "pool/fix.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/spawn.h"

static void granted_after_release(void **state)
{
    struct fix *x = *state;
    int a = fix_join(x, &x->a), b = fix_join(x, &x->b);

    fix_say(x, a, PV_LEASE_ACQUIRE, 1, 768 * M);
    fix_assert_reply(a, PV_LEASE_GRANTED, 1, "");
    fix_say(x, b, PV_LEASE_ACQUIRE, 7, 512 * M);
    fix_assert_reply(b, PV_LEASE_WAIT, 7, "waiting for memory (512M; 768M of 1G in use)");
    assert_true(x->waits == 1 && x->waiter == &x->b);
    fix_say(x, b, PV_LEASE_ACQUIRE, 8, 2048 * M);
    fix_assert_reply(b, PV_LEASE_REFUSED, 8,
                     "2G of memory are wanted, more than --mem gives to all VMs together: 1G");
    fix_say(x, a, PV_LEASE_RELEASE, 1, 0);
    fix_assert_reply(b, PV_LEASE_GRANTED, 7, "");
    assert_int_equal(x->waits, 0);
    close(a);
    close(b);
}

/* A killed process holds its memory until it is known to have ended; a builder that ended holds none. */
static void ends_of_processes(void **state)
{
    struct fix *x = *state;
    int a = fix_join(x, &x->a), b = fix_join(x, &x->b);
    struct pv_lease *file = pv_lease_new(dup(a)), *builder;
    struct pv_err err = PV_ERR_INIT;

    builder = pv_lease_fork(file, &err);
    assert_non_null(builder);
    fix_run(x);
    fix_say(x, pv_lease_fd(builder), PV_LEASE_ACQUIRE, 1, 700 * M);
    fix_assert_reply(pv_lease_fd(builder), PV_LEASE_GRANTED, 1, "");
    assert_true(x->a.held.memory == 700 * M);
    fix_say(x, a, PV_LEASE_ACQUIRE, 1, 300 * M);
    fix_assert_reply(a, PV_LEASE_GRANTED, 1, "");
    fix_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    pv_lease_free(builder);
    fix_run(x);
    fix_assert_reply(b, PV_LEASE_WAIT, 1, "waiting for memory (600M; 1000M of 1G in use)");
    fix_assert_reply(b, PV_LEASE_GRANTED, 1, "");
    pv_lease_free(file);
    close(a);
    fix_run(x);
    assert_true(x->a.held.memory == 300 * M);
    pv_pool_server_leave(x->s, &x->a);
    assert_true(x->a.held.memory == 0);
    pv_pool_server_leave(x->s, &x->a);
    close(b);
}

static void deadlocked_files(void **state)
{
    struct fix *x = *state;
    int a = fix_join(x, &x->a), b = fix_join(x, &x->b);

    fix_say(x, a, PV_LEASE_ACQUIRE, 1, 512 * M);
    fix_say(x, b, PV_LEASE_ACQUIRE, 1, 512 * M);
    fix_say(x, a, PV_LEASE_ACQUIRE, 2, 512 * M);
    assert_null(x->restarted);
    fix_say(x, b, PV_LEASE_BLOCK, 0, 0); /* a fixture that the other file builds */
    assert_ptr_equal(x->restarted, &x->b);
    fix_assert_reply(a, PV_LEASE_GRANTED, 1, "");
    fix_assert_reply(a, PV_LEASE_WAIT, 2, "waiting for memory (512M; 1G of 1G in use)");
    close(b);
    pv_pool_server_leave(x->s, &x->b);
    fix_assert_reply(a, PV_LEASE_GRANTED, 2, "");
    close(a);
}

/* Requests that a client may make are refused, or have nothing to do. */
static void refused_requests(void **state)
{
    struct fix *x = *state;
    int a = fix_join(x, &x->a);

    fix_say(x, a, PV_LEASE_RELEASE, 5, 0);
    fix_say(x, a, PV_LEASE_ACQUIRE, 1, UINT64_MAX);
    fix_assert_reply(a, PV_LEASE_REFUSED, 1, "18446744073709551615 bytes of memory are wanted");
    for (uint32_t i = 0; i < 600; i++) /* more leases than one process may have */
    {
        fix_say(x, a, PV_LEASE_ACQUIRE, 10 + i, 1);
        fix_assert_reply(a, i < 512 ? PV_LEASE_GRANTED : PV_LEASE_REFUSED, 10 + i,
                         i < 512 ? "" : "this file has 512 VMs already");
    }
    assert_true(x->a.held.memory == 512);
    assert_null(x->failed);
    close(a);
}

static void client_library(void **state)
{
    struct fix *x = *state;
    struct pv_lease *l = pv_lease_new(fix_join(x, &x->a));
    struct pv_err err = PV_ERR_INIT;

    assert_int_equal(
        pv_lease_acquire(l, x->loop, &(struct pv_lease_want){"vm1", 512 * M, 1, NULL}, NULL, NULL, &err), 0);
    assert_int_equal(
        pv_lease_acquire(l, x->loop, &(struct pv_lease_want){"vm2", 513 * M, 1, NULL}, NULL, NULL, &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, "the file's other VMs hold 512M"));
    pv_lease_release(l, "vm2");
    pv_lease_release(l, "vm1");
    fix_run(x);
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
    struct pv_lease *l = pv_lease_new(fix_join(x, &x->a));
    int b = fix_join(x, &x->b), pidfd;
    pid_t pid = start_sleeper(&pidfd);

    assert_int_equal(acquire_vm(x, l, "vm1", 256 * M, NULL), 0);
    assert_int_equal(acquire_standby(x, l, "standby1", 512 * M), 0);
    pv_lease_preemptible(l, "standby1", pidfd);
    close(pidfd);
    assert_true(x->a.held.memory == 256 * M); /* a standby VM is not charged to the file */
    fix_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    fix_assert_reply(b, PV_LEASE_WAIT, 1, "waiting for memory (600M; 256M of 1G in use)");
    assert_null(x->restarted);
    assert_int_equal(process_end_signal(pid), SIGKILL);
    fix_run(x);
    fix_assert_reply(b, PV_LEASE_GRANTED, 1, "");
    assert_int_equal(acquire_standby(x, l, "standby2", 512 * M), -1); /* no room is left */
    pv_lease_release(l, "standby1");                                  /* its owner has noticed the end */
    pv_lease_free(l);
    close(b);
}

/* The use of a file's QEMUs includes its standby VMs, whose memory is granted besides: it is not beyond the grants. */
static void standby_is_counted_once(void **state)
{
    struct fix *x = *state;
    struct pv_lease *l = pv_lease_new(fix_join(x, &x->a));
    int b = fix_join(x, &x->b);

    assert_int_equal(acquire_vm(x, l, "vm1", 256 * M, NULL), 0);
    assert_int_equal(acquire_standby(x, l, "standby1", 256 * M), 0);
    x->used_of_a = 512 * M;
    fix_say(x, b, PV_LEASE_ACQUIRE, 1, 512 * M);
    fix_assert_reply(b, PV_LEASE_GRANTED, 1, "");
    fix_say(x, b, PV_LEASE_RELEASE, 1, 0);
    x->used_of_a = 513 * M; /* and what is beyond both counts */
    fix_say(x, b, PV_LEASE_ACQUIRE, 2, 512 * M);
    fix_assert_reply(b, PV_LEASE_WAIT, 2, "waiting for memory (512M; 257M of 1G in use)");
    pv_lease_free(l);
    close(b);
}

/* A VM adopts the standby lease: no memory is charged twice, and none is lost. */
static void standby_becomes_a_vm(void **state)
{
    struct fix *x = *state;
    struct pv_lease *l = pv_lease_new(fix_join(x, &x->a));
    int b = fix_join(x, &x->b), pidfd;
    pid_t pid = start_sleeper(&pidfd);

    assert_int_equal(acquire_standby(x, l, "standby1", 1024 * M), 0);
    pv_lease_preemptible(l, "standby1", pidfd);
    close(pidfd);
    assert_int_equal(acquire_vm(x, l, "vm1", 1024 * M, "standby1"), 0);
    assert_true(x->a.held.memory == 1024 * M);
    pv_lease_release(l, "standby1"); /* the lease no longer exists */
    fix_run(x);
    fix_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    fix_assert_reply(b, PV_LEASE_WAIT, 1, "waiting for memory (600M; 1G of 1G in use)");
    fix_run(x);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* a VM is not killed */
    pv_lease_release(l, "vm1");
    fix_run(x);
    fix_assert_reply(b, PV_LEASE_GRANTED, 1, "");
    kill(pid, SIGKILL);
    process_end_signal(pid);
    pv_lease_free(l);
    close(b);
}

/* A restored VM has a lease already: a claim only keeps the standby VM from being preempted. */
static void standby_is_claimed(void **state)
{
    struct fix *x = *state;
    struct pv_lease *l = pv_lease_new(fix_join(x, &x->a));
    int b = fix_join(x, &x->b), pidfd;
    pid_t pid = start_sleeper(&pidfd);
    struct pv_err err;

    assert_int_equal(acquire_vm(x, l, "vm1", 512 * M, NULL), 0);
    assert_int_equal(acquire_standby(x, l, "standby1", 512 * M), 0);
    pv_lease_preemptible(l, "standby1", pidfd);
    assert_int_equal(pv_lease_claim(l, x->loop, "standby1", &err), 0);
    assert_int_equal(pv_lease_claim(l, x->loop, "standby1", &err), 0); /* claimed already */
    fix_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    fix_assert_reply(b, PV_LEASE_WAIT, 1, "waiting for memory (600M; 512M of 1G in use)");
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    fix_say(x, b, PV_LEASE_RELEASE, 1, 0);
    /* too late: a file waited, and the standby VM is being killed */
    assert_int_equal(acquire_standby(x, l, "standby2", 512 * M), 0);
    pv_lease_preemptible(l, "standby2", pidfd);
    close(pidfd);
    fix_say(x, b, PV_LEASE_ACQUIRE, 2, 600 * M);
    assert_int_equal(pv_lease_claim(l, x->loop, "standby2", &err), -1);
    assert_int_equal(process_end_signal(pid), SIGKILL);
    pv_lease_free(l);
    close(b);
}

static void standby_never_comes_first(void **state)
{
    struct fix *x = *state;
    struct pv_lease *l = pv_lease_new(fix_join(x, &x->a));
    int b = fix_join(x, &x->b), pidfd;
    pid_t pid;

    /* more CPUs than the host has */
    assert_int_equal(pv_lease_try_acquire(l, x->loop, &(struct pv_lease_want){"s", M, 1024, NULL}, NULL), -1);
    assert_int_equal(acquire_vm(x, l, "vm1", 600 * M, NULL), 0);
    fix_say(x, b, PV_LEASE_ACQUIRE, 1, 600 * M);
    fix_assert_reply(b, PV_LEASE_WAIT, 1, "waiting for memory (600M; 600M of 1G in use)");
    assert_int_equal(acquire_standby(x, l, "standby1", M), -1); /* a file waits */
    fix_say(x, b, PV_LEASE_RELEASE, 1, 0);
    /* preempted before the server knew its process: killed once the process is known */
    assert_int_equal(acquire_standby(x, l, "standby1", 256 * M), 0);
    fix_say(x, b, PV_LEASE_ACQUIRE, 2, 400 * M);
    fix_assert_reply(b, PV_LEASE_WAIT, 2, "waiting for memory (400M; 600M of 1G in use)");
    pid = start_sleeper(&pidfd);
    pv_lease_preemptible(l, "standby1", pidfd);
    close(pidfd);
    fix_run(x);
    assert_int_equal(process_end_signal(pid), SIGKILL);
    fix_run(x);
    fix_assert_reply(b, PV_LEASE_GRANTED, 2, "");
    /* the standby leases of a file end with it */
    assert_int_equal(acquire_standby(x, l, "standby2", 8 * M), 0);
    pv_lease_free(l);
    fix_run(x);
    pv_pool_server_leave(x->s, &x->a);
    fix_say(x, b, PV_LEASE_ACQUIRE, 3, 624 * M);
    fix_assert_reply(b, PV_LEASE_GRANTED, 3, "");
    close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(granted_after_release, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(ends_of_processes, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(deadlocked_files, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(refused_requests, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(client_library, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(standby_is_preempted, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(standby_is_counted_once, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(standby_becomes_a_vm, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(standby_is_claimed, fix_set_up, fix_tear_down),
        cmocka_unit_test_setup_teardown(standby_never_comes_first, fix_set_up, fix_tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
