/* SPDX-License-Identifier: MIT */
/* provium.async, provium.all and tasks, without VMs: what waits is provium.sleep. */
#include "lua/script-test.h"

#include <string.h>

#include "util/mem.h"

static void results(void **state)
{
    (void)state;
    passes("local order = {}\n"
           "local t = provium.async(function(a, b)\n"
           "  order[#order + 1] = 'begun' provium.sleep(0.02) order[#order + 1] = 'ended'\n"
           "  return a + b, nil, 'third'\n"
           "end, 1, 2)\n"
           "assert_eq({'begun'}, order) assert_eq(false, t:done())\n" /* it ran until its first wait */
           "for _ = 1, 2 do\n"
           "  local r = table.pack(t:wait()) assert_eq(3, r.n) assert_eq(3, r[1]) assert_eq('third', r[3])\n"
           "end\n"
           "assert_eq(true, t:done()) assert_eq({'begun', 'ended'}, order)\n"
           "assert_eq('task 1 (begun at t.lua:2)', tostring(t))\n"
           "assert_eq(5, provium.async(function() return 5 end):wait())\n"); /* it has never waited */
    /* Many results, coroutines and pcall in a task. */
    passes("local t = provium.async(function()\n"
           "  local co = coroutine.wrap(function() provium.sleep(0.01) coroutine.yield(1) "
           "provium.sleep(0.01) return 2 end)\n"
           "  assert_eq(1, co()) assert_eq(2, co())\n"
           "  local ok, e = pcall(function() provium.sleep(0.01) error({code = 7}) end)\n"
           "  assert_eq(7, e.code)\n"
           "  return table.unpack({}, 1, 300)\n"
           "end)\n"
           "assert_eq(300, select('#', t:wait()))\n");
}

/* A task has as much stack as the script. */
static void deep_stacks(void **state)
{
    (void)state;
    passes("provium.async(function()\n"
           "  local function lua(n) return n == 0 and 0 or 1 + lua(n - 1) end\n"
           "  assert_eq(10000, lua(10000))\n"
           "  local function c(n) return (('x'):gsub('x', function() return n == 0 and 'y' or c(n - 1) end)) "
           "end\n"
           "  assert_eq('y', c(150))\n"
           "  local function nested(n) if n > 0 then assert(pcall(nested, n - 1)) else provium.sleep(0.01) "
           "end end\n"
           "  nested(150)\n"
           "  assert_error(function() local function f() return 1 + f() end f() end, 'stack overflow')\n"
           "  assert_error(function() c(1000) end, 'overflow')\n"
           "  collectgarbage()\n"
           "end):wait()\n");
}

/* A finalizer that waits lets tasks go on, as any call does. */
static void finalizers(void **state)
{
    (void)state;
    passes("local n = 0\n"
           "provium.all{function()\n"
           "  for _ = 1, 3 do\n"
           "    setmetatable({}, {__gc = function() provium.sleep(0.01) n = n + 1 end})\n"
           "    collectgarbage()\n"
           "  end\n"
           "end, function() for _ = 1, 20 do provium.sleep(0.005) local _ = ('x'):rep(1000) end end}\n"
           "collectgarbage() assert_eq(3, n)\n");
    passes("setmetatable({}, {__gc = function() assert(not pcall(provium.async, print)) end})");
}

/* Tasks run in turn, in the order of their start, and only while another one waits. */
static void order(void **state)
{
    (void)state;
    passes("for _ = 1, 3 do\n"
           "  local log, busy = {}, false\n"
           "  local function work(name)\n"
           "    for i = 1, 3 do\n"
           "      assert(not busy) busy = true\n"
           "      for _ = 1, 1000 do end\n"
           "      log[#log + 1] = name .. i busy = false provium.sleep(0)\n"
           "    end\n"
           "  end\n"
           "  provium.all{function() work('a') end, function() work('b') end, function() work('c') end}\n"
           "  assert_eq('a1 b1 c1 a2 b2 c2 a3 b3 c3', table.concat(log, ' '))\n"
           "end\n");
    passes("local n, fns = 0, {}\n"
           "for i = 1, 300 do fns[i] = function() provium.sleep(0.01) n = n + 1 return i end end\n"
           "local r = provium.all(fns)\n"
           "assert_eq(300, n) for i = 1, 300 do assert_eq(i, r[i]) end\n");
}

static void errors(void **state)
{
    (void)state;
    fails("test('x', function()\n"
          "local t = provium.async(function() provium.sleep(0.01)\n"
          "  local f = nil f() end)\n"
          "t:wait()\n"
          "end)\n",
          "    · x ... FAIL: attempt to call a nil value (local 'f')\n"
          "        at t.lua:3\n"
          "        in a task begun at t.lua:2\n"
          "        waited for at t.lua:4\n");
    passes("local t = provium.async(function() provium.sleep(0.01) error('boom') end)\n"
           "for _ = 1, 2 do assert_error(function() t:wait() end, 't.lua:1: boom') end\n");
    fails("test('x', function()\n"
          "provium.async(function() provium.sleep(0.01) fail('boom') end)\n"
          "provium.sleep(0.1)\n"
          "end)\n",
          "    · x ... FAIL: boom\n"
          "        at t.lua:2\n"
          "        in a task begun at t.lua:2\n"
          "        nobody waited for this task\n");
    fails("provium.async(function() error('boom') end)", "    t.lua:1: boom\n"
                                                         "    in a task begun at t.lua:1\n"
                                                         "    nobody waited for this task\n");
}

static void given_up(void **state)
{
    static const char *const bodies[] = {
        "provium.sleep(100)",
        "while true do pcall(provium.sleep, 100) end",
        "pcall(provium.sleep, 100) while true do end",
        "coroutine.wrap(function() pcall(provium.sleep, 9) while true do pcall(function() for _ = 1, 9 do "
        "end end) end "
        "end)()",
        "provium.all{function() provium.sleep(100) end}",
        "provium.async(function() provium.sleep(100) end):wait()",
        "local x <close> = setmetatable({}, {__close = function() provium.sleep(1) end}) provium.sleep(100)",
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(bodies); i++) {
        cleanup_free char *script =
            pv_xasprintf("test('x', function()\nprovium.async(function() %s end)\nend)\n"
                         "test('y', function() provium.sleep(0.01) end)",
                         bodies[i]);
        bool failed;
        cleanup_free char *got = script_run(script, &failed);

        assert_true(failed);
        if (!strstr(got,
                    "x ... FAIL: the task begun at t.lua:2 had not ended with the test and was given up") ||
            !strstr(got, "y ... ok"))
            fail_msg("%s\n%s", script, got);
    }
    fails("provium.async(function() provium.sleep(100) end)",
          "    the task begun at t.lua:1 had not ended with the file and was given up\n");
    /* One of the file goes on over tests. */
    passes("local t = provium.async(function() provium.sleep(0.05) return 1 end)\n"
           "test('x', {timeout = 10}, function() provium.sleep(0.01) end)\n"
           "assert_eq(1, t:wait())\n");
}

static void timeouts(void **state)
{
    (void)state;
    passes("local t = provium.async(function() provium.sleep(0.3) return 7 end)\n"
           "assert_error(function() t:wait(0.01) end, 'the task begun at t.lua:1 has not ended within 0.01 "
           "s; it goes "
           "on')\n"
           "assert_eq(7, t:wait('20s'))\n");
    passes("assert_error(function() provium.all({function() end, function() provium.sleep(100) end}, 0.05) "
           "end,\n"
           "  '1 of 2 functions had not ended within 0.05 s and were given up\\nfunction 2')\n");
    fails("test('x', {timeout = 0.2}, function()\n"
          "  provium.async(function() while true do end end):wait()\n"
          "end)\n",
          "    · x ... FAIL: timed out after 0.2 s\n"
          "        at t.lua:2\n"
          "        in a task begun at t.lua:2\n"
          "        waited for at t.lua:2\n");
}

static void waits_for_itself(void **state)
{
    (void)state;
    passes(
        "local t t = provium.async(function() provium.sleep(0.01) return select(2, pcall(t.wait, t)) end)\n"
        "assert_contains(t:wait(), 'task 1 (begun at t.lua:1) cannot wait for itself')\n"
        "local a, b\n"
        "a = provium.async(function() provium.sleep(0.01) return b:wait() end)\n"
        "b = provium.async(function() provium.sleep(0.02) return select(2, pcall(a.wait, a)) end)\n"
        "assert_contains(b:wait(), 'would wait for ever: task 2 (begun at t.lua:4)')\n"
        "a:wait()\n"
        /* A function of all that waits for the task that called all. */
        "local c c = provium.async(function()\n"
        "  provium.sleep(0.01)\n"
        "  return provium.all{function() return select(2, pcall(c.wait, c)) end}\n"
        "end)\n"
        "assert_error(function() c:wait() end, 'would wait for ever')\n");
}

static void all(void **state)
{
    (void)state;
    passes(
        "assert_eq({}, provium.all{})\n"
        "assert_eq({1, 2, 3}, provium.all{function() provium.sleep(0.05) return 1, 9 end,\n"
        "  function() return 2 end, function() provium.sleep(0.01) return 3 end})\n"
        "assert_eq({{'in'}}, provium.all{function() return provium.all{function() return 'in' end} end})\n"
        "local ended\n"
        "assert_error(function() provium.all{function() provium.sleep(0.05) ended = true end,\n"
        "  function() provium.sleep(0.02) error('second') end, function() error('first') end} end, 'first')\n"
        "assert(ended)\n");
    fails("test('x', function() provium.all{function() skip('no') end} end) error('end')",
          "    · x ... skip: no\n"
          "    t.lua:1: end\n");
    /* A skip hides no failure, whichever comes first. */
    fails("test('x', function() provium.all{function() skip('no') end, function() error('boom') end} end)",
          "    · x ... FAIL: boom\n"
          "        at t.lua:1\n"
          "        in a task begun at t.lua:1\n"
          "        waited for at t.lua:1\n");
    fails("test('x', function() provium.all{function() error('boom') end, function() skip('no') end} end)",
          "    · x ... FAIL: boom\n"
          "        at t.lua:1\n"
          "        in a task begun at t.lua:1\n"
          "        waited for at t.lua:1\n");
    fails("local t = provium.async(function() error('boom') end)\n"
          "provium.all{function() skip('no') end, function() t:wait() end}\n",
          "    t.lua:1: boom\n"
          "    in a task begun at t.lua:1\n"
          "    waited for at t.lua:2\n"
          "    in a task begun at t.lua:2\n"
          "    waited for at t.lua:2\n");
    passes("assert_error(function() provium.all{function() test('x', function() end) end} end,\n"
           "  'cannot begin in a task')\n");
}

static void wrong_arguments(void **state)
{
    static const struct bad_call calls[] = {
        {"provium.async()", "provium.async needs a function and its arguments, got nothing"},
        {"provium.async('x')", "provium.async needs a function and its arguments, got string \"x\""},
        {"provium.all()", "provium.all needs a list of functions, got nothing"},
        {"provium.all{1}", "provium.all needs a list of functions; element 1 is number 1"},
        {"provium.all{print, x = 1}",
         "provium.all needs a list of functions; this table has other keys than 1 to its length"},
        {"provium.all({}, -1)",
         "the timeout of provium.all: -1 is not a time in seconds; expected 0 to a year"},
        {"provium.all({}, 1, 2)", "provium.all(fns, timeout?) takes no more arguments, got number 2"},
        {"provium.async(print).wait()",
         "task.wait(...) got nothing where the task belongs; call it with a colon: task:wait(...)"},
        {"provium.async(print):wait('x')", "the timeout of wait: 'x' is not a time; expected seconds or a "
                                           "number with ms, s, m or h, such as \"30\", \"500ms\" or \"2m\""},
        {"provium.async(print):done(1)", "task:done() takes no arguments, got number 1"},
        {"provium.async(print).x()", "a task has no method 'x'"},
        {"provium.async(print):waits()", "a task has no method 'waits' (did you mean 'wait'?)"},
    };

    (void)state;
    refuses(calls, PV_ARRAY_LEN(calls));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results),         cmocka_unit_test(deep_stacks),      cmocka_unit_test(finalizers),
        cmocka_unit_test(order),           cmocka_unit_test(errors),           cmocka_unit_test(given_up),
        cmocka_unit_test(timeouts),        cmocka_unit_test(waits_for_itself), cmocka_unit_test(all),
        cmocka_unit_test(wrong_arguments),
    };

    return cmocka_run_group_tests(tests, script_set_up, script_tear_down);
}
