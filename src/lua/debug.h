/* SPDX-License-Identifier: MIT */
/* --debug: a test file stops where it fails, and at breakpoint(). */
#ifndef PV_LUA_DEBUG_H
#define PV_LUA_DEBUG_H

#include "lua/state.h"

/*
 * In the message handler of a failure: opens a prompt with the frames of L, on the descriptors of env->debug, until
 * the person goes on.  Without env->debug->stop, within a prompt and in a builder: nothing.  `quit` ends the process.
 */
void pv_lua_debug_failure(lua_State *L, const char *message);
/* A file has failed and ended: with --keep its VMs go on until the person presses Enter. */
void pv_lua_debug_keep(lua_State *L);
/* Registers breakpoint(). */
LJMP void pv_lua_open_debug(lua_State *L);

#endif
