/* SPDX-License-Identifier: MIT */
/* provium.net: a frame that was parsed is built again as the same bytes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lualib.h>

#include "lua/modules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static lua_State *state_new(void)
{
    static const char script[] = "local net = ...\n"
                                 "return function(frame)\n"
                                 "    if #frame < 14 then return not pcall(net.parse, frame) end\n"
                                 "    return net.build(net.parse(frame)) == frame\n"
                                 "end\n";
    lua_State *L = luaL_newstate();

    if (!L)
        abort();
    luaL_openlibs(L);
    if (luaL_loadstring(L, script) != LUA_OK)
        abort();
    pv_lua_open_netframe(L);
    lua_call(L, 1, 1);
    return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;

    if (!L)
        L = state_new();
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK || !lua_toboolean(L, -1)) {
        fprintf(stderr, "%s\n", lua_isstring(L, -1) ? lua_tostring(L, -1) : "another frame");
        abort();
    }
    lua_settop(L, 1);
    return 0;
}
