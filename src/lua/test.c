/* SPDX-License-Identifier: MIT */
/* test, skip, todo, fail. */
#include <string.h>

#include "lua/limit.h"
#include "lua/modules.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/skip.h"
#include "lua/trace.h"
#include "testfile/error.h"
#include "testfile/select.h"
#include "util/clock.h"
#include "util/err.h"

/* The options of test(). */
struct test_opts {
    int64_t timeout_ns; /* 0: none */
    bool slow;
    struct tf_selection tags;
};

/* The list of tags on top of the stack. */
static LJMP void check_tags(lua_State *L, struct test_opts *o)
{
    lua_Integer n = pv_lua_list_len(L, -1);

    if (n < 0)
        pv_lua_raise(L, "test option 'tags' must be a list of strings, such as {\"net\", \"ipv6\"}");
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        if (!*pv_lua_check_cstring(L, -1, "a tag of a test"))
            pv_lua_raise(L, "a tag of a test is empty");
        pv_tf_selection_tag(pv_lua_tf(L), &o->tags, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

static LJMP void check_test_opts(lua_State *L, int idx, struct test_opts *o)
{
    static const struct lua_opt opts[] = {
        {"tags", OPT_TABLE}, {"timeout", OPT_TIME}, {"slow", OPT_BOOLEAN}, {NULL, 0}};

    if (!pv_lua_check_opts(L, idx, "test", opts))
        return;
    o->timeout_ns = pv_lua_opt_time(L, idx, "test", "timeout", 0);
    o->slow = pv_lua_opt_bool(L, idx, "slow", false);
    if (pv_lua_rawfield(L, idx, "tags") == LUA_TTABLE)
        check_tags(L, o);
    lua_pop(L, 1);
    if (o->slow)
        pv_tf_selection_tag(pv_lua_tf(L), &o->tags, "slow");
}

/* Runs the function on top of the stack as the innermost open sub-test; whether it passed. */
static LJMP bool run_test(lua_State *L, int64_t timeout_ns)
{
    struct pv_lua *pl = pv_lua_of(L);
    struct pv_testfile *tf = pl->tf;
    struct tf_test *t = &tf->tests.open[tf->tests.n_open - 1];
    enum pv_class outer = pl->error_cls, cls;
    struct pv_err err;
    bool passed = false;
    int rc;

    if (tf->tests.n_open == 1 && pv_tf_reset_begin(tf, &err) < 0) {
        pv_tf_test_end(tf, PV_FAIL, pv_tf_err_class(&err), err.text);
        return false;
    }
    t->timeout_ns = timeout_ns;
    t->deadline = timeout_ns ? pv_deadline(timeout_ns) : 0;
    lua_pushcfunction(L, pv_lua_msgh);
    lua_insert(L, -2);
    pv_lua_limit_changed(L);
    rc = lua_pcall(L, 0, 0, -2);
    cls = rc == LUA_ERRRUN ? pl->error_cls : PV_CLASS_LUA;
    pl->error_cls = outer; /* this test may run in a __close, between the handler of an error and its pcall */
    if (rc == LUA_OK || pv_lua_is_skip(L, -1))
        passed = pv_tf_test_end_returned(tf) == PV_OK;
    else
        pv_tf_test_end(tf, PV_FAIL, cls,
                       lua_tostring(L, -1) ? lua_tostring(L, -1) : "error without a message");
    pv_lua_limit_changed(L);
    return passed;
}

/*
 * test(name, options?, fn): runs fn at once; true when it neither failed nor was skipped.  A deselected one
 * leaves no trace in the report.
 */
static int lua_test(lua_State *L)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    const char *name = pv_lua_check_cstring(L, 1, "the name of a test");
    int fn = lua_istable(L, 2) ? 3 : 2;
    struct test_opts opts = {0};

    if (!lua_isfunction(L, fn))
        pv_lua_raise(L, "test(\"%s\") needs a function as its %s argument, got %s", name,
                     fn == 3 ? "third" : "second", lua_isnone(L, fn) ? "nothing" : luaL_typename(L, fn));
    if (tf->builder)
        pv_lua_raise(L,
                     "test(\"%s\") does not belong into a fixture, whose script prepares a VM; to refuse it, "
                     "raise an error",
                     name);
    if (fn == 3)
        check_test_opts(L, 2, &opts);
    if (tf->tests.n_open == TF_MAX_NESTED_TESTS)
        pv_lua_raise(L, "tests are nested more than %d deep", TF_MAX_NESTED_TESTS);
    lua_settop(L, fn);
    tf->touched = true;
    if (!pv_tf_selected(tf, &opts.tags)) {
        tf->tests.n_deselected++;
        lua_pushboolean(L, false);
        return 1;
    }
    pv_tf_test_begin(tf, name);
    if (opts.slow && !pv_tf_slow_tests(tf)) {
        pv_tf_test_end(tf, PV_SKIP, PV_CLASS_NONE, "slow; --slow-tests runs it");
        lua_pushboolean(L, false);
        return 1;
    }
    lua_pushboolean(L, run_test(L, opts.timeout_ns));
    return 1;
}

static LJMP int leave_test(lua_State *L, enum pv_outcome outcome, const char *what)
{
    return pv_lua_leave(L, outcome, lua_isnoneornil(L, 1) ? NULL : pv_lua_check_cstring(L, 1, what));
}

static int lua_skip(lua_State *L)
{
    return leave_test(L, PV_SKIP, "the reason of skip");
}

static int lua_todo(lua_State *L)
{
    return leave_test(L, PV_TODO, "the reason of todo");
}

static int lua_fail(lua_State *L)
{
    pv_lua_tf(L)->touched = true;
    return pv_lua_raise_as(L, PV_CLASS_ASSERTION, "%s",
                           lua_isnoneornil(L, 1) ? "failed" : luaL_tolstring(L, 1, NULL));
}

void pv_lua_open_test(lua_State *L)
{
    pv_lua_of(L)->test = lua_test;
    pv_lua_open_skip(L);
    lua_register(L, "test", lua_test);
    lua_register(L, "skip", lua_skip);
    lua_register(L, "todo", lua_todo);
    lua_register(L, "fail", lua_fail);
}
