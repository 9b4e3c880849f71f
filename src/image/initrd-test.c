/* SPDX-License-Identifier: MIT */
/* pv_initrd_check on good and bad first bytes. */
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

static char dir[] = "/tmp/pv-initrd-test-XXXXXX";

static void checks_initrds(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *why; /* part of the error text; NULL: accepted */
    } cases[] = {
        {"\x1f\x8b\x08\0xxxx", 8, NULL},
        {"BZh91AY&SY", 10, NULL},
        {"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff", 13, NULL},
        {"\xfd"
         "7zXZ\0\0\4",
         8, NULL},
        {"\x89LZO\0\x0d\x0a\x1a\x0a", 9, NULL},
        {"\x02\x21\x4c\x18xxxx", 8, NULL},
        {"\x28\xb5\x2f\xfdxxxx", 8, NULL},
        {"\x04\x22\x4d\x18xxxx", 8, "lz4 -l"},
        {"", 0, "is empty"},
        {"no archive\n", 11, "a text file"},
        {"070701", 6, "damaged first header"},
        {"070707000000", 12, "old portable format"},
        {"QFI\xfb\0\0\0\3", 8, "qcow2"},
    };
    cleanup_free char *path = pv_path_join(dir, "check");
    char newc[120];
    struct pv_err none = PV_ERR_INIT;

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++) {
        struct pv_err err = PV_ERR_INIT;
        int rc;

        test_write(path, cases[i].bytes, cases[i].n);
        rc = pv_initrd_check(path, &err);

        if (!cases[i].why) {
            if (rc != 0)
                fail_msg("%zu: %s", i, err.text);
            continue;
        }
        assert_int_equal(rc, -1);
        assert_int_equal(err.cls, PV_E_USAGE);
        if (!strstr(err.text, cases[i].why) || !strstr(err.text, path))
            fail_msg("'%s' does not say '%s'", err.text, cases[i].why);
    }
    memset(newc, '0', sizeof(newc));
    memcpy(newc, "070701", 6);
    test_write(path, newc, sizeof(newc));
    assert_int_equal(pv_initrd_check(path, &none), 0);
    newc[50] = 'x';
    test_write(path, newc, sizeof(newc));
    assert_int_equal(pv_initrd_check(path, &none), -1);
    assert_int_equal(pv_initrd_check(dir, &none), -1);
    assert_non_null(strstr(none.text, "a directory"));
    assert_int_equal(pv_initrd_check("/does/not/exist", &none), -1);
    assert_int_equal(none.cls, PV_E_USAGE);
}

static uint64_t unpacked_of(const void *data, size_t n)
{
    cleanup_free char *path = pv_path_join(dir, "unpacked");

    test_write(path, data, n);
    return pv_initrd_unpacked(path);
}

/* A plain archive of two files and its trailer, then a second archive of one file. */
static void add_newc(struct pv_buf *b, const char *name, unsigned size)
{
    pv_buf_addf(b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s", 1, 0100644, 0, 0, 1, 0,
                size, 0, 0, 0, 0, (unsigned)strlen(name) + 1, 0, name);
    pv_buf_addc(b, '\0');
    while (b->len % 4)
        pv_buf_addc(b, '\0');
    for (unsigned i = 0; i < size; i++)
        pv_buf_addc(b, 'x');
    while (b->len % 4)
        pv_buf_addc(b, '\0');
}

static void knows_unpacked_sizes(void **state)
{
    cleanup_buf struct pv_buf b = {0};
    static const char zeros[640];

    (void)state;
    add_newc(&b, "a", 101);
    add_newc(&b, "directory/name", 7);
    add_newc(&b, "TRAILER!!!", 0);
    add_newc(&b, "c", 1000);
    assert_int_equal(unpacked_of(b.data, b.len), 1108);
    assert_int_equal(unpacked_of(b.data, b.len - 700), 1108); /* cut: as its headers say */
    /* zstd: a frame of 200,000 bytes (4-byte size), one of 300 (2 bytes), one of 100 (1 byte), one without a size */
    assert_int_equal(unpacked_of("\x28\xb5\x2f\xfd\xa0\x40\x0d\x03\0xxxxxxxxx", 18), 200000);
    assert_int_equal(unpacked_of("\x28\xb5\x2f\xfd\x60\x2c\0xxxxxxxxxxx", 18), 300);
    assert_int_equal(unpacked_of("\x28\xb5\x2f\xfd\x20\x64xxxxxxxxxxxx", 18), 100);
    assert_int_equal(unpacked_of("\x28\xb5\x2f\xfd\0\x58xxxxxxxxxxxx", 18), 18);
    pv_buf_free(&b);
    pv_buf_add(&b, "\x1f\x8b\x08\0", 4);
    pv_buf_add(&b, zeros, sizeof(zeros) - 4);
    assert_int_equal(unpacked_of(b.data, b.len), 630); /* gzip: a lower bound */
    assert_int_equal(pv_initrd_unpacked("/does/not/exist"), 0);
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
        cmocka_unit_test(checks_initrds),
        cmocka_unit_test(knows_unpacked_sizes),
    };

    return cmocka_run_group_tests_name("image-initrd", tests, setup, teardown);
}
