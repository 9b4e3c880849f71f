/* SPDX-License-Identifier: MIT */
#include "lua/meta.h"

#include <string.h>

#include "lua/options.h"
#include "lua/raise.h"
#include "testfile/select.h"

/* The text of the value at idx, which is replaced by it; `key` for the message. */
static LJMP const char *check_value(lua_State *L, int idx, const char *key)
{
    int type = lua_type(L, idx);

    idx = lua_absindex(L, idx);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
        pv_lua_raise(L, "meta '%s' of a test must be a string, a number, a boolean or a list of them, got %s",
                     key, pv_lua_describe(L, idx));
    luaL_tolstring(L, idx, NULL);
    lua_replace(L, idx);
    return pv_lua_check_cstring(L, idx, "a value in the meta of a test");
}

/* Calls fn for each value of the list or single value on top of the stack. */
static LJMP void for_each_value(lua_State *L, const char *key,
                                void (*fn)(struct pv_testfile *tf, const char *key, const char *value,
                                           bool in_list, void *arg),
                                void *arg)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    lua_Integer n = lua_istable(L, -1) ? pv_lua_list_len(L, -1) : 0;

    if (!lua_istable(L, -1)) {
        lua_pushvalue(L, -1);
        fn(tf, key, check_value(L, -1, key), false, arg);
        lua_pop(L, 1);
        return;
    }
    if (n <= 0)
        pv_lua_raise(L, "meta '%s' of a test is %s; expected a list of strings, such as {\"tcp\", \"ipv6\"}",
                     key, n < 0 ? "a table with names" : "an empty list");
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        fn(tf, key, check_value(L, -1, key), true, arg);
        lua_pop(L, 1);
    }
}

static void select_value(struct pv_testfile *tf, const char *key, const char *value, bool in_list, void *arg)
{
    (void)in_list;
    pv_tf_selection_meta(tf, arg, key, value);
}

void pv_lua_check_meta(lua_State *L, struct tf_selection *s)
{
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *key;

        if (lua_type(L, -2) != LUA_TSTRING)
            pv_lua_raise(L, "the meta of a test is a table of names and values; it has a %s as a key",
                         luaL_typename(L, -2));
        key = pv_lua_check_cstring(L, -2, "a key in the meta of a test");
        if (!*key || strchr(key, '='))
            pv_lua_raise(L, "'%s' cannot be a key in the meta of a test; expected a name without '='", key);
        for_each_value(L, key, select_value, s);
        lua_pop(L, 1);
    }
}

static void send_value(struct pv_testfile *tf, const char *key, const char *value, bool in_list, void *arg)
{
    (void)arg;
    pv_result_test_meta(tf->env->result, pv_tf_test_id(&tf->tests), key, value, in_list);
}

/* The least key of the table at idx that is greater than `after` (NULL: the least), owned by the table; NULL: none. */
static LJMP const char *next_key(lua_State *L, int idx, const char *after)
{
    const char *best = NULL;

    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const char *key = lua_tostring(L, -2); /* owned by the table */

        if ((!after || strcmp(key, after) > 0) && (!best || strcmp(key, best) < 0))
            best = key;
        lua_pop(L, 1);
    }
    return best;
}

void pv_lua_send_meta(lua_State *L, int idx)
{
    const char *key = NULL;
    int top = lua_gettop(L);

    if (pv_lua_rawfield(L, idx, "meta") == LUA_TTABLE)
        while ((key = next_key(L, top + 1, key))) {
            pv_lua_rawfield(L, top + 1, key);
            for_each_value(L, key, send_value, NULL);
            lua_settop(L, top + 1);
        }
    lua_settop(L, top);
}
