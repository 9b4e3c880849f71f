/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/watch-set.h"
#include "util/err.h"
#include "util/path.h"
#include "util/stamp.h"
#include "util/test.h"

struct ctx {
    char dir[64];
    struct pv_watchset *s;
    struct pv_strv changed, notes;
};

static int ctx_setup(void **state)
{
    struct ctx *c = pv_xcalloc(1, sizeof(*c));
    struct pv_err err;

    strcpy(c->dir, "/tmp/provium-watch-set.XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    assert_int_equal(chdir(c->dir), 0);
    c->s = pv_watchset_new(&err);
    assert_non_null(c->s);
    *state = c;
    return 0;
}

static int ctx_teardown(void **state)
{
    struct ctx *c = *state;

    pv_watchset_free(c->s);
    pv_strv_free(&c->changed);
    pv_strv_free(&c->notes);
    assert_int_equal(chdir("/"), 0);
    pv_rm_rf(c->dir);
    free(c);
    return 0;
}

/* Writes a new file over the path, as editors do. */
static void file_save(const char *path, const char *text)
{
    FILE *f = fopen("new", "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(rename("new", path), 0);
}

static void file_ran(struct ctx *c, const char *file, const char *input, bool tree, bool passed)
{
    cleanup_free char *full = pv_path_join(c->dir, input);

    pv_watchset_begin(c->s);
    pv_watchset_ran(c->s, file);
    pv_watchset_input(c->s, tree ? PV_INPUT_TREE : PV_INPUT_FILE, full, pv_stamp(full, tree, NULL, NULL));
    pv_watchset_done(c->s, passed);
}

static const char *set_look(struct ctx *c, bool after_round)
{
    pv_strv_free(&c->changed);
    pv_strv_free(&c->notes);
    pv_watchset_look(c->s, after_round, &c->changed, &c->notes);
    return c->changed.n ? c->changed.v[0] : "";
}

static void test_due_by_what_was_read(void **state)
{
    struct ctx *c = *state;

    file_save("a.lua", "1");
    file_save("b.lua", "1");
    file_save("lib.lua", "1");
    pv_watchset_add(c->s, "a.lua");
    pv_watchset_add(c->s, "b.lua");
    assert_int_equal(pv_watchset_count_due(c->s), 2);
    file_ran(c, "a.lua", "lib.lua", false, true);
    file_ran(c, "b.lua", "later.lua", false, true);
    assert_string_equal(set_look(c, true), "");
    assert_int_equal(pv_watchset_count_due(c->s), 0);

    file_save("lib.lua", "2");
    assert_string_equal(set_look(c, false), "lib.lua");
    assert_true(pv_watchset_is_due(c->s, "a.lua"));
    assert_false(pv_watchset_is_due(c->s, "b.lua"));

    file_save("later.lua", "1"); /* it was looked for */
    assert_string_equal(set_look(c, false), "later.lua");
    assert_true(pv_watchset_is_due(c->s, "b.lua"));
}

static void test_change_during_a_run(void **state)
{
    struct ctx *c = *state;

    file_save("a.lua", "1");
    file_save("lib.lua", "1");
    pv_watchset_add(c->s, "a.lua");
    file_ran(c, "a.lua", "lib.lua", false, true);
    file_save("lib.lua", "2"); /* after it was read, before anyone looks or watches */
    assert_string_equal(set_look(c, true), "lib.lua");
    assert_true(pv_watchset_is_due(c->s, "a.lua"));
}

static void test_failed_run_keeps_paths(void **state)
{
    struct ctx *c = *state;

    file_save("a.lua", "1");
    file_save("lib.lua", "1");
    pv_watchset_add(c->s, "a.lua");
    file_ran(c, "a.lua", "lib.lua", false, true);
    file_ran(c, "a.lua", "other.lua", false, false); /* it failed before it came to lib.lua */
    set_look(c, true);
    file_save("lib.lua", "2");
    assert_string_equal(set_look(c, false), "lib.lua");
    file_ran(c, "a.lua", "other.lua", false, true);
    set_look(c, true);
    file_save("lib.lua", "3");
    assert_string_equal(set_look(c, false), "");
}

static void test_trees_and_directories(void **state)
{
    struct ctx *c = *state;
    struct pollfd p = {.fd = pv_watchset_fd(c->s), .events = POLLIN};

    file_save("a.lua", "1");
    mkdir("tree", 0755);
    mkdir("tree/sub", 0755);
    pv_watchset_add(c->s, "a.lua");
    file_ran(c, "a.lua", "tree", true, true);
    assert_string_equal(set_look(c, true), "");
    assert_int_equal(poll(&p, 1, 0), 0);
    file_save("tree/sub/x", "1");
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_string_equal(set_look(c, false), "tree");
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_string_equal(set_look(c, false), "");
}

/* A file that writes what it reads runs again a few times only; what it writes by io.open does not count at all. */
static void test_own_changes(void **state)
{
    struct ctx *c = *state;
    cleanup_free char *out = pv_path_join(c->dir, "out");
    int runs = 0;

    file_save("a.lua", "1");
    pv_watchset_add(c->s, "a.lua");
    do {
        file_ran(c, "a.lua", "out", false, true);
        file_save("out", "x");
    } while (*set_look(c, true) && ++runs < 20);
    assert_in_range(runs, 1, 10);
    assert_int_equal(c->notes.n, 1);
    assert_non_null(strstr(c->notes.v[0], "/out changes whenever a.lua runs"));
    file_save("out", "mine");
    assert_string_equal(set_look(c, false), "out"); /* changed by someone else */

    pv_watchset_begin(c->s);
    pv_watchset_ran(c->s, "a.lua");
    pv_watchset_input(c->s, PV_INPUT_FILE, out, 0);
    pv_watchset_input(c->s, PV_INPUT_WROTE, out, 0);
    pv_watchset_done(c->s, true);
    assert_string_equal(set_look(c, true), "");
}

static void test_files_come_and_go(void **state)
{
    struct ctx *c = *state;
    const char *left[] = {"b.lua"};
    cleanup_strv struct pv_strv gone = {0};
    size_t inputs;

    file_save("a.lua", "1");
    file_save("b.lua", "1");
    pv_watchset_add(c->s, "a.lua");
    pv_watchset_add(c->s, "b.lua");
    file_ran(c, "a.lua", "lib.lua", false, true);
    file_ran(c, "b.lua", "lib.lua", false, true);
    assert_int_equal(pv_watchset_count(c->s, &inputs), 2);
    assert_int_equal(inputs, 3);
    pv_watchset_keep(c->s, left, 1, &gone);
    assert_int_equal(gone.n, 1);
    assert_int_equal(pv_watchset_count(c->s, &inputs), 1);
    assert_int_equal(inputs, 2);
    assert_false(pv_watchset_is_due(c->s, "a.lua"));
    pv_watchset_common(c->s, "provium.toml");
    file_save("provium.toml", "");
    assert_string_equal(set_look(c, false), "provium.toml");
    assert_true(pv_watchset_is_due(c->s, "b.lua"));
}

/* --fail-fast: a round ends before a file; it runs with the next one, and is no reason for one. */
static void test_round_that_ended_early(void **state)
{
    struct ctx *c = *state;

    file_save("a.lua", "1");
    pv_watchset_add(c->s, "a.lua");
    pv_watchset_begin(c->s);
    assert_string_equal(set_look(c, true), "");
    assert_int_equal(pv_watchset_count_due(c->s), 0);
    assert_true(pv_watchset_is_due(c->s, "a.lua"));
}

#define CTX_TEST(f) cmocka_unit_test_setup_teardown(f, ctx_setup, ctx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CTX_TEST(test_due_by_what_was_read),
        CTX_TEST(test_change_during_a_run),
        CTX_TEST(test_failed_run_keeps_paths),
        CTX_TEST(test_trees_and_directories),
        CTX_TEST(test_own_changes),
        CTX_TEST(test_files_come_and_go),
        CTX_TEST(test_round_that_ended_early),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
