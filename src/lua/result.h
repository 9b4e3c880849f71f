/* SPDX-License-Identifier: MIT */
/* Results of commands: tables whose method assert_ok raises for a command that failed. */
#ifndef PV_LUA_RESULT_H
#define PV_LUA_RESULT_H

#include "guest/agent.h"
#include "lua/state.h"

/*
 * Pushes the result of a command.  Its stdout and stderr are those of r, or the two strings on top of the stack,
 * which are popped.  title: the command, for assert_ok.
 */
LJMP void pv_lua_push_result(lua_State *L, const struct pv_exec_result *r, const char *title);
LJMP void pv_lua_push_result_of(lua_State *L, const struct pv_exec_result *r, const char *title);
/* Makes the table on top of the stack, which has the fields of a result, one. */
LJMP void pv_lua_make_result(lua_State *L, const char *title);
/* Raises unless the result on top of the stack is one of a command that went well. */
LJMP void pv_lua_check_ok(lua_State *L);

LJMP void pv_lua_open_result(lua_State *L);

#endif
