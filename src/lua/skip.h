/* SPDX-License-Identifier: MIT */
/* The value that skip() and todo() raise. */
#ifndef PV_LUA_SKIP_H
#define PV_LUA_SKIP_H

#include "lua/state.h"

/* Makes the value; to be called before the script can use up memory. */
LJMP void pv_lua_open_skip(lua_State *L);
/* True when the value at idx is that one. */
bool pv_lua_is_skip(lua_State *L, int idx);
/* Marks the innermost open sub-test, else the file, and raises; reason NULL: none. */
LJMP int pv_lua_leave(lua_State *L, enum pv_outcome outcome, const char *reason);

#endif
