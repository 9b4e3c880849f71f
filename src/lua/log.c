/* SPDX-License-Identifier: MIT */
/* log(...): text that is shown with the test. */
#include <string.h>

#include "lua/assert.h"
#include "lua/modules.h"

enum { LOG_TEXT_MAX = 16 * 1024 };

/* Replaces the value at idx by its text: a string is its own, without NUL bytes, a table as assertions show it. */
static LJMP void replace_by_text(lua_State *L, int idx)
{
    luaL_Buffer b;
    const char *s;
    size_t n;

    if (lua_istable(L, idx))
        pv_lua_show(L, idx);
    else
        luaL_tolstring(L, idx, NULL);
    lua_replace(L, idx);
    s = lua_tolstring(L, idx, &n);
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < n && i <= LOG_TEXT_MAX; i++) {
        if (s[i])
            luaL_addchar(&b, s[i]);
        else
            luaL_addstring(&b, "\\x00");
    }
    luaL_pushresult(&b);
    lua_replace(L, idx);
}

static int log_values(lua_State *L)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    int args = lua_gettop(L);
    luaL_Buffer b;
    size_t n;

    tf->touched = true;
    luaL_checkstack(L, args + 8, NULL);
    for (int i = 1; i <= args; i++)
        replace_by_text(L, i);
    lua_settop(L, args);
    luaL_buffinit(L, &b);
    for (int i = 1; i <= args; i++) {
        if (i > 1)
            luaL_addchar(&b, ' ');
        luaL_addstring(&b, lua_tostring(L, i));
    }
    luaL_pushresult(&b);
    lua_tolstring(L, -1, &n);
    if (n > LOG_TEXT_MAX) {
        lua_pushlstring(L, lua_tostring(L, -1), LOG_TEXT_MAX);
        lua_pushfstring(L, "%s... (cut: more than %d bytes)", lua_tostring(L, -1), LOG_TEXT_MAX);
    }
    pv_result_note(tf->env->result, pv_tf_test_id(&tf->tests), lua_tostring(L, -1));
    return 0;
}

void pv_lua_open_log(lua_State *L)
{
    lua_register(L, "log", log_values);
}
