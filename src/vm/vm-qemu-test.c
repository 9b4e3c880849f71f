/* SPDX-License-Identifier: MIT */
/* A real QEMU, no kernel: its firmware finds nothing to boot and waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/path.h"
#include "vm/vm-test.h"

static char dir[] = "/tmp/provium-vm-test-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return pv_rm_rf(dir);
}

static void status_running(struct run *r)
{
    struct pv_err err = PV_ERR_INIT;
    char *reply = NULL;

    if (pv_vm_qmp(r->vm, "query-status", NULL, &reply, pv_deadline(20 * PV_NSEC_PER_SEC), &err) < 0)
        fail_msg("%s (%s)", err.text, pv_vm_end_reason(r->vm));
    assert_non_null(strstr(reply, "\"running\":true"));
    free(reply);
}

static void test_version(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    char *v = pv_qemu_version(NULL, &err);

    (void)state;
    assert_non_null(v);
    assert_true(v[0] >= '0' && v[0] <= '9' && strchr(v, '.'));
    free(v);
    assert_null(pv_qemu_version("qemu-system-none", &err));
    assert_int_equal(err.cls, PV_E_MISSING);
    assert_null(pv_qemu_version("true", &err));
    assert_non_null(strstr(err.text, "names no version"));
}

static void test_qemu_missing(void **state)
{
    cleanup_free char *log = pv_path_join(dir, "missing.log");
    struct pv_vm_spec spec = plain_spec();
    struct pv_err err = PV_ERR_INIT;
    struct pv_loop *loop = pv_loop_new(NULL);

    (void)state;
    spec.qemu = "qemu-system-none";
    assert_null(pv_vm_start(loop, &spec, log, NULL, NULL, &err));
    assert_int_equal(err.cls, PV_E_MISSING);
    assert_non_null(strstr(err.text, "'qemu-system-none'"));
    assert_non_null(strstr(err.text, "qemu-system-x86"));
    assert_int_equal(access(log, F_OK), -1);
    pv_loop_free(loop);
}

static void refused(struct pv_vm_spec *spec, const char *word)
{
    struct pv_err err = PV_ERR_INIT;
    struct run r;

    run_start(&r, spec, NULL);
    assert_string_equal(pv_vm_end_reason(r.vm), "");
    assert_int_equal(pv_vm_qmp(r.vm, "query-status", NULL, NULL, pv_deadline(5 * PV_NSEC_PER_SEC), &err), -1);
    assert_int_equal(err.cls, PV_E_GUEST_DIED);
    assert_true(run_until(&r, run_ended, 2000));
    assert_int_equal(r.ends, 1);
    if (strncmp(pv_vm_end_reason(r.vm), "QEMU refused to start (exit status 1): ", 39) != 0 ||
        !strstr(pv_vm_end_reason(r.vm), word))
        fail_msg("%s", pv_vm_end_reason(r.vm));
    assert_false(pv_vm_guest_powered_off(r.vm));
    run_stop(&r);
}

static void test_refused(void **state)
{
    static char *const nonsense[] = {(char *)"-nonsense", NULL};
    cleanup_free char *text = pv_path_join(dir, "text");
    struct pv_vm_disk disk = {.path = "/nonexistent/disk", .format = "raw"};
    struct pv_vm_spec spec = plain_spec();
    int fd = open(text, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    (void)state;
    assert_int_equal(pv_write_all(fd, "no kernel\n", 10), 0);
    close(fd);
    spec.extra_args = nonsense;
    refused(&spec, "-nonsense");
    spec = plain_spec();
    spec.kernel = text;
    refused(&spec, "kernel");
    spec = plain_spec();
    spec.machine = "nonesuch";
    refused(&spec, "unsupported machine type");
    spec = plain_spec();
    spec.disks = &disk;
    spec.n_disks = 1;
    refused(&spec, "/nonexistent/disk");
}

static void test_kill_is_idempotent(void **state)
{
    struct pv_vm_spec spec = plain_spec();
    struct run r;
    pid_t pid;

    (void)state;
    run_start(&r, &spec, NULL);
    pid = pv_vm_pid(r.vm);
    status_running(&r);
    assert_int_equal(pv_vm_state(r.vm), PV_VM_RUNNING);
    pv_vm_kill(r.vm);
    assert_int_equal(pv_vm_state(r.vm), PV_VM_ENDED);
    assert_string_equal(pv_vm_end_reason(r.vm), "it was killed");
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    pv_vm_kill(r.vm);
    assert_false(run_until(&r, NULL, 50) && false);
    assert_int_equal(r.ends, 0);
    assert_int_equal(pv_vm_qmp(r.vm, "query-status", NULL, NULL, pv_deadline(PV_NSEC_PER_SEC), NULL), -1);
    run_stop(&r);

    /* at once after the start, and never run at all */
    run_start(&r, &spec, NULL);
    pv_vm_kill(r.vm);
    run_stop(&r);
    run_start(&r, &spec, NULL);
    run_stop(&r);
    pv_vm_free(NULL);
}

static void test_killed_by_another(void **state)
{
    struct pv_vm_spec spec = plain_spec();
    struct pv_err err = PV_ERR_INIT;
    int64_t start;
    struct run r;

    (void)state;
    run_start(&r, &spec, NULL);
    status_running(&r);
    kill(pv_vm_pid(r.vm), SIGKILL);
    start = pv_now();
    assert_true(run_until(&r, run_ended, 2000));
    assert_true(pv_now() - start < 500 * PV_NSEC_PER_MSEC);
    assert_int_equal(r.ends, 1);
    assert_string_equal(pv_vm_end_reason(r.vm), "QEMU was killed by SIGKILL");
    pv_vm_kill(r.vm);
    assert_string_equal(pv_vm_end_reason(r.vm), "QEMU was killed by SIGKILL");
    run_stop(&r);

    /* while a command waits for its answer: stopped first, so that none comes */
    run_start(&r, &spec, NULL);
    status_running(&r);
    kill(pv_vm_pid(r.vm), SIGSTOP);
    assert_int_equal(pv_vm_qmp(r.vm, "query-status", NULL, NULL, pv_deadline(100 * PV_NSEC_PER_MSEC), &err),
                     -1);
    assert_int_equal(err.cls, PV_E_TIMEOUT);
    kill(pv_vm_pid(r.vm), SIGKILL);
    start = pv_now();
    assert_int_equal(pv_vm_qmp(r.vm, "query-status", NULL, NULL, pv_deadline(9 * PV_NSEC_PER_SEC), &err), -1);
    assert_int_equal(err.cls, PV_E_GUEST_DIED);
    assert_true(pv_now() - start < PV_NSEC_PER_SEC);
    run_stop(&r);
}

/* `stop` is ours: a guest that stands still is no guest that has ended. */
static void test_stop_is_no_end(void **state)
{
    struct pv_vm_spec spec = plain_spec();
    struct pv_err err = PV_ERR_INIT;
    struct run r;

    (void)state;
    run_start(&r, &spec, NULL);
    assert_int_equal(pv_vm_qmp(r.vm, "stop", NULL, NULL, pv_deadline(20 * PV_NSEC_PER_SEC), &err), 0);
    assert_false(run_until(&r, run_ended, 200));
    assert_int_equal(pv_vm_qmp(r.vm, "cont", NULL, NULL, pv_deadline(20 * PV_NSEC_PER_SEC), &err), 0);
    status_running(&r);
    assert_int_equal(r.ends, 0);
    run_stop(&r);
}

static void test_quit(void **state)
{
    struct pv_vm_spec spec = plain_spec();
    struct pv_err err = PV_ERR_INIT;
    struct run r;

    (void)state;
    run_start(&r, &spec, NULL);
    assert_int_equal(pv_vm_qmp(r.vm, "nonesuch", NULL, NULL, pv_deadline(20 * PV_NSEC_PER_SEC), &err), -1);
    assert_int_equal(err.cls, PV_E_HOST);
    assert_int_equal(pv_vm_qmp(r.vm, "quit", NULL, NULL, pv_deadline(20 * PV_NSEC_PER_SEC), &err), 0);
    assert_true(run_until(&r, run_ended, 5000));
    assert_string_equal(pv_vm_end_reason(r.vm), "QEMU was told to end (host-qmp-quit)");
    assert_false(pv_vm_guest_powered_off(r.vm));
    run_stop(&r);
}

/* SIGKILL of the process that started it takes QEMU along. */
static void test_parent_killed(void **state)
{
    struct pollfd pfd = {.events = POLLIN};
    pid_t child, qemu = 0;
    int pipefd[2];

    (void)state;
    assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        struct pv_vm_spec spec = plain_spec();
        struct pv_loop *loop = pv_loop_new(NULL);
        struct pv_vm *vm = pv_vm_start(loop, &spec, NULL, NULL, NULL, NULL);
        pid_t pid = vm ? pv_vm_pid(vm) : 0;

        alarm(30);
        pv_vm_qmp(vm, "query-status", NULL, NULL, pv_deadline(20 * PV_NSEC_PER_SEC), NULL);
        if (write(pipefd[1], &pid, sizeof(pid)) < 0)
            _exit(1);
        pv_loop_run(loop, NULL, NULL, PV_FOREVER, NULL);
        _exit(0);
    }
    close(pipefd[1]);
    assert_int_equal(read(pipefd[0], &qemu, sizeof(qemu)), sizeof(qemu));
    close(pipefd[0]);
    assert_true(qemu > 0);
    pfd.fd = (int)syscall(SYS_pidfd_open, qemu, 0);
    assert_true(pfd.fd >= 0);
    assert_int_equal(poll(&pfd, 1, 0), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(poll(&pfd, 1, 2000), 1);
    close(pfd.fd);
}

/* ---- disks ---- */

static char *make_disk(const char *name, mode_t mode)
{
    char *path = pv_path_join(dir, name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, mode);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    close(fd);
    return path;
}

static unsigned entries(const char *path)
{
    DIR *d = opendir(path);
    unsigned n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Two VMs on one image: `second` as run_start, or what refuses it. */
static void two_on_one(const struct pv_vm_disk *disk, const char *refusal)
{
    struct pv_vm_spec spec = plain_spec();
    struct run a, b;

    spec.disks = disk;
    spec.n_disks = 1;
    run_start(&a, &spec, NULL);
    status_running(&a);
    run_start(&b, &spec, NULL);
    if (refusal) {
        assert_true(run_until(&b, run_ended, 10000));
        if (!strstr(pv_vm_end_reason(b.vm), refusal))
            fail_msg("%s", pv_vm_end_reason(b.vm));
    } else {
        status_running(&b);
    }
    run_stop(&b);
    status_running(&a);
    run_stop(&a);
}

static void test_disks_shared(void **state)
{
    cleanup_free char *path = make_disk("a,b=c.img", 0600), *tmp = pv_path_join(dir, "tmp");
    const struct pv_vm_disk readonly = {.path = path, .format = "raw", .readonly = true};
    const struct pv_vm_disk snapshot = {.path = path, .format = "raw", .snapshot = true};
    const struct pv_vm_disk writable = {.path = path, .format = "raw"};

    (void)state;
    assert_int_equal(mkdir(tmp, 0700), 0);
    setenv("TMPDIR", tmp, 1);
    two_on_one(&readonly, NULL);
    two_on_one(&snapshot, NULL);
    two_on_one(&writable, "lock");
    assert_int_equal(entries(tmp), 0);
    unsetenv("TMPDIR");
}

/* What is thrown away lives in a file without a name: none is left whenever QEMU is killed. */
static void test_snapshot_leaves_nothing(void **state)
{
    cleanup_free char *path = make_disk("s.img", 0400), *tmp = pv_path_join(dir, "tmp2");
    const struct pv_vm_disk disk = {.path = path, .format = "raw", .snapshot = true};
    struct pv_vm_spec spec = plain_spec();
    struct run r;

    (void)state;
    assert_int_equal(mkdir(tmp, 0700), 0);
    setenv("TMPDIR", tmp, 1);
    spec.disks = &disk;
    spec.n_disks = 1;
    run_start(&r, &spec, NULL);
    status_running(&r);
    assert_int_equal(entries(tmp), 0);
    kill(pv_vm_pid(r.vm), SIGKILL);
    assert_true(run_until(&r, run_ended, 2000));
    assert_int_equal(entries(tmp), 0);
    run_stop(&r);
    unsetenv("TMPDIR");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_qemu_missing),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_kill_is_idempotent),
        cmocka_unit_test(test_killed_by_another),
        cmocka_unit_test(test_stop_is_no_end),
        cmocka_unit_test(test_quit),
        cmocka_unit_test(test_parent_killed),
        cmocka_unit_test(test_disks_shared),
        cmocka_unit_test(test_snapshot_leaves_nothing),
    };
    char *version = pv_qemu_version(NULL, NULL);

    if (!version) {
        printf("skipped: no qemu-system-x86_64\n");
        return 77;
    }
    free(version);
    return cmocka_run_group_tests(tests, setup, teardown);
}
