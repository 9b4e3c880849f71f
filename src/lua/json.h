/* SPDX-License-Identifier: MIT */
/* JSON as Lua values. */
#ifndef PV_LUA_JSON_H
#define PV_LUA_JSON_H

#include "lua/state.h"

/*
 * Pushes the value of a JSON text and returns true; false: pushes an error message with the position.
 * Integers become Lua integers, those from 2^63 to 2^64-1 the ones with the same 64 bits.  Refuses larger
 * ones, duplicate keys and more than 2048 levels.  Borrows the text.
 */
LJMP bool pv_lua_push_json(lua_State *L, const char *s, size_t n);

/* Makes provium.null; before the functions around it. */
LJMP void pv_lua_open_json(lua_State *L);
LJMP void pv_lua_push_null(lua_State *L);
bool pv_lua_is_null(lua_State *L, int idx);

/* Pushes the table provium.json; before any JSON is decoded. */
LJMP void pv_lua_push_json_table(lua_State *L);
/* Marks the table on top of the stack as an array of JSON: it stays one when it is empty. */
LJMP void pv_lua_mark_array(lua_State *L);

#endif
