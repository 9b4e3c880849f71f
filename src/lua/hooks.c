/* SPDX-License-Identifier: MIT */
#include "lua/hooks.h"

#include <stdlib.h>

#include "lua/limit.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/skip.h"
#include "lua/trace.h"
#include "util/clock.h"

/* A test's deferred functions and after_each have at least that long together, if the test has a timeout. */
#define CLEANUP_TIME (10 * PV_NSEC_PER_SEC)

/* Lists of functions, by these indices of the table of hooks; sub-test N of those open has LIST_DEFERRED + N. */
enum { LIST_BEFORE = 1, LIST_AFTER, LIST_DEFERRED };

static const char hooks_key; /* its address: registry key of the table of hooks */

/* ---- calls ---- */

void pv_lua_calls_begin(lua_State *L, struct lua_calls *c)
{
    lua_pushnil(L);
    *c = (struct lua_calls){.msg = lua_gettop(L)};
}

/* Adds the failure whose text is on top of the stack, and pops it. */
static LJMP void add_failure(lua_State *L, struct lua_calls *c, enum pv_class cls, const char *what)
{
    const char *text = lua_tostring(L, -1) ? lua_tostring(L, -1) : "error without a message";

    luaL_checkstack(L, 8, NULL);
    if (what)
        text = lua_pushfstring(L, "%s: %s", what, text);
    if (c->failed)
        lua_pushfstring(L, "%s\n%s", lua_tostring(L, c->msg), text);
    else
        lua_pushstring(L, text);
    lua_copy(L, -1, c->msg);
    lua_pop(L, what ? 3 : 2);
    if (!c->failed)
        c->cls = cls;
    c->failed = true;
}

void pv_lua_calls_fail(lua_State *L, struct lua_calls *c, enum pv_class cls, const char *text)
{
    lua_pushstring(L, text);
    add_failure(L, c, cls, NULL);
}

const char *pv_lua_calls_text(lua_State *L, const struct lua_calls *c)
{
    return c->failed ? lua_tostring(L, c->msg) : NULL;
}

void pv_lua_calls_run(lua_State *L, struct lua_calls *c, const char *what)
{
    struct pv_lua *pl = pv_lua_of(L);
    enum pv_class outer = pl->error_cls, cls;
    int rc, base = lua_gettop(L) - 1;

    luaL_checkstack(L, 8, NULL);
    lua_pushcfunction(L, pv_lua_msgh_failing);
    lua_insert(L, -2);
    rc = lua_pcall(L, 0, 0, base + 1);
    cls = rc == LUA_ERRRUN ? pl->error_cls : PV_CLASS_LUA;
    pl->error_cls = outer; /* this may run in a __close, between the handler of an error and its pcall */
    if (rc != LUA_OK && pv_lua_is_skip(L, -1))
        c->left = true;
    else if (rc != LUA_OK)
        add_failure(L, c, cls, what);
    lua_settop(L, base);
}

/* ---- lists ---- */

/* Pushes a list of functions, which is made when it is not there. */
static LJMP void push_list(lua_State *L, int list)
{
    luaL_checkstack(L, 6, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hooks_key);
    if (lua_rawgeti(L, -1, list) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, list);
    }
    lua_remove(L, -2);
}

/* Runs a list of hooks, from the first or from the last on; `stop`: until one fails or leaves. */
static LJMP void run_hooks(lua_State *L, struct lua_calls *c, int list, const char *what, bool stop)
{
    lua_Integer n;

    push_list(L, list);
    n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= n && !(stop && (c->failed || c->left)); i++) {
        lua_rawgeti(L, -1, stop ? i : n + 1 - i);
        pv_lua_calls_run(L, c, what);
    }
    lua_pop(L, 1);
}

/* Runs and drops the deferred functions of a level; those that they defer too. */
static LJMP void run_deferred(lua_State *L, struct lua_calls *c, size_t level)
{
    push_list(L, LIST_DEFERRED + (int)level);
    for (lua_Integer n; (n = (lua_Integer)lua_rawlen(L, -1)) > 0;) {
        lua_rawgeti(L, -1, n);
        lua_pushnil(L);
        lua_rawseti(L, -3, n);
        pv_lua_calls_run(L, c, "defer");
    }
    lua_pop(L, 1);
}

void pv_lua_run_file_defers(lua_State *L, struct lua_calls *c)
{
    c->left = false;
    run_deferred(L, c, 0);
    if (c->left)
        pv_lua_calls_fail(L, c, PV_CLASS_LUA,
                          "defer: skip() or todo() comes too late there, the file has run");
}

/* ---- a sub-test ---- */

/* Runs what follows the test; the outcome that it gave itself by skip() or todo() stays. */
static LJMP void attempt_clean_up(lua_State *L, struct lua_calls *c)
{
    struct tf_tests *tests = &pv_lua_tf(L)->tests;
    struct tf_test *t = &tests->open[tests->n_open - 1];
    enum pv_outcome outcome = t->outcome;
    size_t level = tests->n_open;

    if (t->timeout_ns) {
        t->timeout_ns = t->timeout_ns > CLEANUP_TIME ? t->timeout_ns : CLEANUP_TIME;
        t->deadline = pv_deadline(t->timeout_ns);
    }
    pv_lua_limit_changed(L);
    c->left = false;
    run_deferred(L, c, level);
    if (level == 1)
        run_hooks(L, c, LIST_AFTER, "after_each", false);
    run_deferred(L, c, level);
    if (c->left)
        pv_lua_calls_fail(L, c, PV_CLASS_LUA,
                          "skip() or todo() comes too late in defer and after_each, the test has run");
    t->outcome = outcome;
}

void pv_lua_attempt(lua_State *L, struct lua_calls *c, int fn)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    char *late;

    pv_lua_limit_changed(L);
    if (tf->tests.n_open == 1)
        run_hooks(L, c, LIST_BEFORE, "before_each", true);
    if (!c->failed && !c->left) {
        lua_pushvalue(L, fn);
        pv_lua_calls_run(L, c, NULL);
    }
    late = c->failed ? NULL : pv_tf_test_late(tf);
    if (late) {
        pv_tf_save_failed(tf, late);
        lua_pushstring(L, late); /* raises only without memory */
        free(late);
        add_failure(L, c, PV_CLASS_TIMEOUT, NULL);
    }
    pv_tf_save_reported(tf);
    attempt_clean_up(L, c);
}

/* ---- the functions ---- */

static LJMP void add_function(lua_State *L, int list, const char *name)
{
    pv_lua_tf(L)->touched = true;
    if (!lua_isfunction(L, 1))
        pv_lua_raise(L, "%s needs a function and nothing else, got %s", name,
                     lua_isnone(L, 1) ? "nothing" : pv_lua_describe(L, 1));
    push_list(L, list);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static int hooks_defer(lua_State *L)
{
    add_function(L, LIST_DEFERRED + (int)pv_tf_depth(pv_lua_tf(L)), "defer");
    return 0;
}

static LJMP int add_hook(lua_State *L, int list, const char *name)
{
    if (pv_lua_tf(L)->builder)
        pv_lua_raise(L, "%s has no meaning in a fixture, which has no tests", name);
    if (pv_lua_tf(L)->tests.n_open)
        pv_lua_raise(L, "%s belongs to the file: call it outside of tests, in front of those it is for",
                     name);
    add_function(L, list, name);
    return 0;
}

static int hooks_before_each(lua_State *L)
{
    return add_hook(L, LIST_BEFORE, "before_each");
}

static int hooks_after_each(lua_State *L)
{
    return add_hook(L, LIST_AFTER, "after_each");
}

void pv_lua_open_hooks(lua_State *L)
{
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &hooks_key);
    lua_register(L, "defer", hooks_defer);
    lua_register(L, "before_each", hooks_before_each);
    lua_register(L, "after_each", hooks_after_each);
}
