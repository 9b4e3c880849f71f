/* SPDX-License-Identifier: MIT */
#ifndef PV_LUA_SCRIPTS_H
#define PV_LUA_SCRIPTS_H

#include "lua/state.h"

/* Ends the process; the file has failed, and `how` says what ended it ("ended by os.exit(1)").  VMs are killed. */
_Noreturn void pv_lua_exit(lua_State *L, int code, const char *how);

#endif
