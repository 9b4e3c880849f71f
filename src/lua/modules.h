/* SPDX-License-Identifier: MIT */
/* Functions that add globals to a new state; pv_lua_open (open.h) calls them. */
#ifndef PV_LUA_MODULES_H
#define PV_LUA_MODULES_H

#include "lua/state.h"

LJMP void pv_lua_open_scripts(lua_State *L);      /* dofile, loadfile, require, os.exit */
LJMP void pv_lua_open_strings(lua_State *L);      /* s:contains and others */
LJMP void pv_lua_open_test(lua_State *L);         /* test, skip, todo, fail */
LJMP void pv_lua_open_log(lua_State *L);          /* log */
LJMP void pv_lua_open_provium(lua_State *L);      /* provium and its objects */
LJMP void pv_lua_open_netframe(lua_State *L);     /* pushes provium.net */
LJMP void pv_lua_open_kselftest(lua_State *L);    /* pushes provium.kselftest */
LJMP void pv_lua_open_host_command(lua_State *L); /* os.execute, io.popen with the inherited limit */
LJMP void pv_lua_open_watch(lua_State *L); /* in a builder: io.open and others that record host reads */
LJMP void pv_lua_open_arity(lua_State *L); /* last: refuses arguments beyond the reference */

#endif
