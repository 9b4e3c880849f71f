/* SPDX-License-Identifier: MIT */
/* check.lua with clones, states and functions of the test: clones that cannot be made, in every phase. */
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "util/test.h"

#include "check.lua.h"

/*
 * State i of three; the smallest one of each is 9.  `broken(n)`: the clone number n cannot be made; clone 0 is the
 * one to which the disk is attached.  The check's
 * function fails for the states in `bad`.
 */
static const char stubs[] =
    "clones, broken, bad = -1, function() return false end, {}\n"
    "local function new_state(n) return setmetatable({number = n}, {__index = {\n"
    "  disk = function(self) return self end, describe = function() return 'lost ' .. n end}}) end\n"
    "host = {raise = function(m) error(m, 0) end, misused = function(m) error(m, 0) end,\n"
    "  again = function(m) error(m, 0) end, step = function() end, is_vm = function(v) return v == vm end,\n"
    "  must_end = function(e) return e == 'skip' end, describe = tostring, error_text = tostring,\n"
    "  options = function(o) return not (o and o.stop == false), o and o.jobs or 1 end,\n"
    "  minimise = function(s, fails) local small = new_state(9)\n"
    "    return fails(small) and small or s end,\n"
    "  state_number = function(s) return s.number end, shape = function() return 4096, 512 end,\n"
    "  set = function(clone, name, state) assert(name == 'data') end}\n"
    "provium = {all = function(fns) for _, f in ipairs(fns) do f() end end}\n"
    "dropped = 0\n"
    "local function snapshot() return setmetatable({}, {__close = function() dropped = dropped + 1 end}) "
    "end\n"
    "vm = {snapshot = snapshot,\n"
    "  clone = function()\n"
    "    clones = clones + 1\n"
    "    if broken(clones) then error('no clone', 0) end\n"
    "    local names = {}\n"
    "    if clones > 0 then names.data = true end\n"
    "    return setmetatable({kill = function() end, snapshot = snapshot,\n"
    "      disk = function(_, name) return names[name] and name or error('none') end,\n"
    "      syscall_buf = function() return 3 end, syscall = function() return 0 end, ioctl = function() "
    "return 0 end,\n"
    "      attach_disk = function(_, o) names[o.name] = true\n"
    "        return {device = function() return '/dev/vdb' end} end}, {__close = function() end})\n"
    "  end}\n"
    "rec = {states = function() local i = 0 return function()\n"
    "  i = i + 1 if i <= 3 then return new_state(i) end end end}\n"
    "function fn(_, disk, state)\n"
    "  assert(disk == 'data')\n"
    "  if bad[state.number] then error(bad[state.number], 0) end\n"
    "end\n"
    "function run(opts) local ok, e = pcall(check, rec, vm, fn, opts, {'data'})\n"
    "  clones = -1 assert(dropped == 2) dropped = 0\n"
    "  return ok, ok and e.states or e end\n"
    "function has(text, ...) for _, s in ipairs{...} do assert(text:find(s, 1, true), text) end end\n";

static lua_State *new_lua(void)
{
    lua_State *L = luaL_newstate();

    luaL_openlibs(L);
    if (luaL_dostring(L, stubs))
        fail_msg("%s", lua_tostring(L, -1));
    assert_int_equal(luaL_loadbuffer(L, (const char *)pv_check_lua, sizeof(pv_check_lua), "=check"), LUA_OK);
    lua_getglobal(L, "host");
    if (lua_pcall(L, 1, 1, 0))
        fail_msg("%s", lua_tostring(L, -1));
    lua_setglobal(L, "check");
    return L;
}

static void run_script(const char *script)
{
    lua_State *L = new_lua();

    if (luaL_dostring(L, script))
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
}

static void test_good(void **state)
{
    (void)state;
    run_script("local ok, n = run() assert(ok and n == 3)");
    run_script("local ok, n = run{jobs = 3} assert(ok and n == 3)");
}

static void test_failures(void **state)
{
    (void)state;
    run_script("bad[2], bad[9] = 'two', 'nine'\n"
               "local ok, e = run() assert(not ok)\n"
               "has(e, '1 of 2 checked states fail', 'there are 3', 'state 2 fails: lost 9', 'nine',\n"
               "  'found with lost 2', 'again: rec:state(9, {})', 'as found: rec:state(2, {})')");
    run_script("bad[1], bad[3] = 'one', 'three'\n"
               "local ok, e = run{stop = false} assert(not ok)\n"
               "has(e, '2 of 3 checked states fail', 'state 1 fails: lost 1', 'state 3 fails: lost 3')");
}

/* A failure is told even when its state cannot be made smaller, or another state cannot be checked. */
static void test_broken(void **state)
{
    (void)state;
    run_script("bad[1] = 'one' function broken(n) return n == 2 end\n"
               "local ok, e = run() assert(not ok)\n"
               "has(e, 'state 1 fails: lost 1', 'one', 'not made as small as possible: no clone')");
    run_script("function broken(n) return n == 2 end\n"
               "local ok, e = run() assert(not ok)\n"
               "has(e, 'check of state 2: no clone')");
    run_script("bad[1] = 'one' function broken(n) return n == 2 end\n"
               "local ok, e = run{stop = false} assert(not ok)\n"
               "has(e, 'state 1 fails', 'one', 'state 2 could not be checked: no clone')");
}

/* skip() and the end of the test's time are raised as they are, unless a state has failed. */
static void test_must_end(void **state)
{
    (void)state;
    run_script("bad[2] = 'skip' local ok, e = run() assert(not ok and e == 'skip')");
    run_script("bad[1], bad[2] = 'one', 'skip' local ok, e = run{stop = false} assert(not ok)\n"
               "has(e, 'state 1 fails', 'state 2 could not be checked')");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_failures),
                                       cmocka_unit_test(test_broken), cmocka_unit_test(test_must_end)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
