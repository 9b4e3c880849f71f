/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cachedir.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

static char dir[] = "/tmp/pv-cachedir-test-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) && chdir(dir) == 0 && setenv("XDG_CACHE_HOME", dir, 1) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return chdir("/") < 0 ? -1 : pv_rm_rf(dir);
}

static int empty_cache(void **state)
{
    (void)state;
    return pv_rm_rf("provium");
}

static void expect_refused(const char *sub, const char *want)
{
    cleanup_cachedir struct pv_cachedir d = PV_CACHEDIR_INIT;
    struct pv_err err = PV_ERR_INIT, checked = PV_ERR_INIT;

    assert_int_equal(pv_cachedir_open(&d, sub, &err), -1);
    assert_int_equal(d.fd, -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    if (!strstr(err.text, want) || !strstr(err.text, dir))
        fail_msg("'%s' and '%s' are not in '%s'", want, dir, err.text);
    assert_int_equal(pv_cachedir_check(sub, &checked), -1);
    assert_string_equal(checked.text, err.text);
}

static void cachedir_open_ok(struct pv_cachedir *d, const char *sub)
{
    struct pv_err err = PV_ERR_INIT;

    if (pv_cachedir_open(d, sub, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(pv_cachedir_check(sub, &err), 0);
}

static void makes_private_directories(void **state)
{
    cleanup_cachedir struct pv_cachedir d = PV_CACHEDIR_INIT;
    struct stat st;

    (void)state;
    assert_int_equal(pv_cachedir_check("sub", NULL), 0);
    assert_int_equal(access("provium", F_OK), -1);
    cachedir_open_ok(&d, "sub");
    assert_int_equal(stat("provium", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat("provium/sub", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(chmod("provium", 0755), 0);
    pv_cachedir_close(&d);
    cachedir_open_ok(&d, NULL);
    assert_int_equal(stat("provium", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(strncmp(d.path, dir, strlen(dir)), 0);
}

static void refuses_a_link(void **state)
{
    (void)state;
    assert_int_equal(mkdir("elsewhere", 0700), 0);
    assert_int_equal(symlink("elsewhere", "provium"), 0);
    expect_refused(NULL, "is a link or a file");
    expect_refused("sub", "is a link or a file");
    assert_int_equal(access("elsewhere/sub", F_OK), -1);
    assert_int_equal(unlink("provium"), 0);
    assert_int_equal(mkdir("provium", 0700), 0);
    assert_int_equal(symlink("../elsewhere", "provium/sub"), 0);
    expect_refused("sub", "sub' is a link or a file");
    assert_int_equal(rmdir("elsewhere"), 0);
}

static void refuses_a_directory_that_others_write_to(void **state)
{
    (void)state;
    assert_int_equal(mkdir("provium", 0700), 0);
    assert_int_equal(chmod("provium", 0720), 0);
    expect_refused(NULL, "can be written to by others: chmod 700 it");
    assert_int_equal(chmod("provium", 0700), 0);
    assert_int_equal(mkdir("provium/sub", 0700), 0);
    assert_int_equal(chmod("provium/sub", 0702), 0);
    expect_refused("sub", "sub' can be written to by others: chmod 700 it");
}

static void refuses_another_owner(void **state)
{
    cleanup_cachedir struct pv_cachedir d = PV_CACHEDIR_INIT;

    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: only root can give a directory to another user\n");
        skip();
    }
    cachedir_open_ok(&d, "sub");
    assert_int_equal(chown("provium/sub", 1, 1), 0);
    expect_refused("sub", "sub' belongs to user 1, not to user 0");
    assert_int_equal(chown("provium", 1, 1), 0);
    expect_refused("sub", "provium' belongs to user 1, not to user 0");
    expect_refused(NULL, "set XDG_CACHE_HOME");
}

/* A variable that names a file, or no absolute path. */
static void names_the_variable(void **state)
{
    cleanup_cachedir struct pv_cachedir d = PV_CACHEDIR_INIT;
    cleanup_free char *file = pv_path_join(dir, "file"),
                      *home = getenv("HOME") ? pv_xstrdup(getenv("HOME")) : NULL;
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_return_code(close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), errno);
    assert_int_equal(setenv("XDG_CACHE_HOME", file, 1), 0);
    assert_int_equal(pv_cachedir_open(&d, NULL, &err), -1);
    assert_non_null(
        strstr(err.text, "file/provium': Not a directory; set XDG_CACHE_HOME to a directory of your own"));
    assert_int_equal(setenv("XDG_CACHE_HOME", "relative", 1), 0);
    assert_int_equal(setenv("HOME", "relative", 1), 0);
    assert_int_equal(pv_cachedir_open(&d, NULL, &err), -1);
    assert_string_equal(err.text,
                        "no cache directory: neither XDG_CACHE_HOME nor HOME is set to an absolute path; "
                        "set XDG_CACHE_HOME to a directory of your own");
    setenv("HOME", home ? home : "/", 1);
    setenv("XDG_CACHE_HOME", dir, 1);
}

/* HOME or XDG_CACHE_HOME of somebody else, as under sudo -E: nothing is made there. */
static void refuses_a_place_of_another_user(void **state)
{
    cleanup_cachedir struct pv_cachedir d = PV_CACHEDIR_INIT;

    (void)state;
    assert_int_equal(chmod(dir, 0777), 0);
    expect_refused(NULL, "and it is not sticky (mode 0777): set XDG_CACHE_HOME");
    assert_int_equal(chmod(dir, 01777), 0);
    cachedir_open_ok(&d, NULL);
    assert_int_equal(chmod(dir, 0700), 0);
    assert_int_equal(rmdir("provium"), 0);
    if (geteuid() != 0) {
        print_message("skipped: only root can give a directory to another user\n");
        skip();
    }
    assert_int_equal(chown(dir, 1, 1), 0);
    expect_refused(NULL, "belongs to user 1, not to user 0");
    expect_refused("sub", "set XDG_CACHE_HOME to a directory of your own");
    assert_int_equal(access("provium", F_OK), -1);
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", dir, 1);
    expect_refused(NULL, "belongs to user 1, not to user 0");
    assert_int_equal(access(".cache", F_OK), -1);
    assert_int_equal(chown(dir, 0, 0), 0);
    assert_int_equal(mkdir(".cache", 0700), 0);
    assert_int_equal(chown(".cache", 1, 1), 0);
    expect_refused(NULL, ".cache' belongs to user 1, not to user 0");
    setenv("XDG_CACHE_HOME", dir, 1);
    assert_int_equal(rmdir(".cache"), 0);
}

/* pv_cachedir_use comes before both variables. */
static void uses_a_chosen_place(void **state)
{
    cleanup_cachedir struct pv_cachedir d = PV_CACHEDIR_INIT;
    cleanup_free char *place = pv_path_join(dir, "chosen");

    (void)state;
    pv_cachedir_use(place);
    cachedir_open_ok(&d, "sub");
    pv_cachedir_use(NULL);
    assert_int_equal(access("chosen/sub", F_OK), 0);
    assert_int_equal(access("provium", F_OK), -1);
}

static void expect_no_file(const struct pv_cachedir *d, const char *name, const char *want)
{
    cleanup_buf struct pv_buf text = {0};
    struct pv_err err = PV_ERR_INIT;

    assert_int_equal(pv_cachedir_file(d, name, O_RDWR | O_CREAT, &err), -1);
    if (!strstr(err.text, want))
        fail_msg("'%s' is not in '%s'", want, err.text);
    err = (struct pv_err)PV_ERR_INIT;
    assert_int_equal(pv_cachedir_read(d, name, 100, &text, &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_int_equal(text.len, 0);
}

static void reads_files_of_this_user_only(void **state)
{
    cleanup_cachedir struct pv_cachedir d = PV_CACHEDIR_INIT;
    cleanup_buf struct pv_buf text = {0};
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    cachedir_open_ok(&d, NULL);
    assert_int_equal(pv_cachedir_read(&d, "f", 100, &text, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    assert_int_equal(pv_replace_at(d.fd, "f", "text", 4), 0);
    assert_int_equal(pv_cachedir_read(&d, "f", 100, &text, &err), 0);
    assert_string_equal(text.data, "text");
    assert_int_equal(symlink("f", "provium/link"), 0);
    expect_no_file(&d, "link", "link' is a link: remove it");
    assert_int_equal(mkfifo("provium/fifo", 0600), 0); /* must not block */
    expect_no_file(&d, "fifo", "is no file of user");
    assert_int_equal(chmod("provium/f", 0620), 0);
    expect_no_file(&d, "f", "is no file of user");
    assert_int_equal(chmod("provium/f", 0600), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown("provium/f", 1, 1), 0);
        expect_no_file(&d, "f", "is no file of user 0 alone: remove it");
    }
}

/* Replacing follows no link and takes over no file. */
static void replaces_what_it_would_not_read(void **state)
{
    cleanup_cachedir struct pv_cachedir d = PV_CACHEDIR_INIT;
    cleanup_buf struct pv_buf text = {0};
    struct stat st;

    (void)state;
    cachedir_open_ok(&d, NULL);
    assert_int_equal(pv_replace_at(d.fd, "target", "kept", 4), 0);
    assert_int_equal(symlink("target", "provium/f"), 0);
    assert_int_equal(pv_replace_at(d.fd, "f", "new", 3), 0);
    assert_int_equal(pv_cachedir_read(&d, "f", 100, &text, NULL), 0);
    assert_string_equal(text.data, "new");
    assert_int_equal(stat("provium/target", &st), 0);
    assert_int_equal(st.st_size, 4);
}

static void knows_when_there_is_none(void **state)
{
    cleanup_cachedir struct pv_cachedir d = PV_CACHEDIR_INIT;
    cleanup_free char *home = getenv("HOME") ? pv_xstrdup(getenv("HOME")) : NULL;
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_int_equal(pv_cachedir_open(&d, NULL, &err), -1);
    assert_int_equal(err.cls, PV_E_MISSING);
    assert_int_equal(pv_cachedir_check(NULL, NULL), 0);
    setenv("HOME", dir, 1);
    pv_cachedir_close(&d);
    cachedir_open_ok(&d, NULL);
    assert_int_equal(access(".cache/provium", F_OK), 0);
    if (home)
        setenv("HOME", home, 1);
    setenv("XDG_CACHE_HOME", dir, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(makes_private_directories, empty_cache),
        cmocka_unit_test_setup(refuses_a_link, empty_cache),
        cmocka_unit_test_setup(refuses_a_directory_that_others_write_to, empty_cache),
        cmocka_unit_test_setup(refuses_another_owner, empty_cache),
        cmocka_unit_test_setup(names_the_variable, empty_cache),
        cmocka_unit_test_setup(refuses_a_place_of_another_user, empty_cache),
        cmocka_unit_test_setup(uses_a_chosen_place, empty_cache),
        cmocka_unit_test_setup(reads_files_of_this_user_only, empty_cache),
        cmocka_unit_test_setup(replaces_what_it_would_not_read, empty_cache),
        cmocka_unit_test_setup(knows_when_there_is_none, empty_cache),
    };

    return cmocka_run_group_tests_name("util-cachedir", tests, setup, teardown);
}
