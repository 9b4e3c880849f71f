/* SPDX-License-Identifier: MIT */
#include "lua/assert.h"

#include "lua/raise.h"
#include "lua/skip.h"

#include "assert.lua.h"

static const char show_key; /* its address: registry key of assert.lua's function that shows a value */

const char *pv_lua_show(lua_State *L, int idx)
{
    idx = lua_absindex(L, idx);
    luaL_checkstack(L, 4, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &show_key);
    lua_pushvalue(L, idx);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING)
        return lua_tostring(L, -1);
    lua_pop(L, 1);
    return luaL_tolstring(L, idx, NULL);
}

/* ---- functions for assert.lua ---- */

static int assert_failed(lua_State *L)
{
    return pv_lua_raise_as(L, PV_CLASS_ASSERTION, "%s", luaL_checkstring(L, 1));
}

/* assert(pcall(...)): an error that was raised with a class keeps it. */
static int assert_reraise(lua_State *L)
{
    luaL_checkstring(L, 1);
    return pv_lua_raise_caught(L, 1, PV_CLASS_ASSERTION);
}

/* The assertion got wrong arguments. */
static int assert_misused(lua_State *L)
{
    return pv_lua_raise(L, "%s", luaL_checkstring(L, 1));
}

static int assert_touch(lua_State *L)
{
    pv_lua_tf(L)->touched = true;
    return 0;
}

static int assert_is_skip(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushboolean(L, pv_lua_is_skip(L, 1));
    return 1;
}

void pv_lua_open_assert(lua_State *L)
{
    pv_lua_load_own(L, pv_assert_lua, sizeof(pv_assert_lua));
    lua_pushcfunction(L, assert_failed);
    lua_pushcfunction(L, assert_touch);
    lua_pushcfunction(L, assert_is_skip);
    lua_pushcfunction(L, assert_reraise);
    lua_pushcfunction(L, assert_misused);
    lua_call(L, 5, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &show_key);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_setglobal(L, lua_tostring(L, -2));
    }
    lua_pop(L, 1);
}
