/* SPDX-License-Identifier: MIT */
#include "lua/skip.h"

static const char skip_key; /* its address: registry key of the value, a table */

void pv_lua_open_skip(lua_State *L)
{
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &skip_key);
}

bool pv_lua_is_skip(lua_State *L, int idx)
{
    bool is;

    idx = lua_absindex(L, idx);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &skip_key);
    is = lua_istable(L, idx) && lua_rawequal(L, idx, -1);
    lua_pop(L, 1);
    return is;
}

int pv_lua_leave(lua_State *L, enum pv_outcome outcome, const char *reason)
{
    pv_tf_tests_leave(pv_lua_tf(L), outcome, reason);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &skip_key);
    return lua_error(L);
}
