/* SPDX-License-Identifier: MIT */
/*
 * before_each, after_each and defer, and the order in which they and a sub-test run:
 *
 *     before_each, the test, its deferred functions (last first), after_each (last first)
 *
 * Deferred functions and after_each run whatever happened before, each with the others' errors behind it.
 * before_each and after_each belong to outermost sub-tests.
 */
#ifndef PV_LUA_HOOKS_H
#define PV_LUA_HOOKS_H

#include "lua/state.h"

/* The outcome of a list of hooks. */
struct lua_calls {
    bool failed, left; /* one raised; one left by skip() or todo() */
    enum pv_class cls; /* of the first failure */
    int msg;           /* stack index: the failures as text, or nil */
};

/* Prepares *c; pushes a value, which the other functions use. */
LJMP void pv_lua_calls_begin(lua_State *L, struct lua_calls *c);
/* Calls the function on top of the stack, without arguments and results. `what` names it in a failure; NULL: the
 * test itself. */
LJMP void pv_lua_calls_run(lua_State *L, struct lua_calls *c, const char *what);
/* Adds a failure of the test itself. */
LJMP void pv_lua_calls_fail(lua_State *L, struct lua_calls *c, enum pv_class cls, const char *text);
/* The failures as text; NULL: none. On the stack as long as the value of pv_lua_calls_begin. */
const char *pv_lua_calls_text(lua_State *L, const struct lua_calls *c);

/* Runs one attempt at the innermost sub-test, whose function is at `fn`, with all that belongs to it. */
LJMP void pv_lua_attempt(lua_State *L, struct lua_calls *c, int fn);
/* Runs the functions that were deferred outside of sub-tests. */
LJMP void pv_lua_run_file_defers(lua_State *L, struct lua_calls *c);
/* Registers defer, before_each and after_each. */
LJMP void pv_lua_open_hooks(lua_State *L);

#endif
