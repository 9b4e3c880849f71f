/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include "util/glob.h"
#include "util/mem.h"

static void test_match(void **state)
{
    static const struct {
        const char *pattern, *path;
        bool match;
    } cases[] = {
        {"*.test.lua", "a.test.lua", true},
        {"*.test.lua", "deep/in/a.test.lua", true},
        {"*.test.lua", "a.lua", false},
        {"**/*.test.lua", "a.test.lua", true},
        {"**/*.test.lua", "x/y/a.test.lua", true},
        {"**/*.test.lua", "x/y/a.test.lua/b.lua", false},
        {"t/*.lua", "t/a.lua", true},
        {"./t/*.lua", "t/a.lua", true},
        {"t/*.lua", "t/sub/a.lua", false},
        {"t/**/*.lua", "t/a.lua", true},
        {"t/**/*.lua", "t/sub/deep/a.lua", true},
        {"t/**/*.lua", "u/a.lua", false},
        {"t/**", "t/sub/a.lua", true},
        {"t/?[0-9].lua", "t/a7.lua", true},
        {"t/?[0-9].lua", "t/ab.lua", false},
        {"**", "any/thing", true},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(cases); i++)
        if (pv_glob_match(cases[i].pattern, cases[i].path) != cases[i].match)
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_match)};

    return cmocka_run_group_tests_name("util-glob", tests, NULL, NULL);
}
