/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/history.h"
#include "util/err.h"
#include "util/path.h"

static char dir[] = "/tmp/pv-history-test-XXXXXX";

static void put_text(const char *path, const char *text)
{
    cleanup_free char *parent = pv_path_dirname(path);
    cleanup_close int fd = -1;

    assert_int_equal(pv_mkdir_p(parent, 0700, NULL), 0);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pv_write_all(fd, text, strlen(text)), 0);
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(setenv("XDG_CACHE_HOME", dir, 1), 0);
    put_text("p/t/a.lua", "");
    put_text("p/t/b.lua", "");
    put_text("p/t/\xff%.lua", "");
    put_text("q/t/a.lua", "");
    assert_int_equal(symlink("p", "link"), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return chdir("/") < 0 ? -1 : pv_rm_rf(dir);
}

static struct pv_history *history_load(const char *project, const char *file, const char *want_notice)
{
    char notice[512];
    struct pv_history *h = pv_history_load(project, file, notice);

    if (!*want_notice)
        assert_string_equal(notice, "");
    else if (!strstr(notice, want_notice))
        fail_msg("'%s' is not in '%s'", want_notice, notice);
    return h;
}

static void history_save(struct pv_history *h)
{
    struct pv_err err = PV_ERR_INIT;

    if (pv_history_save(h, &err) < 0)
        fail_msg("%s", err.text);
    pv_history_free(h);
}

static void test_round(void **state)
{
    struct pv_history *h = history_load("p", NULL, "");

    (void)state;
    assert_false(pv_history_known(h));
    assert_int_equal(pv_history_duration(h, "p/t/a.lua"), -1);
    assert_false(pv_history_failed(h, "p/t/a.lua"));
    history_save(h); /* without an entry */
    h = history_load("p", NULL, "");
    assert_false(pv_history_known(h));
    pv_history_put(h, "p/t/a.lua", true, 5);
    pv_history_put(h, "p/t/\xff%.lua", false, 7);
    history_save(h);

    h = history_load("link", NULL, ""); /* the same project and files by other paths */
    assert_true(pv_history_known(h));
    assert_int_equal(pv_history_duration(h, "link/t/a.lua"), 5);
    assert_true(pv_history_failed(h, "p/t/../t/a.lua"));
    assert_int_equal(pv_history_duration(h, "p/t/\xff%.lua"), 7);
    assert_int_equal(pv_history_duration(h, "p/t/b.lua"), -1);
    assert_int_equal(pv_history_duration(h, "q/t/a.lua"), -1);
    pv_history_put(h, "p/t/a.lua", false, -1); /* passed, duration not known */
    history_save(h);
    h = history_load("p", NULL, "");
    assert_int_equal(pv_history_duration(h, "p/t/a.lua"), 5);
    assert_false(pv_history_failed(h, "p/t/a.lua"));
    pv_history_free(h);
    h = history_load("q", NULL, ""); /* another project */
    assert_false(pv_history_known(h));
    pv_history_free(h);
}

static void test_partial(void **state)
{
    struct pv_history *h = history_load("p", NULL, "");

    (void)state;
    pv_history_put(h, "p/t/a.lua", true, 11);
    pv_history_put(h, "p/t/b.lua", false, 12);
    history_save(h);
    h = history_load("p", NULL, "");
    pv_history_partial(h);
    pv_history_put(h, "p/t/a.lua", false, 1);
    pv_history_put(h, "p/t/b.lua", true, 1);
    history_save(h);
    h = history_load("p", NULL, "");
    assert_true(pv_history_failed(h, "p/t/a.lua"));
    assert_int_equal(pv_history_duration(h, "p/t/a.lua"), 11);
    assert_true(pv_history_failed(h, "p/t/b.lua"));
    assert_int_equal(pv_history_duration(h, "p/t/b.lua"), 12);
    pv_history_free(h);
}

static void test_read_only(void **state)
{
    struct pv_history *h = history_load("p", NULL, "");

    (void)state;
    pv_history_put(h, "p/t/a.lua", true, 31);
    history_save(h);
    h = history_load("p", NULL, "");
    pv_history_read_only(h);
    pv_history_put(h, "p/t/a.lua", false, 32);
    history_save(h);
    h = history_load("p", NULL, "");
    assert_int_equal(pv_history_duration(h, "p/t/a.lua"), 31);
    assert_true(pv_history_failed(h, "p/t/a.lua"));
    pv_history_free(h);
}

static void test_gone(void **state)
{
    struct pv_history *h = history_load("p", NULL, "");

    (void)state;
    put_text("p/t/gone.lua", "");
    pv_history_put(h, "p/t/gone.lua", true, 3);
    history_save(h);
    assert_int_equal(unlink("p/t/gone.lua"), 0);
    h = history_load("p", NULL, "");
    assert_true(pv_history_failed(h, "p/t/gone.lua"));
    pv_history_put(h, "p/t/a.lua", false, 3);
    history_save(h);
    h = history_load("p", NULL, "");
    assert_false(pv_history_failed(h, "p/t/gone.lua"));
    pv_history_free(h);
}

/* Each is ignored with its reason, and replaced by the next save. */
static void test_damaged(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "line"},
        {"{", "line"},
        {"[]", "it is no provium-history/1"},
        {"{\"schema\": \"provium-history/2\", \"files\": {}}", "it is no provium-history/1"},
        {"{\"schema\": \"provium-history/1\", \"project\": \"/elsewhere\", \"files\": {}}",
         "another project"},
        {"{\"schema\": \"provium-history/1\", \"project\": \"@\"}", "it has no files"},
        {"{\"schema\": \"provium-history/1\", \"project\": \"@\", \"files\": {\"a\": 1}}", "damaged"},
        {"{\"schema\": \"provium-history/1\", \"project\": \"@\", \"files\": {\"a\": {\"failed\": 1}}}",
         "damaged"},
        {"{\"schema\": \"provium-history/1\", \"project\": \"@\", \"files\": {\"a\": {\"failed\": true, "
         "\"duration_ns\": -1}}}",
         "damaged"},
        {"{\"schema\": \"provium-history/1\", \"project\": \"@\", \"files\": {\"a\": {\"failed\": true, "
         "\"duration_ns\": \"1\"}}}",
         "damaged"},
    };
    struct pv_history *h = history_load("p", NULL, "");
    cleanup_free char *path = pv_xstrdup(pv_history_path(h));
    char real[4096];

    (void)state;
    pv_history_free(h);
    assert_non_null(realpath("p", real));
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
        const char *at = strchr(cases[i].text, '@');
        cleanup_free char *text =
            at ? pv_xasprintf("%.*s%s%s", (int)(at - cases[i].text), cases[i].text, real, at + 1)
               : pv_xstrdup(cases[i].text);

        put_text(path, text);
        h = history_load("p", NULL, cases[i].why);
        assert_false(pv_history_known(h));
        pv_history_put(h, "p/t/a.lua", true, (int64_t)i);
        history_save(h);
        h = history_load("p", NULL, "");
        assert_int_equal(pv_history_duration(h, "p/t/a.lua"), i);
        pv_history_free(h);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not block */
    h = history_load("p", NULL, "is ignored");
    pv_history_free(h);
    assert_int_equal(unlink(path), 0);
}

static void test_no_place(void **state)
{
    struct pv_history *h;

    (void)state;
    setenv("XDG_CACHE_HOME", "/proc/none", 1);
    h = history_load("p", NULL, "are not kept");
    pv_history_put(h, "p/t/a.lua", true, 1);
    history_save(h); /* the notice has said it */
    setenv("XDG_CACHE_HOME", dir, 1);
}

/* A history in the cache is believed and written only if it is this user's; the notice names it. */
static void test_foreign(void **state)
{
    struct pv_history *h = history_load("p", NULL, "");
    cleanup_free char *path = pv_xstrdup(pv_history_path(h)), *cache = pv_path_dirname(path);

    (void)state;
    pv_history_put(h, "p/t/a.lua", true, 41);
    history_save(h);
    assert_int_equal(chmod(path, 0620), 0);
    h = history_load("p", NULL, "is no file of user");
    assert_false(pv_history_known(h));
    pv_history_free(h);
    assert_int_equal(chmod(path, 0600), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 1, 1), 0);
        pv_history_free(history_load("p", NULL, "is no file of user 0 alone: remove it"));
        assert_int_equal(chown(path, 0, 0), 0);
        assert_int_equal(chown(cache, 1, 1), 0);
        pv_history_free(history_load("p", NULL, "belongs to user 1, not to user 0"));
        assert_int_equal(chown(cache, 0, 0), 0);
    } else {
        print_message("skipped: only root can give a file to another user\n");
    }
    assert_int_equal(chmod(cache, 0770), 0);
    pv_history_free(history_load("p", NULL, "history' can be written to by others: chmod 700 it"));
    assert_int_equal(chmod(cache, 0700), 0);
}

/* A link in place of the file is replaced; one in place of the directory turns the history off. */
static void test_links(void **state)
{
    struct pv_history *h = history_load("p", NULL, "");
    cleanup_free char *path = pv_xstrdup(pv_history_path(h)), *cache = pv_path_dirname(path);

    (void)state;
    pv_history_put(h, "p/t/a.lua", true, 41);
    history_save(h);
    assert_int_equal(rename(path, "moved.json"), 0);
    assert_int_equal(symlink("../../moved.json", path), 0);
    h = history_load("p", NULL, "is a link: remove it");
    assert_false(pv_history_known(h));
    pv_history_put(h, "p/t/a.lua", true, 42);
    history_save(h);
    h = history_load("p", "moved.json", "");
    assert_int_equal(pv_history_duration(h, "p/t/a.lua"), 41);
    pv_history_free(h);

    assert_int_equal(rename(cache, "moved"), 0);
    assert_int_equal(symlink("../moved", cache), 0);
    h = history_load("p", NULL, "is a link or a file");
    pv_history_put(h, "p/t/a.lua", true, 43);
    history_save(h);
    assert_int_equal(unlink(cache), 0);
    assert_int_equal(rename("moved", cache), 0);
    h = history_load("p", NULL, "");
    assert_int_equal(pv_history_duration(h, "p/t/a.lua"), 42);
    pv_history_free(h);
}

/* --history names a file that is used on other machines, where the project has another path. */
static void test_named(void **state)
{
    struct pv_history *h = history_load("p", "named.json", "");

    (void)state;
    assert_string_equal(pv_history_path(h), "named.json");
    pv_history_put(h, "p/t/a.lua", true, 21);
    pv_history_put(h, "p/t/b.lua", true, 22);
    history_save(h);
    h = history_load("q", "named.json", "");
    assert_int_equal(pv_history_duration(h, "q/t/a.lua"), 21);
    pv_history_put(h, "q/t/a.lua", false, 23);
    history_save(h);
    h = history_load("p", "named.json", "");
    assert_int_equal(pv_history_duration(h, "p/t/a.lua"), 23);
    assert_int_equal(pv_history_duration(h, "p/t/b.lua"), 22); /* kept, though q has no such file */
    pv_history_free(h);
    h = history_load("p", "p/t/b.lua", "is ignored"); /* a mistyped --history must not overwrite a test */
    pv_history_put(h, "p/t/a.lua", true, 1);
    assert_int_equal(pv_history_save(h, NULL), -1);
    pv_history_free(h);
    h = pv_history_load("p", "none/at/all.json", (char[512]){0});
    pv_history_put(h, "p/t/a.lua", true, 1);
    assert_int_equal(pv_history_save(h, NULL), -1);
    pv_history_free(h);
}

enum { RUNS = 8, ROUNDS = 40 };

/* Concurrent saves, each of another test file: no entry is lost, and a reader never sees half a file. */
static void test_at_once(void **state)
{
    struct pv_history *h;

    (void)state;
    for (int i = 0; i < RUNS; i++) {
        cleanup_free char *path = pv_xasprintf("p/t/run%d.lua", i);

        put_text(path, "");
        if (fork() == 0) {
            for (int n = 1; n <= ROUNDS; n++) {
                char notice[512];
                struct pv_err err = PV_ERR_INIT;

                h = pv_history_load("p", NULL, notice);
                pv_history_put(h, path, true, n);
                if (notice[0] || pv_history_save(h, &err) < 0) {
                    fprintf(stderr, "%s %s\n", notice, err.text);
                    _exit(1);
                }
                pv_history_free(h);
            }
            _exit(0);
        }
    }
    for (int i = 0, status; i < RUNS; i++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    h = history_load("p", NULL, "");
    for (int i = 0; i < RUNS; i++) {
        cleanup_free char *path = pv_xasprintf("p/t/run%d.lua", i);

        assert_int_equal(pv_history_duration(h, path), ROUNDS);
    }
    pv_history_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round),     cmocka_unit_test(test_partial), cmocka_unit_test(test_gone),
        cmocka_unit_test(test_read_only), cmocka_unit_test(test_damaged), cmocka_unit_test(test_named),
        cmocka_unit_test(test_foreign),   cmocka_unit_test(test_links),   cmocka_unit_test(test_no_place),
        cmocka_unit_test(test_at_once),
    };

    return cmocka_run_group_tests_name("runner-history", tests, set_up, tear_down);
}
