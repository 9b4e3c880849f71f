/* SPDX-License-Identifier: MIT */
/*
 * Lua makes a string by allocating a header and the bytes, and copying the bytes there.  For a file of 1 GiB
 * that would be 2 GiB for a moment.  So the bytes of a landing are collected with room for the header in
 * front, and when the string is made, the allocator hands out this very block: the bytes are where Lua is
 * about to copy them.  (memcpy from a place to itself is what compilers emit for `*p = *p`; every C library
 * takes it.)  If Lua should ask for anything but exactly that block, it gets other memory and copies as ever.
 *
 * How large the header is shows when a string is made while the allocator watches.
 */
#include "lua/landing.h"

#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

enum { PROBE = 200, FIRST = 4096, STEP = 32 << 20, SHORTEST = 4096 };

static void *allocate(void *ud, void *p, size_t kind, size_t size)
{
    struct lua_landing_alloc *a = ud;

    if (size == 0) {
        free(p);
        return NULL;
    }
    if (!p && kind == LUA_TSTRING) { /* without a block, the old size says what it is for */
        if (a->block && size == a->size)
            return pv_steal(&a->block);
        if (a->header == 0)
            a->header = size - PROBE - 1;
    }
    return realloc(p, size);
}

void pv_lua_landing_open(lua_State *L, struct lua_landing_alloc *a)
{
    char probe[PROBE] = "";

    lua_setallocf(L, allocate, a);
    lua_pushlstring(L, probe, sizeof(probe));
    lua_pop(L, 1);
}

void pv_lua_landing_add(struct lua_landing *l, const void *data, size_t n)
{
    size_t want = l->a->header + l->len + n + 1;

    if (want > l->cap) {
        l->cap = want + (l->cap < STEP ? l->cap + FIRST : STEP); /* a large block grows by moving pages */
        l->block = pv_xrealloc(l->block, l->cap);
    }
    memcpy(l->block + l->a->header + l->len, data, n);
    l->len += n;
}

bool pv_lua_landing_push(lua_State *L, struct lua_landing *l)
{
    struct lua_landing_alloc *a = l->a;
    const char *bytes;
    bool taken;

    free(pv_steal(&a->block)); /* left behind if Lua raised */
    if (l->len < SHORTEST) {
        lua_pushlstring(L, l->block ? l->block + a->header : "", l->len);
        pv_lua_landing_free(l);
        return false;
    }
    a->size = a->header + l->len + 1;
    a->block = pv_xrealloc(l->block, a->size);
    bytes = (char *)a->block + a->header;
    l->block = NULL; /* the allocator has it */
    lua_pushlstring(L, bytes, l->len);
    taken = !a->block;
    free(pv_steal(&a->block));
    l->len = l->cap = 0;
    return taken;
}

void pv_lua_landing_free(struct lua_landing *l)
{
    free(l->block);
    l->block = NULL;
    l->len = l->cap = 0;
}
