/* SPDX-License-Identifier: MIT */
/*
 * More methods of strings: .value .contains .starts_with .trim.  stdout and stderr of exec are plain Lua
 * strings, so that ==, #, .. and the string library work on them.  The __index of strings returns a closure
 * over the string, so a method works with a dot and with a colon.  Entries of the `string` table win.
 */
#include <string.h>

#include "lua/modules.h"
#include "lua/raise.h"
#include "util/mem.h"

/*
 * Index of the first argument: behind the string itself after a call with a colon.  With just as many
 * arguments as wanted it is 1, even if that one equals the string.
 */
static LJMP int string_first_arg(lua_State *L, int wanted)
{
    return lua_gettop(L) > wanted && lua_rawequal(L, 1, lua_upvalueindex(1)) ? 2 : 1;
}

static LJMP const char *string_arg(lua_State *L, const char *method, size_t *n)
{
    int i = string_first_arg(L, 1);

    if (!lua_isstring(L, i))
        pv_lua_raise(L, "%s expects a string, got %s", method, luaL_typename(L, i));
    return lua_tolstring(L, i, n);
}

static int string_contains(lua_State *L)
{
    size_t n, sub_n;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &n);
    const char *sub = string_arg(L, "contains", &sub_n);

    lua_pushboolean(L, memmem(s, n, sub, sub_n) != NULL);
    return 1;
}

static int string_starts_with(lua_State *L)
{
    size_t n, sub_n;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &n);
    const char *sub = string_arg(L, "starts_with", &sub_n);

    lua_pushboolean(L, sub_n <= n && !memcmp(s, sub, sub_n));
    return 1;
}

static int string_trim(lua_State *L)
{
    size_t n;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &n);
    static const char white[] = " \t\r\n\v\f";

    while (n && s[n - 1] && strchr(white, s[n - 1]))
        n--;
    while (n && *s && strchr(white, *s)) {
        s++;
        n--;
    }
    lua_pushlstring(L, s, n);
    return 1;
}

static const luaL_Reg string_methods[] = {
    {"contains", string_contains}, {"starts_with", string_starts_with}, {"trim", string_trim}, {NULL, NULL}};

/* __index of strings; upvalue 1 is the `string` table, 2 the names beyond it (for scripts/check-lua-api). */
static int string_index(lua_State *L)
{
    const char *key;

    lua_pushvalue(L, 2);
    if (lua_gettable(L, lua_upvalueindex(1)) != LUA_TNIL || lua_type(L, 2) != LUA_TSTRING)
        return 1;
    key = lua_tostring(L, 2);
    if (!strcmp(key, "value")) {
        lua_pushvalue(L, 1);
        return 1;
    }
    for (const luaL_Reg *r = string_methods; r->name; r++)
        if (!strcmp(key, r->name)) {
            lua_pushvalue(L, 1);
            lua_pushcclosure(L, r->func, 1);
            return 1;
        }
    return 1; /* nil */
}

void pv_lua_open_strings(lua_State *L)
{
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_getglobal(L, "string");
    lua_newtable(L);
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "value");
    for (const luaL_Reg *r = string_methods; r->name; r++) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, r->name);
    }
    lua_pushcclosure(L, string_index, 2);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
}
