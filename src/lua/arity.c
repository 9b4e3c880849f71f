/* SPDX-License-Identifier: MIT */
/*
 * No argument is silently ignored: a C function of the reference raises when it gets more arguments than its entry in
 * docs/lua-api.md has.  One wrapper around them all, made once everything is open, so that the page and the functions
 * cannot differ.  What Lua itself would drop, nils at the end, are no arguments.
 */
#include <string.h>

#include "lua/modules.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "util/mem.h"

struct arity {
    const char *object; /* "vm", "provium.net"; "": a global function */
    const char *name;
    const char *shown; /* "vm:stat(path, opts?)" */
    int max;           /* with the object of a method */
    bool method;
};

static const struct arity arities[] = {
#include "lua-arity.h"
};

/* Functions that say more about an argument that they do not take, and `test`, which trace.c knows by its address. */
static const char *const own_words[] = {"vm:kill(",
                                        "lan:partition(",
                                        "lan:heal(",
                                        "lan:isolate(",
                                        "provium.json.encode(",
                                        "provium.json.decode(",
                                        "provium.json.array(",
                                        "test("};

static const struct {
    const char *object, *type; /* the name on the page, the metatable in the registry */
} types[] = {
    {"vm", "provium.vm"},           {"vm", "provium.worker"},       {"worker", "provium.worker"},
    {"lan", "provium.network"},     {"disk", "provium.disk"},       {"rule", "provium.rule"},
    {"rec", "provium.recording"},   {"state", "provium.state"},     {"nic", "provium.nic"},
    {"port", "provium.port"},       {"router", "provium.router"},   {"uplink", "provium.uplink"},
    {"capture", "provium.capture"}, {"process", "provium.process"}, {"result", "provium.result"},
    {"stream", "provium.stream"},   {"stream", "provium.console"},  {"console", "provium.console"},
    {"task", "provium.task"},
};

/* Upvalues: the struct arity, the function, which has no upvalues of its own. */
static int call_checked(lua_State *L)
{
    const struct arity *a = lua_touserdata(L, lua_upvalueindex(1));

    for (int i = a->max + 1; i <= lua_gettop(L); i++)
        if (!lua_isnil(L, i))
            return pv_lua_raise(L, "%s takes %s, got %s", a->shown,
                                a->max == a->method ? "no arguments" : "no more arguments",
                                pv_lua_describe(L, i));
    return lua_tocfunction(L, lua_upvalueindex(2))(L);
}

/* Wraps the function in the table at the top, if it has one of that name in C; pops the table. */
static LJMP void wrap(lua_State *L, const struct arity *a)
{
    lua_pushstring(L, a->name);
    lua_pushlightuserdata(L, (void *)a);
    lua_pushstring(L, a->name);
    lua_rawget(L, -4);
    if (lua_iscfunction(L, -1) && !lua_getupvalue(L, -1, 1)) {
        lua_pushcclosure(L, call_checked, 2);
        lua_rawset(L, -3);
    }
}

/* Pushes the methods of a type: a table, or the first upvalue of a function (pv_lua_type_index). */
static LJMP void push_methods(lua_State *L, const char *type)
{
    luaL_getmetatable(L, type);
    if (lua_getfield(L, -1, "__index") == LUA_TFUNCTION)
        lua_getupvalue(L, -1, 1);
}

static bool has_own_words(const struct arity *a)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(own_words); i++)
        if (!strncmp(a->shown, own_words[i], strlen(own_words[i])))
            return true;
    return false;
}

static LJMP void wrap_everywhere(lua_State *L, const struct arity *a)
{
    for (size_t i = 0; a->method && i < PV_ARRAY_LEN(types); i++) {
        if (strcmp(types[i].object, a->object) != 0)
            continue;
        push_methods(L, types[i].type);
        wrap(L, a);
    }
    if (a->method)
        return;
    lua_pushglobaltable(L);
    if (a->object[0])
        luaL_getsubtable(L, -1, "provium");
    if (strchr(a->object, '.'))
        luaL_getsubtable(L, -1, strchr(a->object, '.') + 1);
    wrap(L, a);
}

void pv_lua_open_arity(lua_State *L)
{
    int top = lua_gettop(L);

    for (size_t i = 0; i < PV_ARRAY_LEN(arities); i++) {
        if (!has_own_words(&arities[i]))
            wrap_everywhere(L, &arities[i]);
        lua_settop(L, top);
    }
}
