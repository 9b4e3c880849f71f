/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/find.h"
#include "util/err.h"
#include "util/path.h"

static char dir[] = "/tmp/pv-find-test-XXXXXX";

static void touch_file(const char *path)
{
    cleanup_free char *parent = pv_path_dirname(path);
    int fd;

    assert_int_equal(pv_mkdir_p(parent, 0700, NULL), 0);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    touch_file("t/b.lua");
    touch_file("t/a.lua");
    touch_file("t/sub/c.lua");
    touch_file("t/sub/notes.txt");
    touch_file("t/fixtures/f.lua");
    touch_file("t/sub/fixtures/deep/g.lua");
    touch_file("t/.hidden.lua");
    touch_file("t/.git/h.lua");
    touch_file("u/a.lua");
    touch_file("empty/readme");
    touch_file("script");
    assert_int_equal(mkdir("t/dir.lua", 0700), 0);
    touch_file("t/dir.lua/in.lua");
    assert_int_equal(mkfifo("t/fifo.lua", 0600), 0);
    assert_int_equal(symlink("../..", "t/sub/loop"), 0); /* leads to u/, and to t/ again */
    assert_int_equal(symlink("b.lua", "t/0link.lua"), 0);
    assert_int_equal(symlink("nowhere", "t/dangling"), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return chdir("/") < 0 ? -1 : pv_rm_rf(dir);
}

/* The names found, each followed by a blank; "error: TEXT" when it failed. */
static char *found_names(const char *p1, const char *p2, const char *only, const char *pattern)
{
    cleanup_strv struct pv_strv paths = {0}, filter = {0}, patterns = {0};
    struct pv_find_rule rule = {.patterns = &patterns, .base = dir};
    struct pv_test_list l = {0};
    struct pv_err err = PV_ERR_INIT;
    struct pv_buf out = {0};

    pv_strv_add(&paths, p1);
    if (p2)
        pv_strv_add(&paths, p2);
    if (only)
        pv_strv_add(&filter, only);
    if (pattern)
        pv_strv_add(&patterns, pattern);
    pv_buf_adds(&out, "");
    if (pv_find_tests(&paths, &rule, &filter, false, &l, &err) < 0)
        pv_buf_addf(&out, "error: %s", err.text);
    for (size_t i = 0; i < l.n; i++)
        pv_buf_addf(&out, "%s ", l.v[i].name);
    pv_test_list_free(&l);
    return out.data;
}

static void assert_found(const char *p1, const char *p2, const char *only, const char *want)
{
    cleanup_free char *got = found_names(p1, p2, only, NULL);

    assert_string_equal(got, want);
}

static void test_tree(void **state)
{
    (void)state;
    unlink("t/sub/loop");
    assert_found("t", NULL, NULL, "a.lua b.lua dir.lua/in.lua sub/c.lua ");
    assert_found("t/", NULL, NULL, "a.lua b.lua dir.lua/in.lua sub/c.lua ");
    assert_found("t", "t/sub", NULL, "a.lua b.lua dir.lua/in.lua sub/c.lua ");
    assert_found("t", "t/b.lua", NULL, "a.lua b.lua dir.lua/in.lua sub/c.lua ");
}

static void test_loop(void **state)
{
    (void)state;
    assert_int_equal(symlink("../..", "t/sub/loop"), 0);
    assert_found("t", NULL, NULL, "a.lua b.lua dir.lua/in.lua sub/c.lua sub/loop/u/a.lua ");
    unlink("t/sub/loop");
}

static void test_given(void **state)
{
    (void)state;
    assert_found("script", "t/fixtures/f.lua", NULL, "script t/fixtures/f.lua ");
    assert_found("t/fixtures", NULL, NULL, "f.lua ");
}

static void test_clash(void **state)
{
    (void)state;
    assert_found("t", "u", NULL, "t/a.lua b.lua dir.lua/in.lua sub/c.lua u/a.lua ");
}

static void test_only(void **state)
{
    (void)state;
    assert_found("t", NULL, "c.l", "sub/c.lua ");
    assert_found("t", NULL, "zzz", "error: none of the 4 test files in 't' has a name that contains 'zzz'");
}

static void assert_matched(const char *p1, const char *p2, const char *pattern, const char *want)
{
    cleanup_free char *got = found_names(p1, p2, NULL, pattern);

    assert_string_equal(got, want);
}

static void test_patterns(void **state)
{
    (void)state;
    assert_matched("t", NULL, "t/**/*.lua", "a.lua b.lua dir.lua/in.lua sub/c.lua ");
    assert_matched("t", "u", "t/*.lua", "a.lua b.lua ");
    assert_matched("t", NULL, "notes.*", "sub/notes.txt ");
    assert_matched("t", "t/b.lua", "t/sub/*", "t/b.lua sub/c.lua sub/notes.txt ");
    cleanup_free char *none = found_names("t", NULL, NULL, "x/*.lua");
    assert_non_null(strstr(none, "error: no test files in 't'; expected files that match 'x/*.lua' "
                                 "(`tests` in /tmp/pv-find-test-"));
}

static void test_test_lua(void **state)
{
    (void)state;
    touch_file("v/a.lua");
    touch_file("v/sub/b.test.lua");
    touch_file("w/c.lua");
    assert_found("v", NULL, NULL, "sub/b.test.lua ");
    assert_found("v", "w", NULL, "sub/b.test.lua c.lua ");
    assert_found("v", "v/a.lua", NULL, "a.lua sub/b.test.lua ");
    assert_found("v/a.lua", "v", NULL, "v/a.lua sub/b.test.lua ");
    assert_matched("v", NULL, "*.lua", "a.lua sub/b.test.lua ");
}

static void test_errors(void **state)
{
    (void)state;
    assert_found("empty", "u/none", NULL,
                 "error: 'u/none' does not exist; expected a test file or a directory");
    assert_found(
        "empty", NULL, NULL,
        "error: no test files in 'empty'; expected files called *.lua, not below a directory 'fixtures'");
    assert_found("t/fifo.lua", NULL, NULL, "error: 't/fifo.lua' is neither a file nor a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),     cmocka_unit_test(test_loop),   cmocka_unit_test(test_given),
        cmocka_unit_test(test_clash),    cmocka_unit_test(test_only),   cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_test_lua), cmocka_unit_test(test_errors),
    };

    return cmocka_run_group_tests_name("runner-find", tests, set_up, tear_down);
}
