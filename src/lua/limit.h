/* SPDX-License-Identifier: MIT */
/* A sub-test's timeout as far as it concerns Lua code (testfile/limit.h has the deadlines). */
#ifndef PV_LUA_LIMIT_H
#define PV_LUA_LIMIT_H

#include "lua/state.h"

/* To be called when open sub-tests, or their deadlines, have changed. */
LJMP void pv_lua_limit_changed(lua_State *L);
/* A thread, on top of the stack, that is no coroutine of coroutine.create: it gets the hook too. */
LJMP void pv_lua_limit_note_thread(lua_State *L);
/* on: from now on, cancelled tasks (pv_task_cancelled) get an error wherever they are in Lua code. */
LJMP void pv_lua_limit_give_up(lua_State *L, bool on);
LJMP void pv_lua_open_limit(lua_State *L);

#endif
