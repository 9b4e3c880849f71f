/* SPDX-License-Identifier: MIT */
/* test, skip, todo, fail. */
#include <string.h>

#include "lua/hooks.h"
#include "lua/limit.h"
#include "lua/meta.h"
#include "lua/modules.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/skip.h"
#include "lua/task.h"
#include "testfile/error.h"
#include "testfile/select.h"
#include "util/err.h"

enum { MAX_TEST_RETRIES = 100 };

/* The options of test(); strings are the table's. */
struct test_opts {
    int64_t timeout_ns; /* 0: none */
    bool slow;
    const char *skip, *expect_fail; /* NULL: not given */
    unsigned retries;
    struct tf_selection selection;
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
        pv_tf_selection_tag(pv_lua_tf(L), &o->selection, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

static LJMP const char *check_string_opt(lua_State *L, int idx, const char *name, const char *what)
{
    const char *s = NULL;

    if (pv_lua_rawfield(L, idx, name) != LUA_TNIL) {
        s = pv_lua_check_cstring(L, -1, what);
        if (!*s)
            pv_lua_raise(L, "%s is empty; say why", what);
    }
    lua_pop(L, 1);
    return s;
}

static LJMP void check_test_opts(lua_State *L, int idx, struct test_opts *o)
{
    static const struct lua_opt opts[] = {
        {"tags", OPT_TABLE},  {"timeout", OPT_TIME},       {"slow", OPT_BOOLEAN},    {"meta", OPT_TABLE},
        {"skip", OPT_STRING}, {"expect_fail", OPT_STRING}, {"retries", OPT_INTEGER}, {NULL, 0}};

    if (!pv_lua_check_opts(L, idx, "test", opts))
        return;
    o->timeout_ns = pv_lua_opt_time(L, idx, "test", "timeout", 0);
    o->slow = pv_lua_opt_bool(L, idx, "slow", false);
    o->skip = check_string_opt(L, idx, "skip", "test option 'skip'");
    o->expect_fail = check_string_opt(L, idx, "expect_fail", "test option 'expect_fail'");
    if (pv_lua_rawfield(L, idx, "retries") != LUA_TNIL) {
        lua_Integer n = lua_tointeger(L, -1);

        if (n < 0 || n > MAX_TEST_RETRIES)
            pv_lua_raise(L, "test option 'retries' must be a number from 0 to %d, got %s", MAX_TEST_RETRIES,
                         pv_lua_describe(L, -1));
        o->retries = (unsigned)n;
    }
    lua_pop(L, 1);
    if (pv_lua_rawfield(L, idx, "tags") == LUA_TTABLE)
        check_tags(L, o);
    lua_pop(L, 1);
    if (pv_lua_rawfield(L, idx, "meta") == LUA_TTABLE)
        pv_lua_check_meta(L, &o->selection);
    lua_pop(L, 1);
    if (o->slow)
        pv_tf_selection_tag(pv_lua_tf(L), &o->selection, "slow");
}

/* One attempt with the function on top of the stack: as pv_tf_attempt_end. */
static LJMP bool run_attempt(lua_State *L, int64_t timeout_ns, enum pv_outcome *outcome)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    struct tf_test *t = &tf->tests.open[tf->tests.n_open - 1];
    int fn = lua_gettop(L);
    struct lua_calls c;
    struct pv_err err;
    const char *text;
    bool again;

    if (tf->tests.n_open == 1 && pv_tf_reset_begin(tf, &err) < 0) {
        pv_err_drop_console(&err);
        *outcome = pv_tf_test_end(tf, PV_FAIL, pv_tf_err_class(&err), err.text);
        return false;
    }
    pv_tf_attempt_begin(tf, timeout_ns);
    pv_lua_calls_begin(L, &c);
    pv_lua_attempt(L, &c, fn);
    pv_lua_tasks_settle(L, t->id, &c);
    text = c.failed ? pv_lua_calls_text(L, &c) : t->reason;
    *outcome = c.failed ? PV_FAIL : t->outcome;
    again = pv_tf_attempt_end(tf, outcome, c.failed ? c.cls : PV_CLASS_NONE, text);
    if (again)
        t->deadline = 0; /* the next attempt has its own */
    pv_lua_limit_changed(L);
    lua_settop(L, fn);
    return again;
}

/* Why the sub-test is not run, although it is selected; NULL: it is. */
static const char *skip_reason(const struct pv_testfile *tf, const struct test_opts *o)
{
    if (o->skip)
        return o->skip;
    return o->slow && !pv_tf_slow_tests(tf) ? "slow; --slow-tests runs it" : NULL;
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
    enum pv_outcome outcome = PV_SKIP;

    if (!lua_isfunction(L, fn))
        pv_lua_raise(L, "test(\"%s\") needs a function as its %s argument, got %s", name,
                     fn == 3 ? "third" : "second", lua_isnone(L, fn) ? "nothing" : luaL_typename(L, fn));
    if (pv_lua_of(L)->task)
        pv_lua_raise(L, "test(\"%s\") cannot begin in a task; begin tasks in the test instead", name);
    if (tf->builder)
        pv_lua_raise(L,
                     "test(\"%s\") does not belong into a fixture, whose script prepares a VM; to refuse it, "
                     "raise an error",
                     name);
    if (fn == 3)
        check_test_opts(L, 2, &opts);
    if (tf->tests.n_open == TF_MAX_NESTED_TESTS)
        pv_lua_raise(L, "tests are nested more than %d deep", TF_MAX_NESTED_TESTS);
    if (tf->tests.n_begun == TF_MAX_TESTS)
        pv_lua_raise(
            L,
            "test(\"%s\"): a file has at most %d sub-tests, and these have run; use more files, or assert "
            "more in each",
            name, TF_MAX_TESTS);
    lua_settop(L, fn);
    tf->touched = true;
    if (!pv_tf_selected(tf, &opts.selection)) {
        tf->tests.n_deselected++;
        lua_pushboolean(L, false);
        return 1;
    }
    if (tf->tests.n_open == 0 && !skip_reason(tf, &opts))
        pv_tf_reset_halt(tf);
    pv_tf_test_begin(tf, name);
    if (fn == 3)
        pv_lua_send_meta(L, 2);
    pv_tf_test_options(tf, opts.expect_fail, opts.retries);
    if (skip_reason(tf, &opts))
        pv_tf_test_end(tf, PV_SKIP, PV_CLASS_NONE, skip_reason(tf, &opts));
    else
        while (run_attempt(L, opts.timeout_ns, &outcome))
            ;
    lua_pushboolean(L, outcome == PV_OK);
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
