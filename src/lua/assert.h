/* SPDX-License-Identifier: MIT */
/* The assertions: assert.lua, embedded. */
#ifndef PV_LUA_ASSERT_H
#define PV_LUA_ASSERT_H

#include "lua/state.h"

/* Pushes a value as the assertions show it: {code = 5}, bounded. */
LJMP const char *pv_lua_show(lua_State *L, int idx);
LJMP void pv_lua_open_assert(lua_State *L);

#endif
