/* SPDX-License-Identifier: MIT */
/*
 * Lua makes a string by allocating header and bytes, and copying the bytes there: a file of 1 GiB takes 2 GiB
 * for a moment.  A zero-copy buffer leaves room for the header in front of its bytes, and when the string is
 * made the allocator returns the buffer's block: the bytes are where Lua is about to copy them.  (A memcpy of
 * a place onto itself works with every C library; compilers emit it for `*p = *p`.)  If Lua asks for any
 * other size, it gets other memory and copies as usual.
 *
 * The header's size is measured by making one string of known length.
 */
#include "lua/zerocopy.h"

#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

enum { PROBE = 200, FIRST = 4096, STEP = 32 << 20, SHORTEST = 4096 };

static void *zerocopy_alloc(void *ud, void *p, size_t kind, size_t size)
{
    struct lua_zerocopy_alloc *a = ud;

    if (size == 0) {
        free(p);
        return NULL;
    }
    if (!p && kind == LUA_TSTRING) { /* for new memory, the old size is the type */
        if (a->block && size == a->size)
            return pv_steal(&a->block);
        if (a->header == 0)
            a->header = size - PROBE - 1;
    }
    return realloc(p, size);
}

void pv_lua_zerocopy_open(lua_State *L, struct lua_zerocopy_alloc *a)
{
    char probe[PROBE] = "";

    lua_setallocf(L, zerocopy_alloc, a);
    lua_pushlstring(L, probe, sizeof(probe));
    lua_pop(L, 1);
}

void pv_lua_zerocopy_add(struct lua_zerocopy *l, const void *data, size_t n)
{
    size_t want = l->a->header + l->len + n + 1;

    if (want > l->cap) {
        l->cap = want + (l->cap < STEP ? l->cap + FIRST : STEP); /* realloc moves pages of large blocks */
        l->block = pv_xrealloc(l->block, l->cap);
    }
    memcpy(l->block + l->a->header + l->len, data, n);
    l->len += n;
}

bool pv_lua_zerocopy_push(lua_State *L, struct lua_zerocopy *l)
{
    struct lua_zerocopy_alloc *a = l->a;
    const char *bytes;
    bool taken;

    free(pv_steal(&a->block)); /* of a push that raised */
    if (l->len < SHORTEST) {
        lua_pushlstring(L, l->block ? l->block + a->header : "", l->len);
        pv_lua_zerocopy_free(l);
        return false;
    }
    a->size = a->header + l->len + 1;
    a->block = pv_xrealloc(l->block, a->size);
    bytes = (char *)a->block + a->header;
    l->block = NULL; /* a->block owns it */
    lua_pushlstring(L, bytes, l->len);
    taken = !a->block;
    free(pv_steal(&a->block));
    l->len = l->cap = 0;
    return taken;
}

void pv_lua_zerocopy_free(struct lua_zerocopy *l)
{
    free(l->block);
    l->block = NULL;
    l->len = l->cap = 0;
}
