/* SPDX-License-Identifier: MIT */
/* --debug: a test file stops where it fails, and at breakpoint(). */
#ifndef PV_LUA_DEBUG_H
#define PV_LUA_DEBUG_H

#include "lua/state.h"

/* A file has failed and ended: with --keep its VMs go on until the person presses Enter. */
void pv_lua_debug_keep(lua_State *L);
/*
 * Registers breakpoint().  With env->debug->stop, a failure of the file opens a prompt with the frames of its thread,
 * on the descriptors of env->debug, until the person goes on; `quit` ends the process.
 */
LJMP void pv_lua_open_debug(lua_State *L);

#endif
