/* SPDX-License-Identifier: MIT */
/* The NBD server with QEMU's client: qemu-io, over an inherited socket. */
#include "util/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk/disk.h"
#include "disk/rule.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/spawn.h"

struct rig {
    struct pv_loop *loop;
    struct pv_disk *d;
    struct pv_watch out;
    struct pv_buf text;
    bool eof;
};

static void on_output(struct pv_watch *w, uint32_t events)
{
    struct rig *r = PV_CONTAINER_OF(w, struct rig, out);
    char buf[4096];
    ssize_t n = read(w->fd, buf, sizeof(buf));

    (void)events;
    if (n > 0) {
        pv_buf_add(&r->text, buf, (size_t)n);
        return;
    }
    r->eof = true;
    pv_loop_del(r->loop, w);
}

static bool is_eof(void *arg)
{
    return ((struct rig *)arg)->eof;
}

static void rig_init(struct rig *r, struct pv_disk_opts o)
{
    struct pv_err err = PV_ERR_INIT;

    memset(r, 0, sizeof(*r));
    r->loop = pv_loop_new(&err);
    o.dir = "/tmp";
    o.name = o.name ? o.name : "data";
    r->d = pv_disk_new(r->loop, &o, &err);
    if (!r->d)
        fail_msg("%s", err.text);
    r->out.fn = on_output;
}

static void rig_fini(struct rig *r)
{
    pv_disk_free(r->d);
    pv_buf_free(&r->text);
    pv_loop_free(r->loop);
}

/* Runs qemu-io with these commands, each an argument, and returns its exit status; r->text has its output. */
static int qemu_io(struct rig *r, const char *const *commands)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_strv argv = {0};
    int fd, out[2], status;
    pid_t pid;

    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    fd = pv_disk_connect(r->d, &err);
    assert_true(fd >= 0);
    pv_strv_add(&argv, "qemu-io");
    for (; *commands; commands++) {
        pv_strv_add(&argv, "-c");
        pv_strv_add(&argv, *commands);
    }
    pv_strv_add(&argv, "-n"); /* O_DIRECT: no cache but ours */
    pv_strv_add(&argv, "--image-opts");
    pv_strv_add(&argv, "driver=nbd,server.type=fd,server.str=9");
    pid = pv_spawn(&(struct pv_spawn){.file = "qemu-io",
                                      .argv = argv.v,
                                      .fds = (struct pv_spawn_fd[]){{out[1], 1}, {out[1], 2}, {fd, 9}},
                                      .n_fds = 3},
                   NULL, &err);
    if (pid < 0)
        fail_msg("%s", err.text);
    close(out[1]);
    close(fd);
    pv_buf_free(&r->text);
    r->eof = false;
    assert_int_equal(pv_loop_add(r->loop, &r->out, out[0], EPOLLIN, &err), 0);
    assert_int_equal(pv_loop_run(r->loop, is_eof, r, pv_now() + 60 * PV_NSEC_PER_SEC, &err), 0);
    close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    pv_strv_free(&argv);
    return WEXITSTATUS(status);
}

#define QEMU_IO(r, ...) qemu_io((r), (const char *const[]){__VA_ARGS__, NULL})

static void assert_bytes(struct rig *r, uint64_t at, size_t n, int byte)
{
    char *p = pv_xmalloc(n);

    assert_int_equal(pv_disk_read(r->d, at, p, n, NULL), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal((unsigned char)p[i], byte);
    free(p);
}

static void test_reads_and_writes(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, (struct pv_disk_opts){.size = 64 << 20});
    assert_int_equal(QEMU_IO(&r, "write -P 0x41 0 1M", "write -P 0x42 512 512", "read -P 0x41 0 512",
                             "read -P 0x42 512 512", "read -P 0 1M 40M", "write -z 0 512", "discard 512 512",
                             "read -P 0 0 1k", "write -P 0x43 63M 1M"),
                     0);
    assert_bytes(&r, 1024, 1024, 0x41);
    assert_bytes(&r, 63 << 20, 1 << 20, 0x43);
    rig_fini(&r);
}

/* 40 MiB are two requests of NBD and one of the guest. */
static void test_split_requests_count_once(void **state)
{
    struct pv_disk_fail f = PV_DISK_FAIL_INIT;
    struct pv_disk_stats s;
    struct pv_disk_rule *rule;
    struct rig r;

    (void)state;
    rig_init(&r, (struct pv_disk_opts){.size = 128 << 20});
    f.op = PV_DISK_WRITE;
    f.times = 1;
    f.after = 1;
    rule = pv_disk_fail(r.d, &f, NULL);
    assert_int_equal(QEMU_IO(&r, "write -z 0 100M", "write 0 40M", "write 0 40M"), 1);
    pv_disk_stats(r.d, &s);
    assert_int_equal(s.requests[PV_DISK_WRITE], 3);
    assert_int_equal(pv_disk_rule_hits(rule), 1);
    assert_int_equal(pv_disk_rule_matches(rule), 3);
    pv_disk_rule_unref(rule);
    rig_fini(&r);
}

static void test_readonly(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, (struct pv_disk_opts){.size = 1 << 20, .readonly = true});
    assert_int_equal(QEMU_IO(&r, "write 0 512"), 1);

    rig_fini(&r);
}

static void run_tool(char *const *argv)
{
    struct pv_err err = PV_ERR_INIT;
    int status;
    pid_t pid = pv_spawn(&(struct pv_spawn){.file = argv[0], .argv = argv}, NULL, &err);

    if (pid < 0)
        fail_msg("%s", err.text);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* A qcow2 image: its content is the guest's, writes reach it, a power cut takes unflushed ones back. */
static void test_qcow2(void **state)
{
    char dir[] = "/tmp/disk,qemu-XXXXXX";
    cleanup_free char *path = NULL;
    struct pv_disk_opts o = {.name = "data", .dir = "/tmp"};
    struct pv_err err = PV_ERR_INIT;
    struct rig r;

    (void)state;
    assert_non_null(mkdtemp(dir));
    path = pv_xasprintf("%s/image", dir);
    run_tool((char *[]){"qemu-img", "create", "-q", "-f", "qcow2", path, "8M", NULL});
    rig_init(&r, (struct pv_disk_opts){.size = 1 << 20});
    for (int snapshot = 0; snapshot < 2; snapshot++) {
        pv_disk_free(r.d);
        r.d = pv_disk_open_file(r.loop, &o, path, "qcow2", snapshot, &err);
        if (!r.d)
            fail_msg("%s", err.text);
        assert_int_equal(pv_disk_size(r.d), 8 << 20);
        assert_bytes(&r, 0, 512, snapshot ? 1 : 0);
        assert_int_equal(pv_disk_write(r.d, 0, memset(pv_buf_reserve(&r.text, 512), 1, 512), 512, &err), 0);
        assert_int_equal(QEMU_IO(&r, "write -P 2 1M 64k", "read -P 2 1M 64k"), 0);
        assert_int_equal(pv_disk_write(r.d, 2 << 20, "x", snapshot, &err), 0);
    }
    pv_disk_free(r.d);
    r.d = pv_disk_open_file(r.loop, &o, path, "qcow2", false, &err);
    assert_bytes(&r, 1 << 20, 65536, 2);
    assert_bytes(&r, 2 << 20, 512, 0);
    pv_disk_free(r.d);
    r.d = NULL;
    assert_null(pv_disk_open_file(r.loop, &o, path, "vmdk", false, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_and_writes),
        cmocka_unit_test(test_split_requests_count_once),
        cmocka_unit_test(test_readonly),
        cmocka_unit_test(test_qcow2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
