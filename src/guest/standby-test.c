/* SPDX-License-Identifier: MIT */
/* The standby pool, in real VMs of the default guest: when a standby VM is adopted, and when not. */
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest/standby.h"
#include "guest/vm-test.h"

static struct pv_snapshot *s; /* of the default guest, booted once */
static int findings;
static bool refuse;
static int process = -1; /* pidfd of the preemptible standby VM */

static bool standby_is_ready(void *arg)
{
    return pv_standby_ready(env.standby_pool, arg);
}

/* Waits until the standby VM is ready. */
static void wait_ready(struct pv_snapshot *from)
{
    struct pv_err err;

    assert_non_null(pv_standby_name(env.standby_pool, from));
    assert_int_equal(
        pv_loop_run(env.host.loop, standby_is_ready, from, pv_deadline(60 * PV_NSEC_PER_SEC), &err), 0);
}

static int set_up(void **state)
{
    (void)state;
    env.standby_pool = pv_standby_pool_new(&env);
    refuse = false;
    findings = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pv_standby_pool_free(env.standby_pool);
    env.standby_pool = NULL;
    return 0;
}

static int standby_try_acquire(const char *vm, uint64_t memory, unsigned cpus, void *arg, struct pv_err *err)
{
    (void)arg;
    assert_non_null(strstr(vm, "standby"));
    assert_true(memory > 0 && cpus > 0);
    return refuse ? pv_err_set(err, PV_E_USAGE, "no room") : 0;
}

static void standby_set_process(const char *vm, int pidfd, void *arg)
{
    (void)vm;
    (void)arg;
    process = pidfd;
}

static void on_finding(const struct pv_guest *g, const struct pv_finding *f, void *arg)
{
    (void)g;
    (void)f;
    (void)arg;
    findings++;
}

/* The uptime that the test wrote before the save, and that of the resumed guest: only resuming takes time. */
static void assert_not_aged(struct pv_guest *g)
{
    double was = strtod(sh(g, "cat /tmp/up"), NULL), is = strtod(sh(g, "cat /proc/uptime"), NULL);

    assert_true(was > 0);
    if (is < was || is - was > 2.5)
        fail_msg("uptime %.2f, %.2f when it was saved", is, was);
}

/* The third resume adopts a standby VM, and the guest cannot tell it from any other resume. */
static void adopted_like_resumed(void **state)
{
    struct pv_guest *first = resume_guest(s), *second, *third;
    char pid[32], random[64];
    struct timespec now;

    (void)state;
    assert_null(pv_standby_name(env.standby_pool, s));
    second = resume_guest(s);
    wait_ready(s);
    usleep(1500000); /* the standby VM's clock stands still */
    third = resume_guest(s);
    assert_non_null(strstr(pv_guest_name(third), "vm"));
    /* the pool prepares the next standby VM at once */
    assert_non_null(pv_standby_name(env.standby_pool, s));
    snprintf(pid, sizeof(pid), "%s", sh(first, "echo $$"));
    assert_string_equal(sh(second, "echo $$"), pid);
    assert_string_equal(sh(third, "echo $$"), pid);
    assert_string_equal(sh(third, "cat /tmp/x"), "one");
    assert_string_equal(sh(third, "ls /proc | grep -c '^3[0-9][0-9][0-9][0-9]$' || true"), "0");
    snprintf(random, sizeof(random), "%s", sh(second, "head -c 16 /dev/urandom | od -An -tx1"));
    assert_string_not_equal(random, sh(third, "head -c 16 /dev/urandom | od -An -tx1"));
    clock_gettime(CLOCK_REALTIME, &now);
    assert_in_range(atol(sh(third, "date +%s")), now.tv_sec - 1, now.tv_sec + 3);
    pv_guest_free(first);
    pv_guest_free(second);
    pv_guest_free(third);
    third = resume_guest(s); /* while the pool prepares the next one, or has it ready */
    assert_not_aged(third);
    pv_guest_free(third);
}

/* The guest's clock stands still in a standby VM. */
static void clock_stands_still(void **state)
{
    struct pv_guest *g;

    (void)state;
    pv_standby_prepare(env.standby_pool, s);
    wait_ready(s);
    usleep(3000000);
    g = resume_guest(s);
    assert_not_aged(g);
    pv_guest_free(g);
}

static void restored_from_standby(void **state)
{
    struct pv_guest *g = resume_guest(s);
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_string_equal(sh(g, "cat /tmp/x"), "one");
        sh(g, "echo changed >/tmp/x");
        if (i >= 1)
            wait_ready(s);
        assert_no_err(pv_guest_restore(g, s, NULL, &err), &err);
        assert_int_equal(pv_guest_state(g), PV_GUEST_RUNNING);
    }
    assert_string_equal(sh(g, "cat /tmp/x"), "one");
    pv_guest_free(g);
}

/* After the death of a standby VM, preempted or killed otherwise, the resume starts QEMU itself. */
static void killed_standby(void **state)
{
    struct pv_guest *g;

    (void)state;
    for (int early = 0; early < 2; early++) {
        pv_standby_pool_clear(env.standby_pool);
        process = -1;
        pv_standby_prepare(env.standby_pool, s);
        if (!early)
            wait_ready(s);
        while (process < 0)
            pv_loop_run(env.host.loop, NULL, NULL, pv_deadline(PV_NSEC_PER_MSEC), NULL);
        assert_int_equal(syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0), 0);
        if (early)
            pv_loop_run(env.host.loop, NULL, NULL, pv_deadline(20 * PV_NSEC_PER_MSEC), NULL);
        g = resume_guest(s);
        assert_string_equal(sh(g, "cat /tmp/x"), "one");
        pv_guest_free(g);
    }
}

static void refused_lease(void **state)
{
    struct pv_guest *g;

    (void)state;
    refuse = true;
    for (int i = 0; i < 3; i++) {
        g = resume_guest(s);
        assert_string_equal(sh(g, "cat /tmp/x"), "one");
        assert_null(pv_standby_name(env.standby_pool, s)); /* refused by now */
        pv_guest_free(g);
    }
}

/* A pool that is cleared at any moment of the preparation leaves no standby VM and no process. */
static void cleared_at_any_time(void **state)
{
    (void)state;
    for (int ms = 0; ms < 160; ms += 8) {
        pv_standby_prepare(env.standby_pool, s);
        pv_loop_run(env.host.loop, NULL, NULL, pv_deadline(ms * PV_NSEC_PER_MSEC), NULL);
        pv_standby_pool_clear(env.standby_pool);
        assert_null(pv_standby_name(env.standby_pool, s));
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

/* A standby VM whose kernel reports something is dropped: the finding would belong to no guest. */
static void finding_in_standby(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = resume_guest(s);
    struct pv_snapshot *loud;

    (void)state;
    /* without a pause, also after the resume; printk_devkmsg lifts the kernel's rate limit */
    sh(g, "echo on >/proc/sys/kernel/printk_devkmsg; (while :; do "
          "echo '<4>WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1/0x2' >/dev/kmsg; done) "
          ">/dev/null 2>&1 &");
    loud = pv_guest_snapshot(g, 0, &err);
    assert_no_err(loud ? 0 : -1, &err);
    pv_guest_free(g);
    pv_standby_prepare(env.standby_pool, loud);
    for (int i = 0; i < 1000 && pv_standby_name(env.standby_pool, loud); i++)
        pv_loop_run(env.host.loop, NULL, NULL, pv_deadline(10 * PV_NSEC_PER_MSEC), NULL);
    assert_null(pv_standby_name(env.standby_pool, loud));
    g = resume_guest(loud);
    findings = 0;
    sh(g, "sleep 0.5");
    pv_guest_settle_findings(g);
    assert_true(findings > 0);
    pv_guest_free(g);
    pv_snapshot_unref(loud);
}

/* Standby VMs of several snapshots: each resume gets one of its own snapshot. */
static void several_snapshots(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = resume_guest(s);
    struct pv_snapshot *more[6];

    (void)state;
    for (int i = 0; i < 6; i++) {
        char cmd[64];

        snprintf(cmd, sizeof(cmd), "echo %d >/tmp/x", i);
        sh(g, cmd);
        more[i] = pv_guest_snapshot(g, 0, &err);
        assert_no_err(more[i] ? 0 : -1, &err);
        pv_standby_prepare(env.standby_pool, more[i]);
    }
    pv_guest_free(g);
    assert_null(pv_standby_name(env.standby_pool, more[0])); /* a pool holds four at most */
    for (int i = 5; i >= 0; i--) {
        char text[16];

        g = resume_guest(more[i]);
        snprintf(text, sizeof(text), "%d", i);
        assert_string_equal(sh(g, "cat /tmp/x"), text);
        pv_guest_free(g);
    }
    for (int i = 0; i < 6; i++)
        pv_snapshot_unref(more[i]);
}

static int make_snapshot(void **state)
{
    struct pv_boot_opts o = {.transport = PV_TRANSPORT_SERIAL, .keep_disks = true, .memory = 256 << 20};
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = new_guest();

    (void)state;
    assert_no_err(pv_guest_boot(g, &o, &err), &err);
    assert_no_err(pv_agent_mount_vfs(pv_guest_agent(g), 0, &err), &err);
    sh(g, "echo one >/tmp/x; cut -d' ' -f1 /proc/uptime >/tmp/up");
    s = pv_guest_save(g, 0, &err);
    assert_no_err(s ? 0 : -1, &err);
    pv_guest_free(g);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(adopted_like_resumed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clock_stands_still, set_up, tear_down),
        cmocka_unit_test_setup_teardown(restored_from_standby, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_standby, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_lease, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cleared_at_any_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(finding_in_standby, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_snapshots, set_up, tear_down),
    };
    int r;

    vm_test_begin();
    env.observer.finding = on_finding;
    env.pool.try_acquire = standby_try_acquire;
    env.pool.preemptible = standby_set_process;
    r = cmocka_run_group_tests(tests, make_snapshot, NULL);
    pv_snapshot_unref(s);
    vm_test_end();
    return r;
}
