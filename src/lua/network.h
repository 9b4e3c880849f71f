/* SPDX-License-Identifier: MIT */
#ifndef PV_LUA_NETWORK_H
#define PV_LUA_NETWORK_H

#include "lua/state.h"

struct pv_boot_opts;
struct pv_guest;

/* Reads the list `nets` on top of the stack: g gets a place on each network. */
LJMP void pv_lua_read_nets(lua_State *L, const struct pv_guest *g, struct pv_boot_opts *o);
int pv_lua_network(lua_State *L); /* provium.network */
LJMP void pv_lua_open_network(lua_State *L);

#endif
