/* SPDX-License-Identifier: MIT */
/* Kernel files that pv_kernel_open refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "image/test-kernel-files.h"
#include "util/err.h"
#include "util/path.h"

static char dir[] = "/tmp/pv-kernel-bad-test-XXXXXX";

static char *in_dir(const char *name)
{
    return pv_path_join(dir, name);
}

static void says_what_it_is_instead(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *expect;
    } cases[] = {
        {"", 0, "is empty"},
        {"hello\nworld\n", 12, "a text file"},
        {"#!/bin/sh\n", 10, "a script"},
        {"\x1f\x8b\x08\0\0\0\0\0", 8, "a gzip file"},
        {"\x7f"
         "ELF\x01\x01\x01",
         7, "not an ELF file"},
        {"070701000000", 12, "a cpio archive"},
        {"QFI\xfb\0\0\0\3", 8, "a qcow2 disk image"},
        {"\0\0\0\0\0\0\0\0", 8, "all zero bytes"},
        {"\1\2\3\4", 4, "unknown data"},
        {"MZ\0\0\0\0", 6, "an EFI or Windows program"},
    };
    cleanup_free char *path = in_dir("no-kernel"), *fifo = in_dir("fifo"), *missing = in_dir("missing");
    struct pv_kernel k;

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
        struct pv_err err = PV_ERR_INIT;

        test_write(path, cases[i].bytes, cases[i].n);
        assert_int_equal(pv_kernel_open(path, true, &k, &err), -1);
        assert_int_equal(err.cls, PV_E_USAGE);
        assert_non_null(strstr(err.text, path));
        if (!strstr(err.text, cases[i].expect))
            fail_msg("'%s' does not say '%s'", err.text, cases[i].expect);
    }
    assert_int_equal(mkfifo(fifo, 0600), 0);
    for (int i = 0; i < 3; i++) {
        const char *const paths[] = {fifo, dir, missing};
        const char *const expect[] = {"no regular file", "a directory", "No such file"};
        struct pv_err err = PV_ERR_INIT;

        assert_int_equal(pv_kernel_open(paths[i], true, &k, &err), -1);
        assert_int_equal(err.cls, PV_E_USAGE);
        assert_non_null(strstr(err.text, expect[i]));
    }
}

static void expect_refused(const char *path, const char *why)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_kernel k;

    assert_int_equal(pv_kernel_open(path, true, &k, &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    if (!strstr(err.text, why))
        fail_msg("'%s' does not say '%s'", err.text, why);
}

static void refuses_kernels_that_cannot_boot(void **state)
{
    cleanup_buf struct pv_buf elf = {0}, bz = {0}, plain = {0};
    cleanup_free char *path = in_dir("vmlinuz");
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    test_make_kernel(path, PV_COMP_GZIP, 1, true, &elf);
    assert_int_equal(pv_read_file(path, 1 << 30, &bz, &err), 0);
    test_write(path, bz.data, bz.len / 2);
    expect_refused(path, "cut short");
    bz.data[0x236] = 0;
    test_write(path, bz.data, bz.len);
    expect_refused(path, "64-bit");
    test_write(path, elf.data, elf.len - 100);
    expect_refused(path, "cut short");
    elf.data[18] = (char)183; /* EM_AARCH64 */
    test_write(path, elf.data, elf.len);
    expect_refused(path, "another processor");
    elf.data[4] = 1;
    test_write(path, elf.data, elf.len);
    expect_refused(path, "32-bit");
    test_make_elf(&plain, TEST_ELF_SIZE, false, 1);
    test_write(path, plain.data, plain.len);
    expect_refused(path, "PVH");
    plain.data[16] = 1; /* ET_REL */
    test_write(path, plain.data, plain.len);
    expect_refused(path, "object file");
}

/* A damaged header is an error or still a kernel, never a crash or a read out of bounds (also under ASan). */
static void survives_damaged_headers(void **state)
{
    cleanup_buf struct pv_buf elf = {0}, bz = {0};
    cleanup_free char *path = in_dir("vmlinuz");
    struct pv_err err = PV_ERR_INIT;
    unsigned x = 12345;

    (void)state;
    setenv("XDG_CACHE_HOME", dir, 1);
    test_make_kernel(path, PV_COMP_LZO, 1, true, &elf);
    assert_int_equal(pv_read_file(path, 1 << 30, &bz, &err), 0);
    for (int i = 0; i < 200; i++) {
        struct pv_buf *b = i % 2 ? &bz : &elf;
        size_t at[3];
        char old[3];
        struct pv_kernel k;

        for (int j = 0; j < 3; j++) {
            x = x * 1103515245 + 12345;
            at[j] = (x >> 8) % (i % 2 ? 4200 : 240);
            if (i % 4 == 1)
                at[j] = 0x1f0 + at[j] % 0x60;
            old[j] = b->data[at[j]];
            b->data[at[j]] = (char)(x >> 5);
        }
        test_write(path, b->data, b->len);
        if (pv_kernel_open(path, true, &k, NULL) == 0)
            pv_kernel_fini(&k);
        for (int j = 2; j >= 0; j--)
            b->data[at[j]] = old[j];
    }
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_it_is_instead),
        cmocka_unit_test(refuses_kernels_that_cannot_boot),
        cmocka_unit_test(survives_damaged_headers),
    };

    return cmocka_run_group_tests_name("image-kernel-bad", tests, setup, teardown);
}
