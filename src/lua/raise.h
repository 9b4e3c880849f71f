/* SPDX-License-Identifier: MIT */
/* Raising Lua errors, each with the position of the nearest line of a script and a class for the report. */
#ifndef PV_LUA_RAISE_H
#define PV_LUA_RAISE_H

#include "lua/state.h"

struct pv_err;

/* Class PV_CLASS_LUA: the script's mistake. */
LJMP int pv_lua_raise(lua_State *L, const char *fmt, ...);
LJMP int pv_lua_raise_as(lua_State *L, enum pv_class cls, const char *fmt, ...);
/* Raises the text on top of the stack, an error that was raised before with this class, as it is. */
LJMP int pv_lua_raise_again(lua_State *L, enum pv_class cls);
/* Raises err, with its class; a timeout that is the sub-test's is told as that. */
LJMP int pv_lua_raise_err(lua_State *L, const struct pv_err *err);
/* Raises the message of the sub-test's expired limit. */
LJMP int pv_lua_raise_expired(lua_State *L);
/* The same if it has expired. */
LJMP void pv_lua_check_expired(lua_State *L);
/*
 * The class of a raised error whose text is somewhere in msg, as after error("context: " .. e);
 * PV_CLASS_LUA: there is none.
 */
enum pv_class pv_lua_class_of(const struct pv_lua *pl, const char *msg);

/* Pushes "FILE:LINE: " of the nearest line of a script, or "". */
LJMP void pv_lua_where(lua_State *L);
/* The same search from `level` on; false: none. Sets *level and the fields "Sl" of ar. */
bool pv_lua_script_frame(lua_State *L, int *level, lua_Debug *ar);
/* True for the source of code that is part of Provium. */
bool pv_lua_is_own_code(const lua_Debug *ar);

#endif
