/* SPDX-License-Identifier: MIT */
/* Recordings: marks, description, saving and loading, torn writes, minimising, several disks. */
#include "util/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/internal.h"
#include "disk/recording.h"
#include "loop/loop.h"
#include "util/err.h"
#include "util/mem.h"

static struct pv_loop *loop;

static struct pv_disk *disk_new(const char *name)
{
    struct pv_disk_opts o = {.name = name, .dir = "/tmp", .size = 1 << 20};
    struct pv_disk *d = pv_disk_new(loop, &o, NULL);

    assert_non_null(d);
    return d;
}

static void put(struct pv_disk *d, uint64_t at, size_t n, int byte)
{
    char *p = pv_xmalloc(n);

    memset(p, byte, n);
    assert_int_equal(pv_cache_write(d, at, p, n, false), 0);
    free(p);
}

static int byte_of(struct pv_state *st, size_t disk, uint64_t at)
{
    unsigned char byte;

    assert_int_equal(pv_state_read(st, disk, at, &byte, 1, NULL), 0);
    return byte;
}

static void assert_described(const struct pv_state *st, const char *text)
{
    struct pv_buf b = {0};

    pv_state_describe(st, &b);
    assert_string_equal(b.data, text);
    pv_buf_free(&b);
}

/* base 9 at 0; write 1 at 0; flush; mark; write 2 at 4096, write 3 at 12288; flush; mark. */
static struct pv_disk_recording *record_example(struct pv_disk *d)
{
    struct pv_disk_recording *r;

    put(d, 0, 512, 9);
    r = pv_disk_recording_start(&d, 1, "/tmp", NULL);
    assert_non_null(r);
    put(d, 0, 512, 1);
    pv_cache_flush(d);
    assert_int_equal(pv_disk_recording_mark(r, "one", NULL), 0);
    put(d, 4096, 512, 2);
    put(d, 12288, 8192, 3);
    pv_cache_flush(d);
    assert_int_equal(pv_disk_recording_mark(r, "two", NULL), 0);
    assert_int_equal(pv_disk_recording_stop(r, NULL), 0);
    return r;
}

static void check_example(struct pv_disk_recording *r)
{
    struct pv_states_opts o = {.exhaustive = 4};
    struct pv_disk_recording_stats stats;
    struct pv_states *s = pv_states_new(r, &o, NULL);
    struct pv_state *st[7];
    size_t n = 0;

    while (n < 7 && (st[n] = pv_states_next(s, NULL)))
        n++;
    pv_states_free(s);
    assert_int_equal(n, 5); /* two flushes, nothing, and one of the two last writes each */
    assert_int_equal(byte_of(st[0], 0, 0), 1);
    assert_int_equal(pv_state_marks(st[0]), 1);
    assert_string_equal(pv_state_mark(st[0], 0), "one");
    assert_described(st[0], "lost: nothing before flush 1 of 2, all behind it");
    assert_int_equal(pv_state_marks(st[1]), 2);
    assert_described(st[1], "lost: nothing");
    assert_int_equal(byte_of(st[2], 0, 0), 9);
    assert_described(st[2], "lost: write 1 of 3, 512 bytes at 0, before any flush");
    assert_int_equal(byte_of(st[3], 0, 4096), 2);
    assert_described(st[3], "lost: write 3 of 3, 8 KiB at 12288, after flush 1");
    assert_described(st[4], "lost: write 2 of 3, 512 bytes at 4096, after flush 1");
    assert_int_equal(pv_state_marks(st[4]), 1);
    pv_disk_recording_stats(r, &stats);
    assert_int_equal(stats.writes, 3);
    assert_int_equal(stats.flushes, 2);
    assert_int_equal(stats.bytes, 512 + 512 + 8192);
    assert_int_equal(stats.states, 5);
    while (n)
        pv_state_unref(st[--n]);
}

static void test_marks_and_words(void **state)
{
    struct pv_disk *d = disk_new("data");
    struct pv_disk_recording *r = record_example(d);
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    check_example(r);
    assert_int_equal(pv_disk_recording_mark(r, "late", &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    pv_disk_free(d);
    check_example(r);
    pv_disk_recording_unref(r);
}

/* A saved recording gives the same states, and is saved the same again; any flipped bit before its data is found. */
static void test_save_and_load(void **state)
{
    char dir[] = "/tmp/disk-recording-XXXXXX";
    struct pv_disk *d = disk_new("data");
    struct pv_disk_recording *r = record_example(d), *loaded;
    cleanup_free char *path = NULL, *again = NULL;
    struct pv_err err = PV_ERR_INIT;
    struct stat a, b;
    int fd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    path = pv_xasprintf("%s/rec", dir);
    again = pv_xasprintf("%s/again", dir);
    pv_disk_free(d);
    assert_int_equal(pv_disk_recording_save(r, path, &err), 0);
    pv_disk_recording_unref(r);
    loaded = pv_disk_recording_load(path, "/tmp", &err);
    if (!loaded)
        fail_msg("%s", err.text);
    check_example(loaded);
    assert_string_equal(pv_disk_recording_disk_name(loaded, 0), "data");
    assert_int_equal(pv_disk_recording_save(loaded, again, &err), 0);
    assert_int_equal(stat(path, &a), 0);
    assert_int_equal(stat(again, &b), 0);
    assert_int_equal(a.st_size, b.st_size);
    pv_disk_recording_unref(loaded);
    loaded = pv_disk_recording_load(again, "/tmp", &err);
    check_example(loaded);
    pv_disk_recording_unref(loaded);

    fd = open(again, O_RDWR | O_CLOEXEC);
    for (off_t at = 0; at < 300; at++) {
        char byte;

        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        err.cls = PV_E_NONE;
        assert_null(pv_disk_recording_load(again, "/tmp", &err));
        assert_int_equal(err.cls, PV_E_USAGE);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    assert_int_equal(ftruncate(fd, a.st_size - 1), 0);
    assert_null(pv_disk_recording_load(again, "/tmp", &err));
    close(fd);
    unlink(path);
    unlink(again);
    rmdir(dir);
}

/* A 16 KiB write is torn by sector; its samples never mix within a sector. */
static void test_torn_write(void **state)
{
    struct pv_states_opts o = {.samples = 50, .torn = true, .seed = 3};
    struct pv_disk *d = disk_new("data");
    struct pv_disk_recording *r = pv_disk_recording_start(&d, 1, "/tmp", NULL);
    struct pv_states *s;
    struct pv_state *st;
    unsigned torn = 0;

    (void)state;
    put(d, 4096, 16384, 5);
    pv_disk_recording_stop(r, NULL);
    s = pv_states_new(r, &o, NULL);
    while ((st = pv_states_next(s, NULL))) {
        unsigned kept = 0;

        for (unsigned i = 0; i < 32; i++) {
            int first = byte_of(st, 0, 4096 + i * 512), last = byte_of(st, 0, 4096 + i * 512 + 511);

            assert_int_equal(first, last);
            kept += first == 5;
        }
        torn += kept > 0 && kept < 32;
        assert_int_equal(byte_of(st, 0, 4095), 0);
        assert_int_equal(byte_of(st, 0, 4096 + 16384), 0);
        pv_state_unref(st);
    }
    assert_in_range(torn, 10, 50);
    pv_states_free(s);
    pv_disk_free(d);
    pv_disk_recording_unref(r);
}

/* "Fails" when write 7's byte is not there: of all states that lost it, the smallest lost it alone. */
static void test_minimise(void **state)
{
    struct pv_states_opts o = {.samples = 30, .seed = 1};
    struct pv_disk *d = disk_new("data");
    struct pv_disk_recording *r = pv_disk_recording_start(&d, 1, "/tmp", NULL);
    struct pv_states *s;
    struct pv_state *st, *trial;
    struct pv_minimise *m;
    unsigned found = 0;

    (void)state;
    for (int i = 1; i <= 12; i++)
        put(d, (uint64_t)i * 4096, 4096, i);
    pv_cache_flush(d);
    pv_disk_recording_stop(r, NULL);
    s = pv_states_new(r, &o, NULL);
    while ((st = pv_states_next(s, NULL))) {
        if (byte_of(st, 0, 7 * 4096) == 0) {
            found++;
            m = pv_minimise_new(st, 100);
            while ((trial = pv_minimise_next(m)))
                pv_minimise_result(m, byte_of(trial, 0, 7 * 4096) == 0);
            trial = pv_minimise_free(m);
            assert_described(trial, "lost: write 7 of 12, 4 KiB at 28672, before any flush");
            assert_int_equal(pv_state_number(trial), pv_state_number(st));
            pv_state_unref(trial);
        }
        pv_state_unref(st);
    }
    assert_in_range(found, 3, 30);
    pv_states_free(s);
    pv_disk_free(d);
    pv_disk_recording_unref(r);
}

/* A state is a layer of its own on the recording: a disk on it may change, the state stays. */
static void test_state_as_disk(void **state)
{
    struct pv_disk *d = disk_new("data"), *on;
    struct pv_disk_recording *r = record_example(d);
    struct pv_states_opts o = {.at_write = true};
    struct pv_state *st = pv_disk_recording_state(r, 2, &o, NULL);
    struct pv_disk_image *i = pv_state_image(st, 0, NULL);
    struct pv_disk_opts opts = {.name = "clone", .dir = "/tmp", .image = i};
    char byte;

    (void)state;
    on = pv_disk_new(loop, &opts, NULL);
    assert_non_null(on);
    pv_disk_recording_unref(r);
    put(on, 4096, 512, 77);
    assert_int_equal(pv_disk_read(on, 4096, &byte, 1, NULL), 0);
    assert_int_equal(byte, 77);
    assert_int_equal(pv_disk_read(on, 12288, &byte, 1, NULL), 0);
    assert_int_equal(byte, 0);
    assert_int_equal(byte_of(st, 0, 4096), 2);
    pv_state_unref(st);
    pv_disk_image_unref(i);
    pv_disk_free(on);
    pv_disk_free(d);
}

static void test_misuse(void **state)
{
    struct pv_disk *d = disk_new("data"), *twice[2] = {d, d};
    struct pv_disk_recording *r = pv_disk_recording_start(&d, 1, "/tmp", NULL);
    struct pv_states_opts o = {.exhaustive = 21};
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_null(pv_disk_recording_start(&d, 1, "/tmp", &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_null(pv_states_new(r, &o, &err));
    assert_int_equal(pv_disk_recording_save(r, "/tmp/none/none", &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    /* A write of the host within a sector: the recording has whole sectors. */
    assert_int_equal(pv_disk_write(d, 700, "x", 1, NULL), 0);
    pv_disk_recording_stop(r, NULL);
    assert_null(pv_states_new(r, &o, &err));
    assert_null(pv_disk_recording_start(twice, 2, "/tmp", &err));
    o = (struct pv_states_opts){.at_write = true};
    {
        struct pv_state *st = pv_disk_recording_state(r, 1, &o, &err);

        assert_non_null(st);
        assert_int_equal(byte_of(st, 0, 700), 'x');
        pv_state_unref(st);
    }
    pv_disk_recording_unref(r);
    pv_disk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks_and_words), cmocka_unit_test(test_save_and_load),
        cmocka_unit_test(test_torn_write),      cmocka_unit_test(test_minimise),
        cmocka_unit_test(test_state_as_disk),   cmocka_unit_test(test_misuse),
    };
    int r;

    loop = pv_loop_new(NULL);
    r = cmocka_run_group_tests(tests, NULL, NULL);
    pv_loop_free(loop);
    return r;
}
