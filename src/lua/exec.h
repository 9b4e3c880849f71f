/* SPDX-License-Identifier: MIT */
/* A command as exec, json and background take it. */
#ifndef PV_LUA_EXEC_H
#define PV_LUA_EXEC_H

#include "guest/agent.h"
#include "lua/options.h"

struct exec_call {
    struct pv_exec x;
    char user[256]; /* of x */
    struct pv_exec_result r;
};

/*
 * The command at idx with the options behind it, which may be nil; the stack is cut there.  `opts`: those of
 * env, cwd, stdin, timeout and max_output that are allowed.  Pushes the userdata that owns the call; its strings are
 * owned by the arguments.
 */
LJMP struct exec_call *pv_lua_exec_new(lua_State *L, int idx, const char *what, const struct lua_opt *opts);
/* The command for a message: the shell line, or the program. */
const char *pv_lua_exec_title(const struct exec_call *c);

#endif
