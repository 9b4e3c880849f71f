/* SPDX-License-Identifier: MIT */
#include "lua/raise.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testfile/deaths.h"
#include "testfile/error.h"
#include "testfile/limit.h"
#include "util/err.h"
#include "util/mem.h"

bool pv_lua_is_own_code(const lua_Debug *ar)
{
    return !strncmp(ar->source, "=provium", 8);
}

void pv_lua_load_own(lua_State *L, const unsigned char *code, size_t n)
{
    if (luaL_loadbufferx(L, (const char *)code, n, "=provium", "t") != LUA_OK)
        lua_error(L);
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

void pv_lua_place(lua_State *L, char place[static LUA_WHERE_MAX])
{
    lua_Debug ar;
    int level = 0;

    if (pv_lua_script_frame(L, &level, &ar))
        snprintf(place, LUA_WHERE_MAX, "%s:%d", ar.short_src, ar.currentline);
    else
        snprintf(place, LUA_WHERE_MAX, "?");
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

static const char raised_key; /* its address: registry key of the list of raised strings */

/* Raises the string on top of the stack, which is remembered with what is known about the error. */
static LJMP int raise_known(lua_State *L, struct lua_raised known)
{
    struct pv_lua *pl = pv_lua_of(L);
    unsigned slot = pl->n_raised % LUA_N_RAISED;

    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &raised_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_createtable(L, LUA_N_RAISED, 0);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &raised_key);
    }
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, (lua_Integer)slot + 1);
    lua_pop(L, 1);
    known.text = lua_tolstring(L, -1, &known.len);
    known.test_id = pv_tf_test_id(&pl->tf->tests);
    pl->raised[slot] = known;
    pl->n_raised++;
    return lua_error(L);
}

int pv_lua_raise_as(lua_State *L, enum pv_class cls, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    push_message(L, fmt, ap);
    va_end(ap);
    return raise_known(L, (struct lua_raised){.cls = cls});
}

const struct lua_raised *pv_lua_raised_at(lua_State *L, int idx)
{
    const struct pv_lua *pl = pv_lua_of(L);
    const struct lua_raised *newest = &pl->raised[(pl->n_raised - 1) % LUA_N_RAISED];
    const char *msg = lua_type(L, idx) == LUA_TSTRING ? lua_tostring(L, idx) : NULL;
    size_t n;

    for (unsigned i = 0; msg && i < LUA_N_RAISED && i < pl->n_raised; i++) {
        const struct lua_raised *r = &pl->raised[(pl->n_raised - 1 - i) % LUA_N_RAISED];

        if (msg == r->text)
            return r;
    }
    if (!msg || !pl->n_raised || newest->test_id != pv_tf_test_id(&pl->tf->tests))
        return NULL;
    lua_tolstring(L, idx, &n);
    return n >= newest->len && (!memcmp(msg, newest->text, newest->len) ||
                                !memcmp(msg + n - newest->len, newest->text, newest->len))
               ? newest
               : NULL;
}

enum pv_class pv_lua_class_at(lua_State *L, int idx)
{
    const struct lua_raised *r = pv_lua_raised_at(L, idx);

    return r ? r->cls : PV_CLASS_LUA;
}

int pv_lua_raise_again(lua_State *L, enum pv_class cls)
{
    const struct lua_raised *r = pv_lua_raised_at(L, -1);

    return raise_known(L, (struct lua_raised){.cls = cls, .vm = r && r->cls == cls ? r->vm : 0});
}

int pv_lua_raise_caught(lua_State *L, int idx, enum pv_class cls)
{
    const struct lua_raised *r = pv_lua_raised_at(L, idx);
    struct lua_raised known = {.cls = r ? r->cls : cls, .vm = r ? r->vm : 0};

    if (r && lua_tostring(L, idx) == r->text)
        known.console = r->console;
    pv_lua_where(L);
    lua_pushvalue(L, idx);
    lua_concat(L, 2);
    return raise_known(L, known);
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
    pv_tf_deaths_met(tf, err);
    if (err->cls == PV_E_TIMEOUT && pv_tf_limit_expired(tf))
        return pv_lua_raise_expired(L);
    pv_lua_where(L);
    lua_pushstring(L, err->text);
    lua_concat(L, 2);
    return raise_known(
        L, (struct lua_raised){.cls = pv_tf_err_class(err), .vm = err->vm, .console = err->console});
}

int pv_lua_own_fail(lua_State *L)
{
    return pv_lua_raise_as(L, PV_CLASS_ASSERTION, "%s", luaL_checkstring(L, 1));
}

int pv_lua_own_misuse(lua_State *L)
{
    return pv_lua_raise(L, "%s", luaL_checkstring(L, 1));
}
