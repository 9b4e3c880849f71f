/* SPDX-License-Identifier: MIT */
/* The handle of a network, which the files of its methods read. */
#include "lua/network.h"
#include "lua/options.h"
#include "lua/raise.h"

struct tf_net *pv_lua_net_at(lua_State *L, int idx, const char *what)
{
    struct lua_network *h = luaL_testudata(L, idx, LUA_NETWORK_TYPE);

    if (!h)
        pv_lua_raise(L, "%s needs a network (provium.network), got %s", what,
                     lua_isnone(L, idx) ? "nothing" : pv_lua_describe(L, idx));
    return h->net;
}
