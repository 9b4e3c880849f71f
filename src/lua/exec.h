/* SPDX-License-Identifier: MIT */
/* Between exec.c and jobs.c: a command that is being put together. */
#ifndef PV_LUA_EXEC_H
#define PV_LUA_EXEC_H

#include "lua/vm.h"

struct exec_call {
    struct pv_exec x;
    struct pv_exec_result r;
};

/*
 * The command at idx with the options behind it, which may be nil; nothing else may follow.  `opts` is what
 * is allowed of env, cwd, stdin and timeout.  The memory is in a userdata that is pushed, its strings stay in
 * the arguments.
 */
LJMP struct exec_call *pv_lua_exec_new(lua_State *L, int idx, const char *what, const struct lua_opt *opts);
/* The command for a message: the shell's line, or the program. */
const char *pv_lua_exec_title(const struct exec_call *c);

#endif
