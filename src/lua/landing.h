/* SPDX-License-Identifier: MIT */
/* Bytes that arrive in pieces and become a Lua string without being copied once more. */
#ifndef PV_LUA_LANDING_H
#define PV_LUA_LANDING_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* What the allocator of a state knows. Zero-initialised is fine; it must outlive the state. */
struct lua_landing_alloc {
    size_t header; /* of a long string; 0: not known yet */
    void *block;   /* what the next string of `size` bytes, its header included, is made in */
    size_t size;
};

struct lua_landing {
    struct lua_landing_alloc *a;
    char *block; /* the header's room, then the bytes; malloc's */
    size_t len, cap;
};

/* Puts our allocator into a state that has the one of luaL_newstate. Raises without memory. */
void pv_lua_landing_open(lua_State *L, struct lua_landing_alloc *a);
/* Adds bytes behind those that are there; never raises. */
void pv_lua_landing_add(struct lua_landing *l, const void *data, size_t n);
/* Pushes them as a string and leaves the landing empty; whether they were not copied. */
bool pv_lua_landing_push(lua_State *L, struct lua_landing *l);
void pv_lua_landing_free(struct lua_landing *l);

#endif
