/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/path.h"
#include "util/spool.h"

enum { MEMORY = 64, FILE_MAX = 256 };

/* The byte at an offset of the fake producer. */
static char byte_at(uint64_t at)
{
    return (char)('a' + at * 7 % 26);
}

static void produce(struct pv_spool *s, size_t n)
{
    cleanup_free char *data = pv_xmalloc(n);
    uint64_t at = pv_spool_end(s);

    for (size_t i = 0; i < n; i++)
        data[i] = byte_at(at + i);
    pv_spool_add(s, data, n);
}

static void check_kept(const struct pv_spool *s)
{
    for (uint64_t at = pv_spool_begin(s); at < pv_spool_end(s); at++) {
        char c;

        pv_spool_copy(s, at, &c, 1);
        assert_int_equal(c, byte_at(at));
    }
}

static size_t count_entries(const char *dir)
{
    DIR *d = opendir(dir);
    size_t n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static int make_dir(void **state)
{
    static char dir[64];

    snprintf(dir, sizeof(dir), "/tmp/provium-spool-XXXXXX");
    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

static int remove_dir(void **state)
{
    return pv_rm_rf(*state);
}

/* Pieces of all sizes, through memory and a file that wraps around many times. */
static void test_keeps_the_newest(void **state)
{
    struct pv_spool *s = pv_spool_new(*state, MEMORY, FILE_MAX);

    for (size_t n = 1; n < 300; n += 13) {
        produce(s, n);
        check_kept(s);
        assert_true(pv_spool_end(s) - pv_spool_begin(s) <= MEMORY + FILE_MAX);
    }
    assert_true(pv_spool_begin(s) > 0);
    assert_true(pv_spool_end(s) - pv_spool_begin(s) >= FILE_MAX);
    assert_int_equal(count_entries(*state), 2); /* "." and "..": the file has no name */
    pv_spool_unref(s);
}

static void test_without_a_file(void **state)
{
    static const char *const dirs[] = {NULL, "/no/such/directory"};

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(dirs); i++) {
        struct pv_spool *s = pv_spool_new(dirs[i], MEMORY, FILE_MAX);

        produce(s, 1000);
        check_kept(s);
        assert_int_equal(pv_spool_end(s), 1000);
        assert_in_range(pv_spool_end(s) - pv_spool_begin(s), MEMORY / 2, MEMORY);
        pv_spool_unref(s);
    }
}

/* A file smaller than the memory that goes into it at once. */
static void test_small_file(void **state)
{
    struct pv_spool *s = pv_spool_new(*state, MEMORY, 10);

    produce(s, 1000);
    check_kept(s);
    assert_in_range(pv_spool_end(s) - pv_spool_begin(s), 10, MEMORY + 10);
    pv_spool_unref(s);
}

static void test_readers_are_independent(void **state)
{
    struct pv_spool *s = pv_spool_new(*state, MEMORY, FILE_MAX);
    struct pv_reader a = {.spool = pv_spool_ref(s)}, b = {.spool = pv_spool_ref(s)};
    cleanup_buf struct pv_buf out = {0};

    pv_spool_adds(s, "one two");
    pv_reader_take(&a, 4, &out);
    assert_string_equal(out.data, "one ");
    assert_int_equal(pv_reader_left(&a), 3);
    assert_int_equal(pv_reader_left(&b), 7);
    out.len = 0;
    pv_reader_take(&a, pv_spool_end(s), &out);
    assert_string_equal(out.data, "two");
    pv_spool_unref(s); /* the readers keep it */
    out.len = 0;
    pv_reader_take(&b, pv_spool_end(b.spool), &out);
    assert_string_equal(out.data, "one two");
    pv_reader_close(&a);
    pv_reader_close(&b);
    pv_reader_close(&b);
}

static void test_lost_bytes_leave_a_mark(void **state)
{
    struct pv_spool *s = pv_spool_new(*state, MEMORY, FILE_MAX);
    struct pv_reader r = {.spool = s};
    cleanup_buf struct pv_buf out = {0};
    char want[64];

    produce(s, 1000);
    snprintf(want, sizeof(want), "\n[provium: %llu bytes are left out]\n",
             (unsigned long long)pv_spool_begin(s));
    assert_int_equal(pv_reader_left(&r), 1000 - pv_spool_begin(s));
    pv_reader_take(&r, 1000, &out);
    assert_memory_equal(out.data, want, strlen(want));
    assert_int_equal(out.len, strlen(want) + 1000 - pv_spool_begin(s));
    out.len = 0;
    pv_spool_adds(s, "more");
    pv_reader_take(&r, pv_spool_end(s), &out);
    assert_string_equal(out.data, "more");
    pv_spool_unref(s);
}

static void test_find(void **state)
{
    struct pv_spool *s = pv_spool_new(*state, MEMORY, FILE_MAX);

    assert_int_equal(pv_spool_find(s, 0, "x", 1), 0);
    pv_spool_adds(s, "login: ");
    assert_int_equal(pv_spool_find(s, 0, "login:", 6), 6);
    assert_int_equal(pv_spool_find(s, 1, "login:", 6), 0);
    assert_int_equal(pv_spool_find(s, 0, "login: more", 11), 0);
    for (int i = 0; i < 9; i++)
        pv_spool_adds(s, "..............................");
    pv_spool_add(s, "a\0b", 3);
    assert_int_equal(pv_spool_find(s, 0, "a\0b", 3), pv_spool_end(s));
    pv_spool_unref(s);
}

/* A text that lies across the blocks of the search, and one across file and memory. */
static void test_find_across_blocks(void **state)
{
    cleanup_free char *fill = pv_xmalloc(70000);
    struct pv_spool *s = pv_spool_new(*state, 65536, 1 << 20);

    memset(fill, '.', 70000);
    for (size_t at = 65530; at < 65540; at++) {
        pv_spool_unref(s);
        s = pv_spool_new(*state, 65536, 1 << 20);
        pv_spool_add(s, fill, at);
        pv_spool_adds(s, "needle");
        pv_spool_add(s, fill, 100);
        assert_int_equal(pv_spool_find(s, 0, "needle", 6), at + 6);
        assert_int_equal(pv_spool_find(s, at, "needle", 6), at + 6);
        assert_int_equal(pv_spool_find(s, at + 1, "needle", 6), 0);
    }
    pv_spool_unref(s);
}

static void test_append_and_forget(void **state)
{
    struct pv_spool *a = pv_spool_new(*state, MEMORY, FILE_MAX), *b = pv_spool_new(NULL, 0, 0);
    struct pv_reader r = {.spool = b};
    cleanup_buf struct pv_buf out = {0};

    produce(a, 5000);
    pv_spool_adds(b, "first");
    pv_spool_append(b, a);
    assert_int_equal(pv_spool_find(b, 0, "first\n[provium: ", 15), 15);
    pv_reader_take(&r, pv_spool_end(b), &out);
    assert_int_equal(out.data[out.len - 1], byte_at(4999));
    pv_spool_forget(b, 3);
    assert_int_equal(pv_spool_begin(b), 0);
    pv_spool_forget(b, pv_spool_end(b));
    assert_int_equal(pv_reader_left(&r), 0);
    pv_spool_adds(b, "next");
    out.len = 0;
    pv_reader_take(&r, pv_spool_end(b), &out);
    assert_string_equal(out.data, "next");
    pv_spool_unref(a);
    pv_spool_unref(b);
}

static void test_tail(void **state)
{
    struct pv_spool *s = pv_spool_new(*state, 0, 0);
    cleanup_buf struct pv_buf out = {0};

    pv_spool_tail(s, 5, &out);
    assert_int_equal(out.len, 0);
    pv_spool_adds(s, "1\n2\r\n3\n\033[31m4\n5\n\n6\xff\n");
    pv_spool_tail(s, 5, &out);
    assert_string_equal(out.data, "\n  3\n  \\x1b[31m4\n  5\n  \n  6\\xff");
    for (int i = 0; i < 1000; i++)
        pv_spool_adds(s, "long line ");
    out.len = 0;
    pv_spool_tail(s, 5, &out);
    assert_true(out.len < 210);
    assert_string_equal(out.data + out.len - 3, "...");
    pv_spool_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keeps_the_newest, make_dir, remove_dir),
        cmocka_unit_test(test_without_a_file),
        cmocka_unit_test_setup_teardown(test_small_file, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_readers_are_independent, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_lost_bytes_leave_a_mark, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_find, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_find_across_blocks, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_append_and_forget, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_tail, make_dir, remove_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
