/* SPDX-License-Identifier: MIT */
/* The option `meta` of test(). */
#ifndef PV_LUA_META_H
#define PV_LUA_META_H

#include "lua/state.h"

struct tf_selection;

/* Checks the table on top of the stack, and adds its values to the selection. */
LJMP void pv_lua_check_meta(lua_State *L, struct tf_selection *s);
/* Sends the meta of the options at idx, which were checked, for the sub-test that was begun last, by keys. */
LJMP void pv_lua_send_meta(lua_State *L, int idx);

#endif
