/* SPDX-License-Identifier: MIT */
/* A real QEMU without a kernel: the firmware finds nothing to boot and waits. */
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/path.h"
#include "util/spawn.h"
#include "vm/overlay.h"
#include "vm/qmp.h"
#include "vm/version.h"
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
    cleanup_free char *path = pv_path_join(dir, "missing.log");
    struct pv_conlog *log = pv_conlog_new(path);
    struct pv_vm_spec spec = plain_spec();
    struct pv_err err = PV_ERR_INIT;
    struct pv_loop *loop = pv_loop_new(NULL);

    (void)state;
    spec.qemu = "qemu-system-none";
    assert_null(pv_vm_start(loop, &spec, log, NULL, NULL, &err));
    assert_int_equal(err.cls, PV_E_MISSING);
    assert_non_null(strstr(err.text, "'qemu-system-none'"));
    assert_non_null(strstr(err.text, "qemu-system-x86"));
    assert_int_equal(access(path, F_OK), -1);
    assert_null(pv_conlog_path(log));
    pv_conlog_free(log);
    pv_loop_free(loop);
}

static void assert_refused(struct pv_vm_spec *spec, const char *word)
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
    assert_refused(&spec, "-nonsense");
    spec = plain_spec();
    spec.kernel = text;
    assert_refused(&spec, "kernel");
    spec = plain_spec();
    spec.machine = "nonesuch";
    assert_refused(&spec, "unsupported machine type");
    spec = plain_spec();
    spec.disks = &disk;
    spec.n_disks = 1;
    assert_refused(&spec, "/nonexistent/disk");
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
    run_until(&r, NULL, 50); /* lets the loop handle pending events */
    assert_int_equal(r.ends, 0);
    assert_int_equal(pv_vm_qmp(r.vm, "query-status", NULL, NULL, pv_deadline(PV_NSEC_PER_SEC), NULL), -1);
    run_stop(&r);

    /* right after the start, before the loop runs */
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
    assert_true(pv_now() - start < PV_NSEC_PER_SEC);
    assert_int_equal(r.ends, 1);
    assert_string_equal(pv_vm_end_reason(r.vm), "QEMU was killed by SIGKILL");
    pv_vm_kill(r.vm);
    assert_string_equal(pv_vm_end_reason(r.vm), "QEMU was killed by SIGKILL");
    run_stop(&r);

    /* while a command waits for its reply; SIGSTOP keeps QEMU from sending one */
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

/* The QMP command `stop` does not end the VM. */
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

/* SIGKILL of the parent process ends QEMU. */
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

/*
 * QEMU waits for the vhost-user back end while it makes its devices, and serves nothing else.  With a silent
 * back end it can still be killed; a closed back end makes it exit.
 */
static void test_vhost_user_peer(void **state)
{
    struct pv_vm_spec spec = plain_spec();
    struct pv_err err = PV_ERR_INIT;
    int64_t start;
    struct run r;
    int fds[2];

    (void)state;
    spec.channel.kind = PV_CHANNEL_VHOST_USER_VSOCK;
    spec.channel.cid = 3;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    spec.channel.fd = fds[1];
    run_start(&r, &spec, NULL);
    close(fds[1]);
    assert_int_equal(pv_vm_qmp(r.vm, "query-status", NULL, NULL, pv_deadline(PV_NSEC_PER_SEC), &err), -1);
    assert_int_equal(err.cls, PV_E_TIMEOUT);
    assert_int_equal(pv_vm_state(r.vm), PV_VM_RUNNING);
    start = pv_now();
    pv_vm_kill(r.vm);
    assert_true(pv_now() - start < PV_NSEC_PER_SEC);
    run_stop(&r);
    close(fds[0]);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    spec.channel.fd = fds[1];
    run_start(&r, &spec, NULL);
    close(fds[1]);
    close(fds[0]);
    assert_true(run_until(&r, run_ended, 5000));
    if (strncmp(pv_vm_end_reason(r.vm), "QEMU refused to start (exit status 1): ", 39) != 0 ||
        !strstr(pv_vm_end_reason(r.vm), "vhost"))
        fail_msg("%s", pv_vm_end_reason(r.vm));
    run_stop(&r);
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

static unsigned count_entries(const char *path)
{
    DIR *d = opendir(path);
    unsigned n = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Starts two VMs on one image; the second one runs, or (refusal) ends with that reason. */
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
    assert_int_equal(count_entries(tmp), 0);
    unsetenv("TMPDIR");
}

/* An overlay has no name: killing QEMU at any time leaves no file. */
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
    for (int ms = 0; ms < 60; ms += 3) {
        run_start(&r, &spec, NULL);
        assert_false(run_until(&r, run_ended, ms));
        kill(pv_vm_pid(r.vm), SIGKILL);
        assert_true(run_until(&r, run_ended, 2000));
        assert_int_equal(count_entries(tmp), 0);
        run_stop(&r);
    }
    unsetenv("TMPDIR");
}

/* Exit status of a program that inherits `fd` as 9; -1: it is not installed. */
static int run_with_fd(char *const *argv, int fd)
{
    const struct pv_spawn_fd fds[] = {{fd, 9}};
    struct pv_spawn sp = {.file = argv[0], .argv = argv, .fds = fds, .n_fds = fd >= 0};
    int status = -1;
    pid_t pid = pv_spawn(&sp, NULL, NULL);

    if (pid < 0)
        return -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

/* The overlay is a valid image, shows its backing image, and takes all writes. */
static void overlay_of(const char *path, const char *format, const char *last)
{
    const struct pv_vm_disk disk = {.path = path, .format = format, .snapshot = true};
    cleanup_free char *image = pv_xasprintf("driver=qcow2,file.filename=/proc/self/fd/9,backing.driver=%s,"
                                            "backing.file.filename=%s",
                                            format, path);
    char *check[] = {(char *)"qemu-img", (char *)"check",           (char *)"-q", (char *)"-f",
                     (char *)"qcow2",    (char *)"/proc/self/fd/9", NULL};
    char *io[] = {(char *)"qemu-io",
                  (char *)"--image-opts",
                  (char *)"-c",
                  (char *)"read -P 0x5a 0 64k",
                  (char *)"-c",
                  (char *)"write -P 0xab 4k 128k",
                  (char *)"-c",
                  (char *)"read -P 0xab 4k 128k",
                  (char *)"-c",
                  (char *)"read -P 0x5a 0 4k",
                  (char *)"-c",
                  (char *)last,
                  image,
                  NULL};
    char *wrong[] = {
        (char *)"qemu-io", (char *)"--image-opts", (char *)"-c", (char *)"read -P 0x11 4k 4k", image, NULL};
    cleanup_buf struct pv_buf before = {0}, after = {0};
    struct pv_err err = PV_ERR_INIT;
    cleanup_close int fd = pv_overlay_open(&disk, &err);

    if (fd < 0)
        fail_msg("%s", err.text);
    assert_int_equal(pv_read_file(path, 4 << 20, &before, NULL), 0);
    assert_int_equal(run_with_fd(check, fd), 0);
    assert_int_equal(run_with_fd(io, fd), 0);
    assert_int_not_equal(run_with_fd(wrong, fd), 0); /* proves that the check can fail */
    assert_int_equal(run_with_fd(check, fd), 0);
    assert_int_equal(pv_read_file(path, 4 << 20, &after, NULL), 0);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
}

static void test_overlay(void **state)
{
    cleanup_free char *raw = make_disk("odd.img", 0600), *qcow2 = pv_path_join(dir, "q.qcow2");
    char *create[] = {(char *)"qemu-img", (char *)"create",
                      (char *)"-q",       (char *)"-f",
                      (char *)"qcow2",    qcow2,
                      (char *)"700G",     NULL};
    char *fill[] = {(char *)"qemu-io",
                    (char *)"-f",
                    (char *)"qcow2",
                    (char *)"-c",
                    (char *)"write -P 0x5a 0 64k",
                    qcow2,
                    NULL};
    int fd = open(raw, O_WRONLY | O_CLOEXEC);
    char pattern[65536];

    (void)state;
    memset(pattern, 0x5a, sizeof(pattern));
    assert_int_equal(pv_write_all(fd, pattern, sizeof(pattern)), 0);
    close(fd);
    assert_int_equal(truncate(raw, (1 << 20) + 1000), 0);
    if (run_with_fd(create, -1) == -1)
        skip(); /* qemu-img is in a package of its own */
    assert_int_equal(run_with_fd(fill, -1), 0);
    overlay_of(raw, "raw", "write 1049088 512"); /* the last sector, half of it beyond the file */
    overlay_of(qcow2, "qcow2", "write 751619276288 512");
}

/* QEMU sees the disk at its size. */
static void test_snapshot_size(void **state)
{
    cleanup_free char *raw = make_disk("size.img", 0600);
    const struct pv_vm_disk disk = {.path = raw, .format = "raw", .snapshot = true};
    struct pv_vm_spec spec = plain_spec();
    char *reply = NULL;
    struct run r;

    (void)state;
    assert_int_equal(truncate(raw, 123456512), 0);
    spec.disks = &disk;
    spec.n_disks = 1;
    run_start(&r, &spec, NULL);
    assert_int_equal(pv_vm_qmp(r.vm, "query-block", NULL, &reply, pv_deadline(20 * PV_NSEC_PER_SEC), NULL),
                     0);
    assert_non_null(strstr(reply, "\"virtual-size\":123456512"));
    assert_non_null(strstr(reply, "\"device\":\"disk0\""));
    free(reply);
    run_stop(&r);
}

static void test_snapshot_refused(void **state)
{
    cleanup_free char *raw = make_disk("r.img", 0600), *tmp = pv_path_join(dir, "tmp3");
    struct pv_vm_disk disk = {.path = "/nonexistent/disk", .format = "raw", .snapshot = true};
    struct pv_vm_spec spec = plain_spec();
    struct pv_loop *loop = pv_loop_new(NULL);
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    spec.disks = &disk;
    spec.n_disks = 1;
    assert_null(pv_vm_start(loop, &spec, NULL, NULL, NULL, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, "/nonexistent/disk"));
    disk.path = raw;
    disk.format = "qcow2";
    assert_null(pv_vm_start(loop, &spec, NULL, NULL, NULL, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, "no qcow2 image"));
    disk.format = "raw";
    setenv("TMPDIR", tmp, 1); /* is not there */
    assert_null(pv_vm_start(loop, &spec, NULL, NULL, NULL, &err));
    assert_int_equal(err.cls, PV_E_HOST);
    assert_non_null(strstr(err.text, tmp));
    unsetenv("TMPDIR");
    disk.snapshot = false;
    spec.n_disks = PV_VM_DISKS_MAX + 1;
    assert_null(pv_vm_start(loop, &spec, NULL, NULL, NULL, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    pv_loop_free(loop);
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
        cmocka_unit_test(test_vhost_user_peer),
        cmocka_unit_test(test_disks_shared),
        cmocka_unit_test(test_snapshot_leaves_nothing),
        cmocka_unit_test(test_overlay),
        cmocka_unit_test(test_snapshot_size),
        cmocka_unit_test(test_snapshot_refused),
    };
    char *version = pv_qemu_version(NULL, NULL);

    if (!version) {
        printf("skipped: no qemu-system-x86_64\n");
        return 77;
    }
    free(version);
    return cmocka_run_group_tests(tests, setup, teardown);
}
