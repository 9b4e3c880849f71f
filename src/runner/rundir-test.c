/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runner/rundir.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

static char base[] = "/tmp/pv-rundir.XXXXXX";

static int fstat_fails; /* the fstat() that fails from now on, 1: the next one; 0: none */

/* libc's, which a file system can make fail. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int fstat(int fd, struct stat *st)
{
    if (!fstat_fails || --fstat_fails > 0)
        return fstatat(fd, "", st, AT_EMPTY_PATH);
    errno = EIO;
    return -1;
}

static time_t began; /* runs are as old as they are then, also when a second ends between them */

static int set_up(void **state)
{
    (void)state;
    began = time(NULL);
    strcpy(base + strlen(base) - 6, "XXXXXX");
    return mkdtemp(base) ? setenv("TMPDIR", base, 1) : -1;
}

static int tear_down(void **state)
{
    (void)state;
    chmod(base, 0700);
    return pv_rm_rf(base);
}

/* Makes the directory of a run that ended `days` ago and was kept, or crashed (!kept). */
static void make_run(const char *name, bool kept, int days)
{
    cleanup_free char *dir = pv_xasprintf("%s/%s", base, name), *log = pv_xasprintf("%s/log", dir),
                      *mark = pv_xasprintf("%s/kept", dir);
    struct timespec t[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = began - days * 24 * 3600}};

    assert_int_equal(mkdir(dir, 0700), 0);
    close(open(log, O_CREAT | O_WRONLY, 0600));
    if (!kept)
        return;
    close(open(mark, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(utimensat(AT_FDCWD, mark, t, 0), 0);
}

static bool dir_exists(const char *name)
{
    cleanup_free char *path = pv_xasprintf("%s/%s", base, name);

    return access(path, F_OK) == 0;
}

static void rundir_open_close(bool keep)
{
    struct pv_rundir d = PV_RUNDIR_INIT;
    struct pv_err err = PV_ERR_INIT;
    struct stat st;

    assert_int_equal(pv_rundir_open(&d, &err), 0);
    assert_int_equal(stat(d.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    pv_rundir_close(&d, keep);
}

static void old_dirs_are_removed(void **state)
{
    char name[32];

    (void)state;
    make_run("provium-crash1", false, 0);
    make_run("provium-monday", true, 8);
    make_run("provium-sunday", true, 6);
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "provium-kept%02d", i);
        make_run(name, true, 0);
    }
    make_run("provium-tooshrt", true, 30);
    make_run("something", false, 0);
    rundir_open_close(false);
    assert_false(dir_exists("provium-crash1"));
    assert_false(dir_exists("provium-monday"));
    assert_false(dir_exists("provium-sunday")); /* twelve newer ones exist */
    assert_true(dir_exists("provium-kept00"));
    assert_true(dir_exists("provium-kept09"));
    assert_false(dir_exists("provium-kept10"));
    assert_false(dir_exists("provium-kept11"));
    assert_true(dir_exists("provium-tooshrt") && dir_exists("something")); /* not names of run directories */
}

static void dirs_in_use_stay(void **state)
{
    cleanup_free char *dir = pv_xasprintf("%s/provium-in-use", base),
                      *link = pv_xasprintf("%s/provium-linked", base);
    cleanup_close int fd = -1;

    (void)state;
    make_run("provium-in-use", true, 30);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    make_run("elsewhere", false, 0);
    assert_int_equal(symlink("elsewhere", link), 0);
    rundir_open_close(false);
    assert_true(dir_exists("provium-in-use/log") && dir_exists("elsewhere/log"));
    pv_close(&fd);
    rundir_open_close(true);
    assert_false(dir_exists("provium-in-use"));
}

static void unsafe_base_is_refused(void **state)
{
    struct pv_rundir d = PV_RUNDIR_INIT;
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_int_equal(chmod(base, 0777), 0);
    assert_int_equal(pv_rundir_open(&d, &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, "others may write to it, and it is not sticky (mode 0777)"));
    assert_int_equal(chmod(base, 01777), 0);
    rundir_open_close(false);
    if (geteuid() == 0) {
        assert_int_equal(chown(base, 12345, (gid_t)-1), 0);
        assert_int_equal(pv_rundir_open(&d, &err), -1);
        assert_non_null(strstr(err.text, "belongs to another user (uid 12345)"));
        assert_int_equal(chown(base, 0, (gid_t)-1), 0);
    }
}

/* A new directory that cannot be looked at is no directory of another run: it is an error, and nothing stays. */
static void unknown_dir_is_an_error(void **state)
{
    struct pv_rundir d = PV_RUNDIR_INIT;
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    fstat_fails = 1;
    assert_int_equal(pv_rundir_open(&d, &err), -1);
    fstat_fails = 0;
    assert_non_null(strstr(err.text, "cannot lock '"));
    assert_non_null(strstr(err.text, strerror(EIO)));
    assert_int_equal(rmdir(base), 0);
    assert_int_equal(mkdir(base, 0700), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(old_dirs_are_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dirs_in_use_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_dir_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unsafe_base_is_refused, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
