/* SPDX-License-Identifier: MIT */
/* Functions of the `provium` table that other files have. */
#ifndef PV_LUA_PROVIUM_H
#define PV_LUA_PROVIUM_H

#include "lua/state.h"

int pv_lua_fixture(lua_State *L); /* fixture.c */
int pv_lua_depends(lua_State *L); /* watch.c */
int pv_lua_sleep(lua_State *L);   /* wait.c */
int pv_lua_pack(lua_State *L);    /* pack.c */
int pv_lua_unpack(lua_State *L);

#endif
