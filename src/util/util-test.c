/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/digest.h"
#include "util/err.h"
#include "util/host.h"
#include "util/lock.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/path.h"
#include "util/spawn.h"

static void parses_sizes(void **state)
{
    static const struct {
        const char *s;
        uint64_t bytes;
    } good[] = {{"512M", UINT64_C(512) << 20},
                {"1G", UINT64_C(1) << 30},
                {"64k", 65536},
                {"2T", UINT64_C(2) << 40},
                {"512", UINT64_C(512) << 20},
                {"1GiB", UINT64_C(1) << 30},
                {"3MB", 3 << 20}};
    static const char *const bad[] = {"",
                                      "M",
                                      "12Q",
                                      "-1G",
                                      " 1G",
                                      "1.5G",
                                      "0",
                                      "0M",
                                      "1GX",
                                      "99999999999999999999G",
                                      "18446744073709551615T",
                                      "1 G"};
    struct pv_err err;
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(good); i++) {
        assert_int_equal(pv_parse_size(good[i].s, &bytes, NULL), 0);
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++) {
        err = (struct pv_err)PV_ERR_INIT;
        assert_int_equal(pv_parse_size(bad[i], &bytes, &err), -1);
        assert_int_equal(err.cls, PV_E_USAGE);
        assert_non_null(strstr(err.text, bad[i]));
        assert_non_null(strstr(err.text, "512M"));
    }
}

static void parses_times(void **state)
{
    static const struct {
        const char *s;
        int64_t ns;
    } good[] = {{"500ms", 500 * PV_NSEC_PER_MSEC}, {"5s", 5 * PV_NSEC_PER_SEC},
                {"2m", 120 * PV_NSEC_PER_SEC},     {"1h", 3600 * PV_NSEC_PER_SEC},
                {"30", 30 * PV_NSEC_PER_SEC},      {"1.5s", 1500 * PV_NSEC_PER_MSEC}};
    static const char *const bad[] = {"", "s", "5x", "-1", "0", "nan", "inf", "1e300", "5 s", "99999999h"};
    int64_t ns;

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(good); i++) {
        assert_int_equal(pv_parse_time(good[i].s, &ns, NULL), 0);
        assert_int_equal(ns, good[i].ns);
    }
    for (size_t i = 0; i < PV_ARRAY_LEN(bad); i++)
        assert_int_equal(pv_parse_time(bad[i], &ns, NULL), -1);
    assert_int_equal(pv_seconds_to_ns(0.25, &ns, NULL), 0);
    assert_int_equal(ns, 250 * PV_NSEC_PER_MSEC);
    assert_int_equal(pv_seconds_to_ns(-1, &ns, NULL), -1);
}

static void finds_nearest_word(void **state)
{
    static const char *const known[] = {"memory", "cpus", "files", "disks", NULL};
    char buf[32];

    (void)state;
    assert_string_equal(pv_nearest("memroy", known), "memory");
    assert_string_equal(pv_nearest("cpu", known), "cpus");
    assert_null(pv_nearest("zebra", known));
    assert_null(pv_nearest("a-word-that-is-longer-than-thirty-one-bytes", known));
    assert_string_equal(pv_format_size(UINT64_C(512) << 20, buf), "512M");
    assert_string_equal(pv_format_size(1000, buf), "1000");
}

static void wraps_and_truncates_errors(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    char longer[PV_ERR_TEXT + 100];

    (void)state;
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(pv_err_sys(&err, ENOENT, "cannot open '%s'", "/x"), -1);
    assert_int_equal(pv_err_wrap(&err, "boot %d", 1), -1);
    pv_err_append(&err, "\ntail");
    assert_string_equal(err.text, "boot 1: cannot open '/x': No such file or directory\ntail");
    assert_int_equal(err.errnum, ENOENT);
    /* A text that is too long is truncated. */
    pv_err_set(&err, PV_E_HOST, "%s", longer);
    pv_err_wrap(&err, "%s", longer);
    pv_err_append(&err, "%s", longer);
    assert_int_equal(strlen(err.text), PV_ERR_TEXT - 1);
    assert_int_equal(pv_err_set(NULL, PV_E_HOST, "nobody asks"), -1);
}

static void grows_buffers(void **state)
{
    cleanup_buf struct pv_buf b = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        pv_buf_addf(&b, "%d,", i);
    assert_int_equal(b.len, strlen(b.data));
    pv_buf_consume(&b, 4);
    assert_memory_equal(b.data, "2,3,", 4);
    pv_buf_consume(&b, b.len + 5);
    assert_int_equal(b.len, 0);
    pv_buf_add(&b, "a\0b", 3);
    assert_int_equal(b.len, 3);
}

static void grows_arrays_seldom(void **state)
{
    unsigned *v = NULL;
    size_t room = 0;

    (void)state;
    for (unsigned n = 0; n < 1000; n++) {
        v = pv_xgrow(v, n, sizeof(*v));
        v[n] = n;
        if (n + 1 > room) {
            room = n ? 2 * n : 1;
            memset(v + n + 1, 0xff, (room - n - 1) * sizeof(*v)); /* a sanitizer sees that it is there */
        }
    }
    for (unsigned n = 0; n < 1000; n++)
        assert_int_equal(v[n], n);
    assert_int_equal(room, 1024);
    free(v);
}

static void handles_paths(void **state)
{
    char dir[] = "/tmp/provium-util-test-XXXXXX";
    cleanup_free char *deep = NULL, *joined = pv_path_join("/a/", "b"), *absolute = pv_path_join("/a", "/b");
    cleanup_free char *up = pv_path_dirname("/x/y"), *root = pv_path_dirname("/x");
    struct stat st;

    (void)state;
    assert_string_equal(joined, "/a/b");
    assert_string_equal(absolute, "/b");
    assert_string_equal(up, "/x");
    assert_string_equal(root, "/");
    assert_string_equal(pv_path_basename("/x/y"), "y");
    assert_non_null(mkdtemp(dir));
    deep = pv_xasprintf("%s/one/two", dir);
    assert_int_equal(pv_mkdir_p(deep, 0700, NULL), 0);
    assert_int_equal(pv_mkdir_p(deep, 0700, NULL), 0);
    assert_int_equal(stat(deep, &st), 0);
    /* pv_rm_rf removes a link out of the tree and does not follow it. */
    {
        cleanup_free char *link = pv_xasprintf("%s/one/link", dir);

        assert_int_equal(symlink("/etc", link), 0);
    }
    assert_int_equal(pv_rm_rf(dir), 0);
    assert_int_equal(stat(dir, &st), -1);
    assert_int_equal(stat("/etc/passwd", &st), 0);
    assert_int_equal(pv_rm_rf(dir), 0);
}

/* Digests and hex against known values; pv_digest_fd starts at offset 0 wherever the descriptor stands. */
static void digests_bytes_and_files(void **state)
{
    static const char of_abc[] = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
    char text[PV_DIGEST_TEXT], path[] = "/tmp/provium-digest-test-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);

    (void)state;
    pv_hex("\x00\xa5\xff", 3, text);
    assert_string_equal(text, "00a5ff");
    pv_digest("abc", 3, text);
    assert_string_equal(text, of_abc);
    assert_int_equal(write(fd, "abc", 3), 3);
    memset(text, 0, sizeof(text));
    assert_int_equal(pv_digest_fd(fd, text), 0);
    assert_string_equal(text, of_abc);
    assert_int_equal(pv_digest_fd(-1, text), -1);
    unlink(path);
    close(fd);
}

static void knows_the_boot_id(void **state)
{
    char a[PV_BOOT_ID_LEN + 1], b[PV_BOOT_ID_LEN + 1];

    (void)state;
    assert_true(pv_boot_id(a) && pv_boot_id(b));
    assert_int_equal(strlen(a), PV_BOOT_ID_LEN);
    assert_string_equal(a, b);
}

static void spawns_programs(void **state)
{
    int out[2], pidfd = -1, status;
    char *argv[] = {"sh", "-c", "echo $X >&7; ls /proc/self/fd | wc -l >&7; exit 3", NULL};
    char *envp[] = {"PATH=/bin:/usr/bin", "X=hello", NULL};
    char buf[64] = "", text[64];
    struct pv_err err = PV_ERR_INIT;
    pid_t pid;
    ssize_t n, have = 0;

    (void)state;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid = pv_spawn(
        &(struct pv_spawn){
            .file = "sh", .argv = argv, .envp = envp, .fds = (struct pv_spawn_fd[]){{out[1], 7}}, .n_fds = 1},
        &pidfd, &err);
    assert_true(pid > 0);
    close(out[1]);
    while ((n = read(out[0], buf + have, sizeof(buf) - 1 - (size_t)have)) > 0)
        have += n;
    /* Descriptors 0, 1, 2, 7 and the directory that ls reads. */
    assert_string_equal(buf, "hello\n5\n");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_string_equal(pv_wait_status_text(status, text), "exit status 3");
    close(out[0]);
    close(pidfd);

    assert_int_equal(pv_spawn(&(struct pv_spawn){.file = "no-such-program-at-all", .argv = argv}, NULL, &err),
                     -1);
    assert_int_equal(err.cls, PV_E_MISSING);
    assert_non_null(strstr(err.text, "no-such-program-at-all"));
    assert_int_equal(pv_spawn(&(struct pv_spawn){.file = "/etc/passwd", .argv = argv}, NULL, &err), -1);
}

/* As many descriptors as a VM with all its disks needs, at any numbers: each arrives at its own. */
static void spawns_with_many_descriptors(void **state)
{
    enum { N = 96, FIRST = 5 };
    char *argv[] = {"sh", "-c", "for i in $(seq 5 100); do read n <&$i && [ $n = $i ] || exit 1; done", NULL};
    struct pv_spawn_fd fds[N];
    struct pv_err err = PV_ERR_INIT;
    int status;
    pid_t pid;

    (void)state;
    for (int i = 0; i < N; i++) {
        int to = FIRST + (i * 7) % N, fd[2];

        assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
        assert_true(dprintf(fd[1], "%d\n", to) > 0);
        close(fd[1]);
        fds[i] = (struct pv_spawn_fd){fd[0], to};
    }
    pid = pv_spawn(&(struct pv_spawn){.file = "bash", .argv = argv, .fds = fds, .n_fds = N}, NULL, &err);
    if (pid < 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < N; i++)
        close(fds[i].from);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* The child of pv_spawn ends when its parent is killed. */
static void kills_child_with_parent(void **state)
{
    int up[2], pid = 0;
    pid_t mid;

    (void)state;
    assert_int_equal(pipe2(up, O_CLOEXEC), 0);
    mid = fork();
    if (mid == 0) {
        char *argv[] = {"sleep", "100", NULL};
        pid_t child = pv_spawn(&(struct pv_spawn){.file = "sleep", .argv = argv}, NULL, NULL);

        if (write(up[1], &child, sizeof(child)) != sizeof(child))
            _exit(1);
        pause();
        _exit(0);
    }
    assert_int_equal(read(up[0], &pid, sizeof(pid)), sizeof(pid));
    assert_true(pid > 0);
    kill(mid, SIGKILL);
    waitpid(mid, NULL, 0);
    for (int64_t end = pv_deadline(2 * PV_NSEC_PER_SEC); pv_now() < end;) {
        char path[64], stat_line[128] = "";
        cleanup_file FILE *f = NULL;

        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        f = fopen(path, "re");
        if (!f || !fgets(stat_line, sizeof(stat_line), f) || strstr(stat_line, ") Z "))
            return;
        usleep(5000);
    }
    kill(pid, SIGKILL);
    fail_msg("the child outlived its parent");
}

/* Two descriptions of one file exclude each other, as two processes do. */
static void waits_for_locks(void **state)
{
    char path[] = "/tmp/provium-lock-XXXXXX";
    int a = mkstemp(path), b = open(path, O_RDWR | O_CLOEXEC), stop[2];

    (void)state;
    assert_int_equal(unlink(path), 0);
    assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
    assert_int_equal(pv_lock_until(a, 0, -1), 0);
    assert_int_equal(pv_lock_until(b, pv_deadline(30 * PV_NSEC_PER_MSEC), stop[0]), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(write(stop[1], "", 1), 1);
    assert_int_equal(pv_lock_until(b, PV_FOREVER, stop[0]), -1);
    assert_int_equal(errno, ECANCELED);
    close(a);
    assert_int_equal(pv_lock_until(b, 0, stop[0]), 0);
    assert_int_equal(pv_lock_until(-1, PV_FOREVER, -1), -1);
    assert_int_equal(errno, EBADF);
    close(b);
    close(stop[0]);
    close(stop[1]);
}

/* A directory may be executed, too; it is no program. */
static void finds_programs_only(void **state)
{
    cleanup_free char *shell = pv_find_program("sh");

    (void)state;
    assert_non_null(shell);
    assert_null(pv_find_program("/tmp"));
    assert_null(pv_find_program(""));
    assert_null(pv_find_program("/dev/null"));
}

static void makes_variables_absolute(void **state)
{
    static const char name[] = "PROVIUM_TEST_VARIABLE";
    char cwd[4096];
    cleanup_free char *want = NULL;

    (void)state;
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    want = pv_path_join(cwd, "some/place");
    pv_env_absolute(name);
    assert_null(getenv(name));
    setenv(name, "", 1);
    pv_env_absolute(name);
    assert_string_equal(getenv(name), "");
    setenv(name, "some/place", 1);
    pv_env_absolute(name);
    assert_string_equal(getenv(name), want);
    pv_env_absolute(name);
    assert_string_equal(getenv(name), want);
    unsetenv(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_sizes),
        cmocka_unit_test(parses_times),
        cmocka_unit_test(finds_nearest_word),
        cmocka_unit_test(wraps_and_truncates_errors),
        cmocka_unit_test(grows_buffers),
        cmocka_unit_test(grows_arrays_seldom),
        cmocka_unit_test(handles_paths),
        cmocka_unit_test(digests_bytes_and_files),
        cmocka_unit_test(knows_the_boot_id),
        cmocka_unit_test(spawns_programs),
        cmocka_unit_test(spawns_with_many_descriptors),
        cmocka_unit_test(kills_child_with_parent),
        cmocka_unit_test(waits_for_locks),
        cmocka_unit_test(finds_programs_only),
        cmocka_unit_test(makes_variables_absolute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
