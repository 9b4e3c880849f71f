/* SPDX-License-Identifier: MIT */
/*
 * A result is an ordinary table, which prints and compares as one: the method comes from a metatable, and the
 * command's title is kept beside it in a table with weak keys.
 */
#include "lua/result.h"

#include <string.h>

#include "lua/options.h"
#include "lua/raise.h"
#include "util/clock.h"
#include "util/spawn.h"

#define RESULT_TYPE "provium.result"

static const char titles_key; /* its address: registry key of the table of titles */

void pv_lua_make_result(lua_State *L, const char *title)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &titles_key);
    lua_pushvalue(L, -2);
    lua_pushlstring(L, title, strnlen(title, 200));
    lua_rawset(L, -3);
    lua_pop(L, 1);
    luaL_setmetatable(L, RESULT_TYPE);
}

void pv_lua_push_result_of(lua_State *L, const struct pv_exec_result *r, const char *title)
{
    lua_createtable(L, 0, 8);
    lua_insert(L, -3);
    lua_setfield(L, -3, "stderr");
    lua_setfield(L, -2, "stdout");
    lua_pushboolean(L, r->exit_code == 0 && r->signal == 0 && !r->timed_out);
    lua_setfield(L, -2, "ok");
    lua_pushinteger(L, r->exit_code);
    lua_setfield(L, -2, "exit_code");
    if (r->signal) {
        lua_pushinteger(L, r->signal);
        lua_setfield(L, -2, "signal");
    }
    lua_pushboolean(L, r->timed_out);
    lua_setfield(L, -2, "timed_out");
    lua_pushnumber(L, (double)r->duration_ns / PV_NSEC_PER_SEC);
    lua_setfield(L, -2, "duration");
    pv_lua_make_result(L, title);
}

void pv_lua_push_result(lua_State *L, const struct pv_exec_result *r, const char *title)
{
    lua_pushlstring(L, r->out.data ? r->out.data : "", r->out.len);
    lua_pushlstring(L, r->err.data ? r->err.data : "", r->err.len);
    pv_lua_push_result_of(L, r, title);
}

/* Pushes the end of an output of the result at idx, for a message. */
static LJMP const char *push_end(lua_State *L, int idx, const char *name)
{
    const size_t max = 1000;
    const char *s;
    size_t n;

    if (pv_lua_rawfield(L, idx, name) != LUA_TSTRING)
        return lua_pushfstring(L, "no %s", name);
    s = lua_tolstring(L, -1, &n);
    while (n && strchr(" \t\r\n", s[n - 1]))
        n--;
    if (n == 0)
        return lua_pushfstring(L, "nothing on %s", name);
    if (n <= max)
        return lua_pushfstring(L, "%s: %s", name, lua_pushlstring(L, s, n));
    return lua_pushfstring(L, "%s ends: ...%s", name, lua_pushlstring(L, s + n - max, max));
}

static LJMP bool field_is_true(lua_State *L, int idx, const char *name)
{
    bool v;

    pv_lua_rawfield(L, idx, name);
    v = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

/* Raises for the result at idx unless its command went well. */
static LJMP void check_ok(lua_State *L, int idx)
{
    bool timed_out = field_is_true(L, idx, "timed_out");
    lua_Integer code;
    const char *title;
    char words[64];

    luaL_checkstack(L, 20, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &titles_key);
    lua_pushvalue(L, idx);
    lua_rawget(L, -2);
    title = lua_tostring(L, -1) ? lua_tostring(L, -1) : "the command";
    pv_lua_rawfield(L, idx, "exit_code");
    code = lua_tointeger(L, -1);
    if (code == 0 && !timed_out)
        return;
    pv_lua_tf(L)->command.words[0] = '\0'; /* the message has all that its note would say */
    if (field_is_true(L, idx, "running"))
        pv_lua_raise_as(L, PV_CLASS_ASSERTION, "assert_ok: '%s' still runs", title);
    pv_exit_words((int)code, timed_out, words);
    pv_lua_raise_as(L, timed_out ? PV_CLASS_TIMEOUT : PV_CLASS_ASSERTION, "'%s' ended with %s; %s; %s", title,
                    words, push_end(L, idx, "stdout"), push_end(L, idx, "stderr"));
}

void pv_lua_check_ok(lua_State *L)
{
    int top = lua_gettop(L);

    check_ok(L, top);
    lua_settop(L, top);
}

/* r:assert_ok() */
static int result_assert_ok(lua_State *L)
{
    if (!lua_istable(L, 1))
        pv_lua_raise(L,
                     "r.assert_ok(...) got %s where the result belongs; call it with a colon: r:assert_ok()",
                     lua_isnone(L, 1) ? "nothing" : pv_lua_describe(L, 1));
    lua_settop(L, 1);
    pv_lua_check_ok(L);
    return 1;
}

void pv_lua_open_result(lua_State *L)
{
    static const luaL_Reg methods[] = {{"assert_ok", result_assert_ok}, {NULL, NULL}};

    lua_newtable(L); /* no luaL_newmetatable: its __name would be shown by tostring */
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_setfield(L, LUA_REGISTRYINDEX, RESULT_TYPE);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &titles_key);
}
