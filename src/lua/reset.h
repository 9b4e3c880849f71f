/* SPDX-License-Identifier: MIT */
/* provium.reset_between_tests: every test starts from the state that the file had when the first one began.
 */
#ifndef PV_LUA_RESET_H
#define PV_LUA_RESET_H

#include "lua/internal.h"

struct pv_err;

/* Whether it is on: VMs are then booted so that they can be saved. */
bool pv_lua_resets(const struct pv_lua *pl);

/*
 * Around every test that is in no other.  The first begin takes the state of all VMs that run, later ones put
 * them back; the end ends the VMs that the test made.  Nothing when it is off.  begin blocks, fails, and
 * never raises.
 */
int pv_lua_reset_begin(lua_State *L, struct pv_err *err);
void pv_lua_reset_end(struct pv_lua *pl);
void pv_lua_reset_free(struct pv_lua *pl);
/* Whether it knows g, which then must not be freed. */
bool pv_lua_reset_holds(const struct pv_lua *pl, const struct lua_guest *g);

/* Gives the table on top, `provium`, the field. */
LJMP void pv_lua_open_reset(lua_State *L);

#endif
