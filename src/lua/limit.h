/* SPDX-License-Identifier: MIT */
/* A sub-test's timeout as far as it concerns Lua code (testfile/limit.h has the deadlines). */
#ifndef PV_LUA_LIMIT_H
#define PV_LUA_LIMIT_H

#include "lua/state.h"

/* To be called when open sub-tests, or their deadlines, have changed. */
LJMP void pv_lua_limit_changed(lua_State *L);
LJMP void pv_lua_open_limit(lua_State *L);

#endif
