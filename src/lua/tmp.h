/* SPDX-License-Identifier: MIT */
#ifndef PV_LUA_TMP_H
#define PV_LUA_TMP_H

#include "lua/state.h"

/* Pushes a userdata with zeroed memory, which is returned; fini is called once, when it is collected. */
LJMP void *pv_lua_tmp(lua_State *L, size_t size, void (*fini)(void *p));

#endif
