/* SPDX-License-Identifier: MIT */
#include "lua/raise.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "testfile/error.h"
#include "testfile/limit.h"
#include "util/err.h"
#include "util/mem.h"

bool pv_lua_is_own_code(const lua_Debug *ar)
{
    return !strncmp(ar->source, "=provium", 8);
}

bool pv_lua_script_frame(lua_State *L, int *level, lua_Debug *ar)
{
    for (; lua_getstack(L, *level, ar); (*level)++) {
        lua_getinfo(L, "Sl", ar);
        if (ar->currentline > 0 && !pv_lua_is_own_code(ar))
            return true;
    }
    return false;
}

void pv_lua_where(lua_State *L)
{
    lua_Debug ar;
    int level = 0;

    if (pv_lua_script_frame(L, &level, &ar))
        lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
    else
        lua_pushliteral(L, "");
}

static LJMP void push_message(lua_State *L, const char *fmt, va_list ap)
{
    luaL_checkstack(L, 8, NULL);
    pv_lua_where(L);
    lua_pushvfstring(L, fmt, ap);
    lua_concat(L, 2);
}

int pv_lua_raise(lua_State *L, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    push_message(L, fmt, ap);
    va_end(ap);
    return lua_error(L);
}

int pv_lua_raise_again(lua_State *L, enum pv_class cls)
{
    struct pv_lua *pl = pv_lua_of(L);
    struct lua_raised *r = &pl->raised[pl->n_raised++ % LUA_N_RAISED];

    free(r->text);
    r->text = pv_xstrdup(lua_tostring(L, -1) ? lua_tostring(L, -1) : "");
    r->cls = cls;
    return lua_error(L);
}

int pv_lua_raise_as(lua_State *L, enum pv_class cls, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    push_message(L, fmt, ap);
    va_end(ap);
    return pv_lua_raise_again(L, cls);
}

enum pv_class pv_lua_class_of(const struct pv_lua *pl, const char *msg)
{
    for (unsigned i = 0; i < LUA_N_RAISED && i < pl->n_raised; i++) {
        const struct lua_raised *r = &pl->raised[(pl->n_raised - 1 - i) % LUA_N_RAISED];

        if (strstr(msg, r->text))
            return r->cls;
    }
    return PV_CLASS_LUA;
}

int pv_lua_raise_expired(lua_State *L)
{
    char *text = pv_tf_limit_text(pv_lua_tf(L));

    lua_pushstring(L, text); /* raises only without memory */
    free(text);
    return pv_lua_raise_as(L, PV_CLASS_TIMEOUT, "%s", lua_tostring(L, -1));
}

void pv_lua_check_expired(lua_State *L)
{
    if (pv_tf_limit_expired(pv_lua_tf(L)))
        pv_lua_raise_expired(L);
}

int pv_lua_raise_err(lua_State *L, const struct pv_err *err)
{
    struct pv_testfile *tf = pv_lua_tf(L);

    pv_tf_findings_met_death(tf, err);
    if (err->cls == PV_E_TIMEOUT && pv_tf_limit_expired(tf))
        return pv_lua_raise_expired(L);
    return pv_lua_raise_as(L, pv_tf_err_class(err), "%s", err->text);
}
