/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vm/version.h"

static void test_loses_patches(void **state)
{
    static const char *const losing[] = {"7.2.22", "7.2", "8.0.5", "5.2.0", "8", "", "none", "x.y"};
    static const char *const sound[] = {"8.1.0", "8.1", "8.2.10", "9.0", "10.0.2", "11.0"};

    (void)state;
    for (size_t i = 0; i < sizeof(losing) / sizeof(losing[0]); i++)
        assert_true(pv_qemu_loses_patches(losing[i]));
    for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++)
        assert_false(pv_qemu_loses_patches(sound[i]));
    assert_true(pv_qemu_loses_patches(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_loses_patches)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
