/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "cli/options.h"
#include "util/err.h"
#include "util/mem.h"

static const struct pv_opt opts[] = {{"config", 'c', "FILE", "a file"},
                                     {"verbose", 'v', NULL, "more"},
                                     {"quiet", 'q', NULL, "less"},
                                     {"seed", 's', "N", "maybe", true},
                                     {NULL}};

/* Parses a line of words and compares the result: "config=x verbose word=y", or "error: TEXT". */
static void assert_parsed(const char *line, const char *want)
{
    cleanup_buf struct pv_buf out = {0};
    cleanup_strv struct pv_strv words = {0};
    cleanup_free char *copy = pv_xstrdup(line);
    struct pv_opt_parser p = {.opts = opts, .optional = strstr(line, "maybe") ? "config" : NULL};
    struct pv_err err = PV_ERR_INIT;
    const char *value;
    int i;

    for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
        pv_strv_add(&words, w);
    p.argc = (int)words.n;
    p.argv = words.v;
    while ((i = pv_opt_next(&p, &value, &err)) >= 0) {
        pv_buf_addf(&out, "%s%s", out.len ? " " : "",
                    i == PV_OPT_WORD   ? "word"
                    : i == PV_OPT_HELP ? "help"
                                       : opts[i].name);
        if (value)
            pv_buf_addf(&out, "=%s", value);
    }
    if (i == PV_OPT_BAD) {
        pv_buf_free(&out);
        pv_buf_addf(&out, "error: %s", err.text);
    }
    assert_string_equal(out.data ? out.data : "", want);
}

static void test_good(void **state)
{
    (void)state;
    assert_parsed("test", "");
    assert_parsed("test a --config f b", "word=a config=f word=b");
    assert_parsed("test --config=f=g -v", "config=f=g verbose");
    assert_parsed("test -c f -cg -vq -vch", "config=f config=g verbose quiet verbose config=h");
    assert_parsed("test -- --config -v", "word=--config word=-v");
    assert_parsed("test - -h --help", "word=- help help");
}

static void test_optional(void **state)
{
    (void)state;
    assert_parsed("test --seed 5", "seed word=5");
    assert_parsed("test --seed=5 a", "seed=5 word=a");
    assert_parsed("test --seed", "seed");
    assert_parsed("test -s 5", "seed word=5");
    assert_parsed("test -s5 -vs", "seed=5 verbose seed");
    assert_parsed("test --seed=", "error: test: option '--seed' needs a value: --seed N");
    assert_parsed("maybe --config a --config=b --config", "config word=a config=b config");
}

static void test_bad(void **state)
{
    (void)state;
    assert_parsed("test --confg f", "error: test: unknown option '--confg' (did you mean '--config'?)");
    assert_parsed("test --zzz",
                  "error: test: unknown option '--zzz'; 'provium test --help' lists the known ones");
    assert_parsed("test -x", "error: test: unknown option '-x'; 'provium test --help' lists the known ones");
    assert_parsed("test -vx", "error: test: unknown option '-x'; 'provium test --help' lists the known ones");
    assert_parsed("test a --config", "error: test: option '--config' needs a value: --config FILE");
    assert_parsed("test -c", "error: test: option '--config' needs a value: --config FILE");
    assert_parsed("test --config=", "error: test: option '--config' needs a value: --config FILE");
    assert_parsed("test --verbose=yes", "error: test: option '--verbose' takes no value, got 'yes'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_optional),
                                       cmocka_unit_test(test_bad)};

    return cmocka_run_group_tests_name("cli-options", tests, NULL, NULL);
}
