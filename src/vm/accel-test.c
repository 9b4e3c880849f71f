/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"
#include "vm/accel.h"
#include "vm/tsc.h"

static char dir[] = "/tmp/provium-accel-test-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) && setenv("XDG_CACHE_HOME", dir, 1) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return pv_rm_rf(dir);
}

/* The probe gives a reason, takes little time, and restores the signal state. */
static void test_probe_now(void **state)
{
    struct pv_accel_probe p;
    struct sigaction before, after;
    sigset_t mask_before, mask_after;
    int64_t start, took;

    (void)state;
    memset(&mask_before, 0, sizeof(mask_before));
    memset(&mask_after, 0, sizeof(mask_after));
    sigaction(SIGRTMAX - 2, NULL, &before);
    sigprocmask(SIG_SETMASK, NULL, &mask_before);
    start = pv_now();
    pv_accel_probe_now(&p);
    took = pv_now() - start;
    sigaction(SIGRTMAX - 2, NULL, &after);
    sigprocmask(SIG_SETMASK, NULL, &mask_after);
    print_message("kvm %d, \"%s\", tsc %u kHz, took %.1f ms\n", p.kvm, p.why, p.tsc_khz, (double)took / 1e6);
    assert_true(p.kvm == !strcmp(p.why, "KVM works"));
    assert_true(p.kvm || strstr(p.why, "/dev/kvm"));
    assert_true(took < 500 * PV_NSEC_PER_MSEC);
    assert_true(before.sa_handler == after.sa_handler);
    assert_memory_equal(&mask_before, &mask_after, sizeof(mask_before));
    if (access("/dev/kvm", F_OK) < 0)
        assert_non_null(strstr(p.why, "no /dev/kvm"));
}

/* Two measurements agree to 200 parts per million; three pairs are allowed on a busy machine. */
static void test_tsc_accuracy(void **state)
{
    double ppm = 1e9;

    (void)state;
    if (!pv_tsc_invariant())
        skip();
    for (int i = 0; i < 3 && ppm > 200; i++) {
        struct pv_tsc_sample s1 = pv_tsc_sample();
        double a = pv_tsc_measured_khz(&s1), b, used;
        struct pv_tsc_sample s2 = pv_tsc_sample();

        b = pv_tsc_measured_khz(&s2);
        s2 = pv_tsc_sample();
        used = pv_tsc_khz_since(&s2);
        assert_true(a > 0 && b > 0);
        assert_true(used > b * 0.998 && used < b * 1.002);
        print_message("TSC: %.0f and %.0f kHz measured, %.0f kHz used\n", a, b, used);
        ppm = (a > b ? a - b : b - a) / a * 1e6;
    }
    print_message("TSC: two measurements differ by %.1f ppm\n", ppm);
    assert_true(ppm <= 200);
}

/* A host that slept since the first sample: the counter went on (suspended to RAM) or began anew (hibernated). */
static void test_tsc_slept(void **state)
{
    (void)state;
    if (!pv_tsc_invariant())
        skip();
    for (int began_anew = 0; began_anew < 2; began_anew++) {
        struct pv_tsc_sample s = pv_tsc_sample(), slept;
        double want = pv_tsc_measured_khz(&s), got;

        slept = pv_tsc_sample();
        slept.asleep_ns -= PV_NSEC_PER_SEC / 50;
        slept.ticks = began_anew ? UINT64_MAX / 2 : slept.ticks - (uint64_t)(want * 1e3 / 50);
        got = pv_tsc_measured_khz(&slept);
        assert_true(got > want * 0.998 && got < want * 1.002);
    }
}

static void write_memory(const char *text)
{
    cleanup_free char *path = pv_path_join(dir, "provium/accel");
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_equal(pv_write_all(fd, text, strlen(text)), 0);
}

static char *read_memory(void)
{
    cleanup_free char *path = pv_path_join(dir, "provium/accel");
    struct pv_buf text = {0};

    assert_int_equal(pv_read_file(path, 4096, &text, NULL), 0);
    return text.data;
}

/* Two probes of one machine agree, except in the numbers that they measured. */
static void assert_same_result(const struct pv_accel_probe *p, const struct pv_accel_probe *first)
{
    const char *a = p->why, *b = first->why;

    assert_int_equal(p->kvm, first->kvm);
    do {
        a += strspn(a, "0123456789");
        b += strspn(b, "0123456789");
        if (*a != *b)
            fail_msg("\"%s\", the first probe said \"%s\"", p->why, first->why);
    } while (*a++ && *b++);
}

static void test_memory(void **state)
{
    struct pv_accel_probe first, p;
    cleanup_free char *good = NULL, *again = NULL, *changed = NULL;
    char *tsc, *near;

    (void)state;
    pv_accel_probe(&first);
    good = read_memory();
    pv_accel_probe(&p);
    assert_int_equal(p.tsc_khz, first.tsc_khz);
    assert_string_equal(p.why, first.why);

    /* a rate that was written to the cache file is returned */
    changed = pv_xstrdup(good);
    tsc = strstr(changed, "\ntsc ");
    assert_non_null(tsc);
    tsc[5] = tsc[5] == '7' ? '8' : '7';
    write_memory(changed);
    pv_accel_probe(&p);
    assert_int_not_equal(p.tsc_khz, first.tsc_khz);

    /* another boot, half a file, garbage: the probe runs and replaces the file */
    changed[strlen("provium-accel 1\nboot ")] ^= 1;
    write_memory(changed);
    pv_accel_probe(&p);
    assert_in_range(p.tsc_khz, first.tsc_khz - first.tsc_khz / 100, first.tsc_khz + first.tsc_khz / 100);
    /* a rate of an earlier boot stays while the measurement confirms it: it is a part of fixtures' keys */
    tsc[5] = good[tsc + 5 - changed];
    near = strchr(tsc + 5, '\n') - 1;
    *near = *near == '9' ? '8' : (char)(*near + 1);
    write_memory(changed);
    pv_accel_probe(&p);
    assert_int_equal(p.tsc_khz, strtoul(tsc + 5, NULL, 10));
    good[strlen(good) - 3] = '\0';
    write_memory(good);
    pv_accel_probe(&p);
    assert_same_result(&p, &first);
    write_memory("\033]0;x\nnonsense");
    pv_accel_probe(&p);
    assert_same_result(&p, &first);
    again = read_memory();
    assert_non_null(strstr(again, "provium-accel 1\nboot "));
}

/* A result in a file or directory that is not this user's alone is not believed. */
static void test_foreign_cache(void **state)
{
    cleanup_free char *path = pv_path_join(dir, "provium/accel"), *moved = pv_path_join(dir, "moved");
    cleanup_free char *cache = pv_path_join(dir, "provium"), *lie = NULL;
    struct pv_accel_probe p;
    char *tsc;

    (void)state;
    pv_accel_probe(&p);
    lie = read_memory();
    tsc = strstr(lie, "\ntsc ");
    assert_non_null(tsc);
    memmove(tsc + 6, strchr(tsc + 5, '\n'), strlen(strchr(tsc + 5, '\n')) + 1); /* one digit */
    tsc[5] = '7';
    write_memory(lie);
    pv_accel_probe(&p);
    assert_int_equal(p.tsc_khz, 7); /* this user's own */
    assert_int_equal(chmod(path, 0620), 0);
    pv_accel_probe(&p);
    assert_int_not_equal(p.tsc_khz, 7);

    write_memory(lie);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(symlink(moved, path), 0);
    pv_accel_probe(&p);
    assert_int_not_equal(p.tsc_khz, 7);

    write_memory(lie);
    assert_int_equal(chmod(cache, 0770), 0);
    pv_accel_probe(&p);
    assert_int_not_equal(p.tsc_khz, 7);
    assert_int_equal(chmod(cache, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 1, 1), 0);
        pv_accel_probe(&p);
        assert_int_not_equal(p.tsc_khz, 7);
        write_memory(lie);
        assert_int_equal(chown(cache, 1, 1), 0);
        pv_accel_probe(&p);
        assert_int_not_equal(p.tsc_khz, 7);
        assert_int_equal(chown(cache, 0, 0), 0);
    } else {
        print_message("skipped: only root can give a file to another user\n");
    }
    assert_int_equal(unlink(moved), 0);
    assert_int_equal(rename(cache, moved), 0);
    assert_int_equal(symlink(moved, cache), 0);
    pv_accel_probe(&p);
    assert_int_not_equal(p.tsc_khz, 7);
    assert_int_equal(unlink(cache), 0);
    assert_int_equal(rename(moved, cache), 0);
    unlink(path);
}

/* Without a usable cache directory the result is the same. */
static void test_no_cache(void **state)
{
    struct pv_accel_probe first, p;

    (void)state;
    pv_accel_probe(&first);
    setenv("XDG_CACHE_HOME", "/proc/nowhere", 1);
    pv_accel_probe(&p);
    assert_same_result(&p, &first);
    setenv("XDG_CACHE_HOME", dir, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe_now),     cmocka_unit_test(test_tsc_accuracy),
        cmocka_unit_test(test_tsc_slept),     cmocka_unit_test(test_memory),
        cmocka_unit_test(test_foreign_cache), cmocka_unit_test(test_no_cache),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
