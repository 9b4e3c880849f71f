/* SPDX-License-Identifier: MIT */
/* A zero-copy buffer: bytes that arrive in pieces become a Lua string in place. */
#ifndef PV_LUA_ZEROCOPY_H
#define PV_LUA_ZEROCOPY_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

/* State of the allocator; zero-initialised. Must outlive the Lua state. */
struct lua_zerocopy_alloc {
    size_t header; /* of a long string, bytes; 0: not measured yet */
    void *block;   /* for the next allocation of `size` bytes */
    size_t size;
};

struct lua_zerocopy {
    struct lua_zerocopy_alloc *a;
    char *block; /* by malloc: room for the header, then the bytes */
    size_t len, cap;
};

/* Replaces the allocator of a state made by luaL_newstate. Raises without memory. */
void pv_lua_zerocopy_open(lua_State *L, struct lua_zerocopy_alloc *a);
/* Appends bytes; never raises. */
void pv_lua_zerocopy_add(struct lua_zerocopy *l, const void *data, size_t n);
/* Pushes the bytes as a string and empties the buffer; true: they were not copied. */
bool pv_lua_zerocopy_push(lua_State *L, struct lua_zerocopy *l);
void pv_lua_zerocopy_free(struct lua_zerocopy *l);

#endif
