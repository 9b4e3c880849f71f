/* SPDX-License-Identifier: MIT */
/* Recordings of disks in Lua, and the states that a power failure could have left (disk/recording.h). */
#ifndef PV_LUA_RECORDING_H
#define PV_LUA_RECORDING_H

#include "disk/recording.h"
#include "lua/state.h"

int pv_lua_record(lua_State *L);      /* provium.record */
int pv_lua_recording(lua_State *L);   /* provium.recording */
int pv_lua_disk_record(lua_State *L); /* d:record */
/* The recording at 1, or an error that says how `method` is called. */
LJMP struct pv_disk_recording *pv_lua_check_recording(lua_State *L, const char *method);

/* check.c */
int pv_lua_recording_check(lua_State *L); /* rec:check */
LJMP void pv_lua_open_check(lua_State *L);

/* recording-state.c */
/* Pushes a state, whose reference it takes. */
LJMP void pv_lua_push_state(lua_State *L, struct pv_disk_recording *r, struct pv_state *st);
/* The content of the state at idx, a reference that the caller owns; NULL: no state is there. */
LJMP struct pv_disk_image *pv_lua_state_image(lua_State *L, int idx);
/* The options of states and state in the table at idx, if there is one. */
LJMP void pv_lua_states_opts(lua_State *L, int idx, const char *what, struct pv_states_opts *o);
/* The same of rec:check, which has `stop` and `jobs`, too; *jobs: dflt when there is none. */
LJMP void pv_lua_check_states_opts(lua_State *L, int idx, struct pv_states_opts *o, bool *stop, int *jobs);
/*
 * minimise(state, fails, limit): the smallest failing state; `fails` is called with candidates, and ends the search
 * when it returns nil.
 */
int pv_lua_minimise(lua_State *L);
/* state_number(state, options): the number under which rec:states gives this content; nil: it does not. */
int pv_lua_state_number(lua_State *L);
LJMP void pv_lua_open_state(lua_State *L);
LJMP void pv_lua_open_recording(lua_State *L);

#endif
