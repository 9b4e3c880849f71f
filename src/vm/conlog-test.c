/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"
#include "util/path.h"
#include "vm/conlog.h"

enum { WHOLE = PV_CONLOG_HEAD + PV_CONLOG_TAIL, MARKS = 1000 };

static char dir[] = "/tmp/provium-conlog-test-XXXXXX";

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

static struct pv_conlog *log_begun(const char *path)
{
    struct pv_conlog *l = pv_conlog_new(path);

    assert_int_equal(pv_conlog_begin(l, NULL), 0);
    return l;
}

/* Feeds numbered lines of about n bytes; the number of the next line. */
static unsigned log_flood(struct pv_conlog *l, size_t n, unsigned next)
{
    for (size_t sent = 0; sent < n;) {
        char line[64];
        int len = snprintf(line, sizeof(line), "%010u the quick brown fox\n", next++);

        pv_conlog_feed(l, line, (size_t)len);
        sent += (size_t)len;
    }
    return next;
}

static off_t file_size(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void file_read(const char *path, struct pv_buf *text)
{
    text->len = 0;
    assert_int_equal(pv_read_file(path, 16 << 20, text, NULL), 0);
    pv_buf_addc(text, '\0');
    text->len--;
}

static void assert_ends_with(const struct pv_buf *text, const char *end)
{
    assert_true(text->len >= strlen(end));
    assert_string_equal(text->data + text->len - strlen(end), end);
}

static void test_file(void **state)
{
    cleanup_free char *path = pv_path_join(dir, "vm.log");
    cleanup_buf struct pv_buf text = {0};
    struct pv_err err = PV_ERR_INIT;
    struct pv_conlog *l;
    struct stat st;

    (void)state;
    assert_null(pv_conlog_new(NULL));
    assert_int_equal(symlink("/etc/hostname", path), 0); /* the link is replaced, not followed */
    l = pv_conlog_new(path);
    assert_null(pv_conlog_path(l));
    assert_int_equal(pv_conlog_begin(l, &err), 0);
    assert_string_equal(pv_conlog_path(l), path);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    pv_conlog_feed(l, "a\033[1m\0b\n", 8);
    file_read(path, &text); /* at once: tail -f works */
    assert_int_equal(text.len, 8);
    assert_memory_equal(text.data, "a\033[1m\0b\n", 8);
    pv_conlog_free(l);

    l = pv_conlog_new("/nonexistent/x.log");
    assert_int_equal(pv_conlog_begin(l, &err), -1);
    assert_int_equal(err.cls, PV_E_HOST);
    assert_non_null(strstr(err.text, "/nonexistent/x.log"));
    assert_null(pv_conlog_path(l));
    pv_conlog_feed(l, "x", 1);
    pv_conlog_free(l);
}

/* The log of a 10 MiB console holds its first 4 and its last 1 MiB, whole and in order. */
static void test_bound(void **state)
{
    cleanup_free char *path = pv_path_join(dir, "big.log");
    cleanup_buf struct pv_buf text = {0};
    struct pv_conlog *l = log_begun(path);
    unsigned n = log_flood(l, 10 << 20, 0);
    char line[64];

    (void)state;
    assert_in_range(file_size(path), PV_CONLOG_HEAD, PV_CONLOG_HEAD + MARKS);
    pv_conlog_end(l);
    assert_in_range(file_size(path), WHOLE, WHOLE + MARKS);
    file_read(path, &text);
    assert_memory_equal(text.data, "0000000000 the", 14);
    snprintf(line, sizeof(line), "%010u the quick brown fox\n", n - 1);
    assert_ends_with(&text, line);
    assert_non_null(strstr(text.data, "bytes are left out]\n"));
    pv_conlog_free(l);

    /* a little over the head: nothing is left out */
    l = log_begun(path);
    log_flood(l, PV_CONLOG_HEAD + 1000, 0);
    pv_conlog_feed(l, "END", 3);
    pv_conlog_free(l);
    file_read(path, &text);
    assert_ends_with(&text, "END");
    assert_null(strstr(text.data, "left out"));

    /* one piece larger than all of it */
    l = log_begun(path);
    text.len = 0;
    memset(pv_buf_reserve(&text, 7 << 20), 'z', 7 << 20);
    pv_conlog_feed(l, text.data, 7 << 20);
    pv_conlog_free(l);
    assert_in_range(file_size(path), WHOLE, WHOLE + MARKS);
}

/* Runs follow each other in one file, whose bound holds for all of them. */
static void test_runs(void **state)
{
    cleanup_free char *path = pv_path_join(dir, "runs.log");
    cleanup_buf struct pv_buf text = {0};
    struct pv_conlog *l = log_begun(path);
    unsigned n;

    (void)state;
    pv_conlog_feed(l, "first", 5);
    pv_conlog_end(l);
    assert_int_equal(pv_conlog_begin(l, NULL), 0);
    pv_conlog_feed(l, "second", 6);
    pv_conlog_end(l);
    file_read(path, &text);
    assert_string_equal(text.data, "first\n[provium: the VM runs anew]\nsecond");

    n = 0;
    for (int i = 0; i < 20; i++) {
        char first[64], last[64];

        assert_int_equal(pv_conlog_begin(l, NULL), 0);
        snprintf(first, sizeof(first), "[provium: the VM runs anew]\n%010u ", n);
        n = log_flood(l, 900 << 10, n);
        pv_conlog_end(l);
        snprintf(last, sizeof(last), "%010u the quick brown fox\n", n - 1);
        assert_true(file_size(path) < WHOLE + MARKS);
        file_read(path, &text);
        assert_ends_with(&text, last);
        assert_non_null(strstr(text.data, first)); /* the tail is longer than this run */
    }
    pv_conlog_free(l);
}

/* A run that moves to another log takes what it has written along, head and tail. */
static void test_move(void **state)
{
    cleanup_free char *path = pv_path_join(dir, "owner.log"), *other = pv_path_join(dir, "standby.log");
    cleanup_buf struct pv_buf text = {0};
    struct pv_conlog *l = log_begun(path), *standby = log_begun(other);

    (void)state;
    pv_conlog_feed(l, "boot", 4);
    pv_conlog_end(l);
    pv_conlog_feed(standby, "resumed, ", 9);
    pv_conlog_move(standby, l);
    assert_int_equal(access(other, F_OK), -1);
    assert_null(pv_conlog_path(standby));
    pv_conlog_free(standby);
    pv_conlog_feed(l, "adopted", 7);
    pv_conlog_end(l);
    file_read(path, &text);
    assert_string_equal(text.data, "boot\n[provium: the VM runs anew]\nresumed, adopted");

    standby = log_begun(other);
    log_flood(standby, 10 << 20, 0);
    pv_conlog_feed(standby, "END", 3);
    pv_conlog_move(standby, l);
    pv_conlog_free(standby);
    pv_conlog_free(l);
    assert_true(file_size(path) < WHOLE + MARKS);
    file_read(path, &text);
    assert_memory_equal(text.data, "boot", 4);
    assert_ends_with(&text, "END");

    standby = log_begun(other);
    pv_conlog_move(standby, NULL);
    pv_conlog_free(standby);
    assert_int_equal(access(other, F_OK), -1);
}

/* The file of a VM that did not start is removed; one that has bytes stays. */
static void test_discard(void **state)
{
    cleanup_free char *path = pv_path_join(dir, "none.log");
    struct pv_conlog *l = log_begun(path);

    (void)state;
    pv_conlog_discard(l);
    assert_int_equal(access(path, F_OK), -1);
    assert_null(pv_conlog_path(l));
    assert_int_equal(pv_conlog_begin(l, NULL), 0);
    pv_conlog_feed(l, "x", 1);
    pv_conlog_discard(l);
    assert_int_equal(access(path, F_OK), 0);
    pv_conlog_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file), cmocka_unit_test(test_bound),   cmocka_unit_test(test_runs),
        cmocka_unit_test(test_move), cmocka_unit_test(test_discard),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
