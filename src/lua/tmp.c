/* SPDX-License-Identifier: MIT */
#include "lua/tmp.h"

#include <stddef.h>
#include <string.h>

struct tmp {
    void (*fini)(void *p);
    _Alignas(max_align_t) char data[];
};

static int tmp_gc(lua_State *L)
{
    struct tmp *t = lua_touserdata(L, 1);

    if (t->fini)
        t->fini(t->data);
    t->fini = NULL;
    return 0;
}

void *pv_lua_tmp(lua_State *L, size_t size, void (*fini)(void *p))
{
    struct tmp *t = lua_newuserdatauv(L, sizeof(*t) + size, 0);

    memset(t, 0, sizeof(*t) + size);
    if (luaL_newmetatable(L, "provium.tmp")) {
        lua_pushcfunction(L, tmp_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    t->fini = fini;
    return t->data;
}
