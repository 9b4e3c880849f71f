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
 * The error that was raised with the string at idx, which a script may have caught and raised again; else the
 * newest one of this sub-test if that string begins or ends with the whole of its text, as after
 * error("context: " .. e), after debug.traceback, or when coroutine.wrap adds a position.  A text in the middle may be
 * a guest's output.  NULL: none.  Valid until the next error is raised.
 */
const struct lua_raised *pv_lua_raised_at(lua_State *L, int idx);
/* Its class; PV_CLASS_LUA: none. */
enum pv_class pv_lua_class_at(lua_State *L, int idx);
/* Raises the string at idx once more, with a position, and with class cls if it was raised with none. */
LJMP int pv_lua_raise_caught(lua_State *L, int idx, enum pv_class cls);

/* Pushes "FILE:LINE: " of the nearest line of a script, or "". */
LJMP void pv_lua_where(lua_State *L);
/* The same as "FILE:LINE"; "?": there is none. */
enum { LUA_WHERE_MAX = LUA_IDSIZE + 16 };
void pv_lua_place(lua_State *L, char place[static LUA_WHERE_MAX]);
/* The same search from `level` on; false: none. Sets *level and the fields "Sl" of ar. */
bool pv_lua_script_frame(lua_State *L, int *level, lua_Debug *ar);
/* True for the source of code that is part of Provium. */
bool pv_lua_is_own_code(const lua_Debug *ar);
/* Pushes a part of Provium that is written in Lua, as a function. */
LJMP void pv_lua_load_own(lua_State *L, const unsigned char *code, size_t n);
/* For such a chunk: raise their string, with the position of the test's line, as a failed check, a wrong argument. */
LJMP int pv_lua_own_fail(lua_State *L);
LJMP int pv_lua_own_misuse(lua_State *L);

#endif
