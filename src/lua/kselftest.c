/* SPDX-License-Identifier: MIT */
/* provium.kselftest: kselftest.lua, embedded. */
#include "kselftest.lua.h"
#include "lua/modules.h"
#include "lua/raise.h"

void pv_lua_open_kselftest(lua_State *L)
{
    pv_lua_load_own(L, pv_kselftest_lua, sizeof(pv_kselftest_lua));
    lua_pushcfunction(L, pv_lua_own_fail);
    lua_pushcfunction(L, pv_lua_own_misuse);
    lua_call(L, 2, 1);
}
