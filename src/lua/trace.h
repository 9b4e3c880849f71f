/* SPDX-License-Identifier: MIT */
#ifndef PV_LUA_TRACE_H
#define PV_LUA_TRACE_H

#include "lua/state.h"

/* In the text of a task's error, in front of the line that began the task. */
#define LUA_TASK_MARK "\nin a task begun at "

/*
 * Message handler for pcall: turns any error value into the text of the report, with the positions behind it
 * ("TEXT\nat FILE:LINE\ncalled from ...", outside of sub-tests in front), and sets error_cls.  The value of
 * skip() and todo() passes unchanged.
 */
int pv_lua_msgh(lua_State *L);
/* Pushes the text of the error value at idx, without positions. */
LJMP void pv_lua_push_error_text(lua_State *L, int idx);
/* The same for an error that fails the file or its innermost sub-test: the VMs are saved (testfile/save.h). */
int pv_lua_msgh_failing(lua_State *L);
/* The message of a file that could not be loaded is on top: adds the source line that it names. */
LJMP void pv_lua_add_error_line(lua_State *L, const char *path);

#endif
