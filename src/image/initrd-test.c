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
    };

    return cmocka_run_group_tests_name("image-initrd", tests, setup, teardown);
}
