/* SPDX-License-Identifier: MIT */
/* A string from a zero-copy buffer has the added bytes; a large one is the buffer's own memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <string.h>

#include "lua/zerocopy.h"
#include "util/mem.h"

/* Pushes n bytes that came in pieces; whether the string is the memory they came into. */
static bool push_in_pieces(lua_State *L, struct lua_zerocopy_alloc *a, size_t n, size_t piece)
{
    struct lua_zerocopy l = {.a = a};
    cleanup_free char *bytes = pv_xmalloc(n + 1);
    const char *got;
    size_t got_n;
    bool in_place;

    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i * 7 + i / 256);
    for (size_t i = 0; i < n; i += piece)
        pv_lua_zerocopy_add(&l, bytes + i, n - i < piece ? n - i : piece);
    in_place = pv_lua_zerocopy_push(L, &l);
    assert_null(l.block);
    assert_null(a->block);
    got = lua_tolstring(L, -1, &got_n);
    assert_int_equal(got_n, n);
    assert_memory_equal(got, bytes, n);
    assert_int_equal(got[n], 0);
    lua_pushlstring(L, bytes, n); /* Lua takes them for the same string */
    assert_true(lua_rawequal(L, -1, -2));
    lua_pop(L, 1);
    return in_place;
}

static void test_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 39, 40, 41, 4095, 4096, 4097, 65536, 1000003, 64 << 20};
    struct lua_zerocopy_alloc a = {0};
    lua_State *L = luaL_newstate();

    (void)state;
    pv_lua_zerocopy_open(L, &a);
    assert_in_range(a.header, 8, 64);
    luaL_openlibs(L);
    for (size_t i = 0; i < PV_ARRAY_LEN(sizes); i++)
        for (size_t piece = 1; piece <= sizes[i] + 1; piece = piece * 37 + 65535 * (sizes[i] > 70000)) {
            assert_int_equal(push_in_pieces(L, &a, sizes[i], piece), sizes[i] >= 4096);
            lua_pop(L, 1);
        }
    lua_gc(L, LUA_GCCOLLECT);
    /* other strings are made in between */
    for (int i = 0; i < 50; i++) {
        assert_true(push_in_pieces(L, &a, 5000, 1000));
        lua_setglobal(L, i % 2 ? "x" : "y");
        assert_int_equal(luaL_dostring(L, "local t = {} for i = 1, 2000 do t[i] = ('z'):rep(i) end"), LUA_OK);
    }
    lua_close(L);
    assert_null(a.block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes)};

    return cmocka_run_group_tests_name("lua-zerocopy", tests, NULL, NULL);
}
