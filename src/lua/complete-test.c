/* SPDX-License-Identifier: MIT */
/* complete.lua: rows of a line up to the cursor and what its last word may become. */
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "util/test.h"

#include "complete.lua.h"
#include "lua-options.lua.h"

static const char globals[] =
    "thing = {first = 1, second = {third = 1}}\n"
    "vm = setmetatable({}, {__index = {boot = 1, exec = 1, exists = 1, disk = 1}})\n"
    "function words(text)\n"
    "  local n, list = complete(text, _G)\n"
    "  return table.concat(list, ' ') .. (n > 0 and ' ' .. n or '')\n"
    "end\n";

static void load_part(lua_State *L, const unsigned char *text, size_t len, const char *name)
{
    assert_int_equal(luaL_loadbuffer(L, (const char *)text, len, name), LUA_OK);
}

static lua_State *new_lua(void)
{
    lua_State *L = luaL_newstate();

    luaL_openlibs(L);
    load_part(L, pv_complete_lua, sizeof(pv_complete_lua), "=complete");
    load_part(L, pv_lua_options_lua, sizeof(pv_lua_options_lua), "=options");
    lua_call(L, 0, 1);
    lua_call(L, 1, 1);
    lua_setglobal(L, "complete");
    if (luaL_dostring(L, globals))
        fail_msg("%s", lua_tostring(L, -1));
    return L;
}

/* `want`: the words, and the length of the word to be completed unless that is 0. */
static const struct row {
    const char *text, *want;
} rows[] = {
    /* names and methods */
    {"thi", "thing 3"},
    {"thing.", "first second"},
    {"thing.second.t", "third 1"},
    {"vm:ex", "exec exists 2"},
    {"x = whi", "while 3"},
    {"", ""},
    /* options */
    {"vm:boot({mem", "memory 3"},
    {"vm:boot{mem", "memory 3"},
    {"vm:boot { cpus = 2, mem", "memory 3"},
    {"vm:boot({memory = '1G', me", " 2"},
    {"vm:exec('ls', {c", "cwd 1"},
    {"vm:exec(\"a ( { ' \\\" b\", {env_", "env_clear 4"},
    {"vm:exec([[ ( ]], {c", "cwd 1"},
    {"f(vm:exec('x', {cwd = g({1, 2}), std", "stdin 3"},
    {"vm:boot({\n  cpus = 2, -- two (\n  app", "append 3"},
    {"vm:power_cut({at = {", "after disk op"},
    {"vm:power_cut({at = {op = 'flush', ", "after disk"},
    {"vm:boot{disks = {{sec", "sector 3"},
    {"vm:boot{disks = {{size = '1M'}, {si", "size 2"},
    {"vm:boot{files = {['/a'] = {con", "content 3"},
    {"provium.create(nil, {na", "name 2"},
    {"provium.network('lan', {se", "seed 2"},
    {"test('x', {tim", "timeout 3"},
    /* no options: values, other tables, other calls, strings */
    {"vm:boot({memory = thi", "thing 3"},
    {"vm:exec('ls', {env = {cor", "coroutine 3"},
    {"x = {thi", "thing 3"},
    {"nothing({thi", "thing 3"},
    {"vm:boot({[thi", "thing 3"},
    {"vm:exec('{cw", " 2"},
    {"vm:exec('ls', {}, {cw", "cwd 2"},
    {"))){{{", ""},
};

static void test_rows(void **state)
{
    lua_State *L = new_lua();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        lua_getglobal(L, "words");
        lua_pushstring(L, rows[i].text);
        if (lua_pcall(L, 1, 1, 0))
            fail_msg("%s: %s", rows[i].text, lua_tostring(L, -1));
        if (strcmp(lua_tostring(L, -1), rows[i].want) != 0)
            fail_msg("%s: expected '%s', got '%s'", rows[i].text, rows[i].want, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests_name("lua-complete", tests, NULL, NULL);
}
