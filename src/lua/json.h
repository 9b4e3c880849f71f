/* SPDX-License-Identifier: MIT */
/* JSON as Lua values. */
#ifndef PV_LUA_JSON_H
#define PV_LUA_JSON_H

#include "lua/internal.h"

/*
 * Pushes the value of a JSON text and returns true, or pushes what is wrong with it and where and returns
 * false.  Integers are Lua integers; those from 2^63 to 2^64-1 are the ones with the same 64 bits, larger
 * ones are refused, as are duplicate keys and more than 2048 levels.  The text must stay where it is.
 */
LJMP bool pv_lua_push_json(lua_State *L, const char *s, size_t n);

/* Makes provium.null; before anything is pushed. */
LJMP void pv_lua_open_json(lua_State *L);
LJMP void pv_lua_push_null(lua_State *L);

#endif
