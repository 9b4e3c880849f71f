/* SPDX-License-Identifier: MIT */
/* Assertions, sub-tests, searching for scripts, and messages of failures. */
#include "lua/script-test.h"

#include <string.h>
#include <sys/stat.h>

static void test_assert_eq(void **state)
{
    (void)state;
    passes("assert_eq(1, 1.0) assert_eq(nil, nil) assert_eq('x', 'x')\n"
           "assert_eq({1, {a = {2}}}, {1, {a = {2}}})\n"
           "assert_eq({[{1}] = 'k'}, {[{1}] = 'k'})\n"
           "local a, b = {1}, {1} a.me, b.me = a, b assert_eq(a, b)\n" /* cycles */
           "local c = {1} c.me = {1, me = c} assert_eq(a, c)\n"
           "assert_ne(1, 2) assert_ne({1}, {2}) assert_ne({1}, {1, 2}) assert_ne({1, 2}, {1})\n"
           "assert_ne({[{1}] = 'k'}, {[{2}] = 'k'}) assert_ne({}, {[{}] = 1}) assert_ne('1', 1)\n"
           "local p, q = {}, {} p.x, q.x = p, {} assert_ne(p, q)\n"
           "assert_ne(0/0, 0/0) assert_ne({false}, {nil})\n");
    fails("assert_eq(0, -13)", "    t.lua:1: expected 0, got -13\n");
    fails("assert_eq('1', 1, 'the answer')", "    t.lua:1: the answer: expected \"1\", got 1\n");
    fails("assert_eq(1)", "    t.lua:1: assert_eq needs 2 arguments, got 1\n");
    fails("assert_eq({1, x = {y = {'a'}}}, {1, x = {y = {'b'}}})",
          "    t.lua:1: expected {1, x = {y = {\"a\"}}}, got {1, x = {y = {\"b\"}}}\n"
          "    first difference at .x.y[1]: expected \"a\", got \"b\"\n");
    fails(
        "local a = {} a[1] = a assert_eq(a, {1})",
        "    t.lua:1: expected {<cycle>}, got {1}\n    first difference at [1]: expected {<cycle>}, got 1\n");
    fails("assert_ne({1}, {1})", "    t.lua:1: expected something other than {1}\n");
    fails("assert_eq(nil, false)", "    t.lua:1: expected nil, got false\n");
    fails("assert_eq('a\\27[31m', 'a')", "    t.lua:1: expected \"a\\27[31m\", got \"a\"\n");
}

static void test_diff(void **state)
{
    (void)state;
    fails("local s = '' for i = 1, 9 do s = s .. 'line number ' .. i .. '\\n' end\n"
          "assert_eq(s, (s:gsub('r 5', 'r five'):gsub('line number 8\\n', '')))",
          "    t.lua:2: the strings differ (- expected, + got)\n"
          "    @@ line 5 @@\n"
          "      line number 2\n"
          "      line number 3\n"
          "      line number 4\n"
          "    - line number 5\n"
          "    + line number five\n"
          "      line number 6\n"
          "      line number 7\n"
          "    - line number 8\n"
          "      line number 9\n");
    fails("assert_eq(('x'):rep(300) .. 'a' .. ('y'):rep(50), ('x'):rep(300) .. 'b' .. ('y'):rep(50))",
          "    t.lua:1: the strings differ from byte 301 on (351 and 351 bytes): expected "
          "...\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxayyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\", got "
          "...\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxbyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"\n");
}

/* The message about a huge value is bounded. */
static void test_huge(void **state)
{
    bool failed;
    cleanup_free char *deep = NULL, *wide = NULL, *text = NULL;

    (void)state;
    deep =
        script_run("local a, b = {1}, {2} for i = 1, 50000 do a, b = {a}, {b} end assert_eq(a, b)", &failed);
    assert_true(failed && strlen(deep) < 60000);
    wide = script_run(
        "local a, b = {}, {} for i = 1, 20000 do a[i], b[i] = i, i end b[20000] = 0 assert_eq(a, b)",
        &failed);
    assert_true(failed && strlen(wide) < 10000);
    assert_non_null(strstr(wide, "[20000]: expected 20000, got 0"));
    text = script_run("local a, b = {}, {} for i = 1, 20000 do a[i], b[i] = 'a' .. i, 'b' .. i end\n"
                      "assert_eq(table.concat(a, '\\n'), table.concat(b, '\\n'))",
                      &failed);
    assert_true(failed && strlen(text) < 10000);
}

static void test_other_asserts(void **state)
{
    (void)state;
    passes("assert_contains('abc', 'b') assert_contains('a.c', '.') assert_contains({1, {2}}, {2})\n"
           "assert_contains('x1', 1)\n"
           "assert(assert_error(function() error('boom 7') end, 'boom %d'):match('boom'))\n"
           "assert_error(function() error('a[b') end, '[b')\n" /* plain text, no pattern */
           "assert_eq('obj', assert_error(function() error({k = 'obj'}) end).k)\n"
           "local a, b = assert(1, 2) assert_eq(2, b)\n");
    fails("assert(false)", "    t.lua:1: assertion failed!\n");
    fails("assert(nil, 'why')", "    t.lua:1: why\n");
    fails("assert_contains({1, 2}, 3)", "    t.lua:1: 3 is not in {1, 2}\n");
    fails("assert_contains('abc', 'd', 'm')", "    t.lua:1: m: \"d\" is not in \"abc\"\n");
    fails("assert_contains(nil, 'd')",
          "    t.lua:1: assert_contains: expected a string or a table to look in, got nil\n");
    fails("assert_error(function() return 5 end)",
          "    t.lua:1: expected an error, but there was none; the function returned 5\n");
    fails("assert_error(function() error('abc', 0) end, 'x')",
          "    t.lua:1: expected an error that matches \"x\", got \"abc\"\n");
    fails("fail('no')", "    t.lua:1: no\n");
}

static void test_sub_tests(void **state)
{
    (void)state;
    fails("test('good', function() assert_eq(1, 1) end)\n"
          "test('bad', function() assert_eq(0, -13) end)\n"
          "test('nil', function() local x; x.y = 1 end)\n"
          "local function helper() fail('deep') end\n"
          "test('outer', function()\n"
          "  test('inner', function() helper() end)\n"
          "  test('skips', function() skip() end)\n"
          "end)\n"
          "test('later', function() pcall(todo, 'waiting') end)\n"
          "test('co', function() coroutine.wrap(function() error('in co') end)() end)\n"
          "test('obj', function() error(setmetatable({}, {__tostring = function() return 'OBJ' end})) end)\n"
          "test('nothing', function() error() end)\n",
          "    \xc2\xb7 good ... ok\n"
          "    \xc2\xb7 bad ... FAIL: expected 0, got -13\n        at t.lua:2\n"
          "    \xc2\xb7 nil ... FAIL: attempt to index a nil value (local 'x')\n        at t.lua:3\n"
          "    \xc2\xb7 outer ... ok\n"
          "    \xc2\xb7 outer \xe2\x80\xba inner ... FAIL: deep\n        at t.lua:4 (in helper)\n        "
          "called from "
          "t.lua:6\n"
          "    \xc2\xb7 outer \xe2\x80\xba skips ... skip\n"
          "    \xc2\xb7 later ... todo: waiting\n"
          "    \xc2\xb7 co ... FAIL: in co\n        at t.lua:10\n"
          "    \xc2\xb7 obj ... FAIL: OBJ\n        at t.lua:11\n"
          "    \xc2\xb7 nothing ... FAIL: error(nil)\n        at t.lua:12\n");
    fails("test('x')", "    t.lua:1: test(\"x\") needs a function as its second argument, got nothing\n");
    fails("test(function() end)", "    t.lua:1: the name of a test must be a string, got function\n");
    fails("test('a', function() end) error('after')", "    \xc2\xb7 a ... ok\n    t.lua:1: after\n");
    fails("skip_ = skip test('f', function() fail('x') end) skip('rest')",
          "    \xc2\xb7 f ... FAIL: x\n        at t.lua:1\n    rest\n");
    fails("local function f() return f() + 1 end test('deep', f)",
          "    \xc2\xb7 deep ... FAIL: stack overflow\n        at t.lua:1 (in f)\n");
    fails("x = = 1", "    t.lua:1: unexpected symbol near '='\n");
}

static void test_strings(void **state)
{
    (void)state;
    passes(
        "local s = '  ab c \\n'\n"
        "assert_eq(s, s.value) assert(s.contains('b c') and s:contains('b c') and not s.contains('z'))\n"
        "assert(s.starts_with('  a') and s:starts_with('  a') and not s:starts_with('a'))\n"
        "assert_eq('ab c', s.trim()) assert_eq('ab c', s:trim()) assert_eq('', (' '):trim())\n"
        "assert(('x').contains('x') and ('x'):contains('x'))\n"
        "assert_eq(8, #s) assert_eq('  ab c \\n!', s .. '!') assert(s == '  ab c \\n' and tostring(s) == s)\n"
        "assert_eq('ab', s:match('%a+')) assert_eq(nil, s.nothing) assert_eq('A', ('a'):upper())\n"
        "assert_eq('a\\0b', ('a\\0b '):trim()) assert(('a\\0b'):contains('\\0'))\n");
    fails("local x = ('a').contains()", "    t.lua:1: contains expects a string, got no value\n");
}

static void test_scripts(void **state)
{
    (void)state;
    assert_int_equal(mkdir("lib", 0700), 0);
    script_put("helper.lua", "return {n = 1, args = {...}}");
    script_put("lib/init.lua", "return 'lib'");
    script_put("lib/sub.lua", "return 'sub'");
    script_put("broken.lua", "x = = 1");
    passes("assert_eq(1, require('helper').n) assert_eq('lib', require('lib')) assert_eq('sub', "
           "require('lib.sub'))\n"
           "assert_eq(1, dofile('helper.lua').n) assert_eq(7, loadfile('helper.lua')(7).args[1])\n"
           "local f, why = loadfile('none.lua') assert_eq(nil, f) assert_contains(why, 'none.lua')\n"
           "assert_error(function() dofile('broken.lua') end, 'broken.lua:1')\n"
           "assert_error(function() require('nope') end, 'nope.lua')\n"
           "assert_eq(2, select('#', unpack({1, 2}))) assert_eq(3, loadstring('return 3')())\n");
}

static void test_helper(void **state)
{
    bool failed;
    cleanup_free char *got = script_run("local M = {} function M.f() assert_eq(1, 2) end return M", &failed);

    (void)state;
    assert_false(failed);
    assert_string_equal(got, "");
}

/* want: the names of the sub-tests that ran, each with a blank; "(MESSAGE)" of a skipped file. */
static void selects(const char *tag, const char *no_tag, bool slow, const char *script, const char *want)
{
    cleanup_free char *got = NULL;
    bool failed;

    if (tag)
        pv_strv_add(&script_tags, tag);
    if (no_tag)
        pv_strv_add(&script_no_tags, no_tag);
    script_slow_tests = slow;
    got = script_run(script, &failed);
    pv_strv_free(&script_tags);
    pv_strv_free(&script_no_tags);
    script_slow_tests = false;
    assert_false(failed);
    if (strcmp(got, want) != 0)
        fail_msg("--tag %s --no-tag %s: got\n%sexpected\n%s", tag, no_tag, got, want);
}

static void test_tags(void **state)
{
    static const char script[] = "local function f() end\n"
                                 "assert_eq(true or false, true)\n"
                                 "test('plain', f)\n"
                                 "test('net', {tags = {'net'}}, function() test('in', f)\n"
                                 "    test('in6', {tags = {'ipv6'}}, f) end)\n"
                                 "test('both', {tags = {'net', 'ipv6'}}, f)\n"
                                 "local ran = test('slow', {slow = true, tags = {}}, f)\n"
                                 "test('options', {}, f)\n";

    (void)state;
#define OK(name) "    \xc2\xb7 " name " ... ok\n"
#define SLOW "    \xc2\xb7 slow ... skip: slow; --slow-tests runs it\n"
    selects(NULL, NULL, false, script,
            OK("plain") OK("net") OK("net \xe2\x80\xba in") OK("net \xe2\x80\xba in6") OK("both")
                SLOW OK("options"));
    selects("net", NULL, false, script,
            OK("net") OK("net \xe2\x80\xba in") OK("net \xe2\x80\xba in6") OK("both"));
    selects("ipv6", NULL, false, script, OK("both"));
    selects("net", "ipv6", false, script, OK("net") OK("net \xe2\x80\xba in"));
    selects(NULL, "net", true, script, OK("plain") OK("slow") OK("options"));
    selects("slow", NULL, false, script, OK("slow"));
    selects(NULL, "slow", false, script,
            OK("plain") OK("net") OK("net \xe2\x80\xba in") OK("net \xe2\x80\xba in6") OK("both")
                OK("options"));
    selects("zzz", NULL, false, script, "");
}

/* The script fails with `part` in its message. */
static void tells(const char *script, const char *part)
{
    bool failed;
    cleanup_free char *got = script_run(script, &failed);

    if (!failed || !strstr(got, part))
        fail_msg("%s\ngave\n%swhere this was expected: %s", script, got, part);
}

static void test_bad_test_options(void **state)
{
    (void)state;
    tells("test('x', {tag = {'a'}}, print)",
          "t.lua:1: unknown test option 'tag' (did you mean 'tags'?); known: "
          "tags, timeout, slow");
    tells("test('x', {tags = 'net'}, print)", "test option 'tags' must be a table, got string \"net\"");
    tells("test('x', {tags = {a = 1}}, print)", "test option 'tags' must be a list of strings");
    tells("test('x', {tags = {'a', 1}}, print)", "a tag of a test must be a string, got number 1");
    tells("test('x', {tags = {''}}, print)", "a tag of a test is empty");
    tells("test('x', {timeout = 'soon'}, print)", "test option 'timeout': 'soon' is not a time");
    tells("test('x', {slow = 1}, print)", "test option 'slow' must be true or false, got number 1");
    tells("test('x', {slow = true})", "test(\"x\") needs a function as its third argument, got nothing");
    tells("test('x', {}, 5)", "test(\"x\") needs a function as its third argument, got number");
    tells("test('x', 'slow', print)", "test(\"x\") needs a function as its second argument, got string");
}

/* Each script loops for ever without its limit; meson's timeout ends this program then. */
static void test_timeouts(void **state)
{
    static const char *const late[] = {
        "test('t', {timeout = 0.05}, function() while true do end end)",
        "test('t', {timeout = '50ms'}, function() while true do pcall(function() end) end end)",
        "test('t', {timeout = 0.05}, function() while true do pcall(function() while true do end end) end "
        "end)",
        "test('t', {timeout = 0.05}, function() provium.sleep(60) end)",
        "test('t', {timeout = 0.05}, function() pcall(provium.sleep, 60) while true do end end)",
        "test('t', {timeout = 0.05}, function() coroutine.wrap(function() while true do end end)() end)",
        "local co = coroutine.wrap(function() coroutine.yield() while true do end end) co()\n"
        "test('t', {timeout = 0.05}, function() co() end)",
        "local co = coroutine.create(function() while true do end end)\n"
        "test('t', {timeout = 0.05}, function() while true do coroutine.resume(co) end end)",
        "coroutine.wrap(function() test('t', {timeout = 0.05}, function() while true do end end) end)()",
        "test('t', {timeout = 0.05}, function() local x <close> = setmetatable({},\n"
        "    {__close = function() while true do end end}) while true do end end)",
        "test('t', {timeout = 0.05}, function() test('in', function() while true do end end)\n"
        "    while true do end end)",
        "test('out', function() test('t', {timeout = 0.05}, function() while true do end end)\n"
        "    provium.sleep(0.1) end)",
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(late); i++) {
        bool failed;
        cleanup_free char *got = script_run(late[i], &failed);

        if (!failed || !strstr(got, "t ... FAIL: ") || !strstr(got, "timed out after 0.05 s") ||
            strstr(got, "out ... FAIL: timed"))
            fail_msg("%s\ngave\n%s", late[i], got);
    }
    tells("test('t', {timeout = 0.05}, function() provium.sleep(60) end)",
          "t ... FAIL: timed out after 0.05 s, sleeping for 60 s");
    tells("test('t', {timeout = 0.05}, function() test('in', {timeout = 9}, function() while true do end "
          "end) end)",
          "in ... FAIL: the test around it, 't', timed out after 0.05 s");
    /* A test that catches the error fails, and so does one that was late in a C function. */
    tells("test('t', {timeout = 0.05}, function() pcall(provium.sleep, 60) end)",
          "t ... FAIL: timed out: it took 0.0");
    tells("test('t', {timeout = 0.05}, function() os.execute('sleep 0.2') end)", "its timeout is 0.05 s");
    /* __close and code after a pcall have one second. */
    tells(
        "local done test('t', {timeout = 0.05}, function()\n"
        "    local x <close> = setmetatable({}, {__close = function() for i = 1, 5000 do done = i end end})\n"
        "    while true do end end) error('done ' .. done)",
        "done 5000");
    /* The limit ends with its test, also in a coroutine that outlives it. */
    passes(
        "local co test('t', {timeout = 0.2}, function()\n"
        "    co = coroutine.wrap(function() coroutine.yield() for i = 1, 1e6 do end return 7 end) co() end)\n"
        "provium.sleep(0.25) for i = 1, 1e6 do end assert_eq(7, co())\n"
        "test('u', function() for i = 1, 1e6 do end end)");
    passes("test('t', {timeout = 30}, function() for i = 1, 1e6 do end assert_eq(1, 1) skip('s') end)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tags),          cmocka_unit_test(test_bad_test_options),
        cmocka_unit_test(test_timeouts),      cmocka_unit_test(test_assert_eq),
        cmocka_unit_test(test_diff),          cmocka_unit_test(test_huge),
        cmocka_unit_test(test_other_asserts), cmocka_unit_test(test_sub_tests),
        cmocka_unit_test(test_strings),       cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_helper),
    };

    return cmocka_run_group_tests(tests, script_set_up, script_tear_down);
}
