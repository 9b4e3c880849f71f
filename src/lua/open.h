/* SPDX-License-Identifier: MIT */
/* The life of one Lua state. */
#ifndef PV_LUA_OPEN_H
#define PV_LUA_OPEN_H

#include "lua/state.h"

struct pv_err;

/* Opens tf and a Lua state on it; NULL with *err (class host): tf is closed. */
lua_State *pv_lua_open(struct pv_lua *pl, struct pv_testfile *tf, struct pv_err *err);
/* Ends the guests and closes the state, whose finalizers may use tf: the caller closes that. */
void pv_lua_end(struct pv_lua *pl, lua_State *L);
/* The same, and closes tf. */
void pv_lua_close(struct pv_lua *pl, lua_State *L);
/*
 * Loads the file and runs it, then what it deferred: true with its results on the stack from 1 on (none when it left by skip() or
 * todo()); false with the message on top and its class in pl->error_cls.
 */
bool pv_lua_run(lua_State *L, struct pv_lua *pl, int results);
/* The same with a C function in place of a file's chunk: its argument is arg as light userdata, and it has one result. */
bool pv_lua_run_function(lua_State *L, struct pv_lua *pl, lua_CFunction fn, void *arg);
/* The message at idx, or words for one that is no string. */
const char *pv_lua_message(lua_State *L, int idx);

#endif
