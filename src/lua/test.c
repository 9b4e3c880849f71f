/* SPDX-License-Identifier: MIT */
/* test, skip, todo, fail. */
#include <string.h>

#include "lua/internal.h"
#include "lua/reset.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

static const char skip_key; /* its address: registry key of what skip() raises */

void pv_lua_push_skip(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &skip_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &skip_key);
}

bool pv_lua_is_skip(lua_State *L, int idx)
{
    bool is;

    idx = lua_absindex(L, idx);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &skip_key);
    is = lua_istable(L, idx) && lua_rawequal(L, idx, -1);
    lua_pop(L, 1);
    return is;
}

/* cls: of a failure. Returns the outcome, which what guests' kernels said may have changed. */
static enum pv_outcome end_test(struct pv_lua *pl, enum pv_outcome outcome, enum pv_class cls,
                                const char *text)
{
    struct lua_test *t = &pl->tests[pl->n_open - 1];
    cleanup_free char *msg = text ? pv_xstrdup(text) : NULL;

    pv_lua_settle_findings(pl);
    pl->n_open--;
    pv_lua_judge_findings(pl, t->id, &outcome, &cls, &msg);
    if (outcome == PV_FAIL)
        pl->n_failed++;
    pv_result_test_end(pl->env->result, t->id, outcome, cls, msg, pv_now() - t->started);
    if (outcome == PV_FAIL)
        pv_lua_send_tails(pl, t->id);
    if (pl->n_open == 0)
        pv_lua_reset_end(pl);
    free(t->name);
    free(t->reason);
    *t = (struct lua_test){0};
    return outcome;
}

void pv_lua_fail_open_tests(struct pv_lua *pl, const char *msg)
{
    while (pl->n_open)
        end_test(pl, PV_FAIL, PV_CLASS_LUA, msg);
}

/* A sub-test has begun: it is in the list, which owns its name from here on. */
static void begin_test(struct pv_lua *pl, const char *name)
{
    struct lua_test *t = &pl->tests[pl->n_open];

    pv_lua_settle_findings(pl);
    *t = (struct lua_test){.started = pv_now()};
    t->name = pl->n_open ? pv_xasprintf("%s \xe2\x80\xba %s", pl->tests[pl->n_open - 1].name, name)
                         : pv_xstrdup(name);
    t->id = pv_result_test_begin(pl->env->result, t->name);
    pl->command.words[0] = '\0';
    pl->n_open++;
    pl->n_tests++;
}

/* A test that used up its time has failed, whatever it made of that. */
static bool end_well(struct pv_lua *pl)
{
    const struct lua_test *t = &pl->tests[pl->n_open - 1];
    cleanup_free char *msg = NULL;

    if (t->outcome != PV_OK || !t->deadline || pv_now() < t->deadline)
        return end_test(pl, t->outcome, PV_CLASS_NONE, t->reason) == PV_OK;
    msg = pv_xasprintf("timed out: it took %.3g s, its timeout is %.3g s",
                       (double)(pv_now() - t->deadline + t->timeout_ns) / PV_NSEC_PER_SEC,
                       (double)t->timeout_ns / PV_NSEC_PER_SEC);
    end_test(pl, PV_FAIL, PV_CLASS_TIMEOUT, msg);
    return false;
}

/* Runs the function at the top as the sub-test that was begun last; whether it passed. */
static LJMP bool run_test(lua_State *L, int64_t timeout_ns)
{
    struct pv_lua *pl = pv_lua_of(L);
    struct lua_test *t = &pl->tests[pl->n_open - 1];
    enum pv_class outer = pl->error_cls, cls;
    struct pv_err err;
    bool passed = false;
    int rc;

    if (pl->n_open == 1 && pv_lua_reset_begin(L, &err) < 0) {
        end_test(pl, PV_FAIL, pv_lua_err_class(&err), err.text);
        return false;
    }
    t->timeout_ns = timeout_ns;
    t->deadline = timeout_ns ? pv_deadline(timeout_ns) : 0;
    lua_pushcfunction(L, pv_lua_msgh);
    lua_insert(L, -2);
    pv_lua_limit_changed(L);
    rc = lua_pcall(L, 0, 0, -2);
    cls = rc == LUA_ERRRUN ? pl->error_cls : PV_CLASS_LUA;
    pl->error_cls = outer; /* a __close that runs tests is called between the handler and our caller */
    if (rc == LUA_OK || pv_lua_is_skip(L, -1))
        passed = end_well(pl);
    else
        end_test(pl, PV_FAIL, cls, lua_tostring(L, -1) ? lua_tostring(L, -1) : "error without a message");
    pv_lua_limit_changed(L);
    return passed;
}

/*
 * test(name, options?, fn): runs fn at once; true when it neither failed nor was skipped.  One that --tag and
 * --no-tag do not let run is as if it were not there.
 */
int pv_lua_test(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    const char *name = pv_lua_check_cstring(L, 1, "the name of a test");
    int fn = lua_istable(L, 2) ? 3 : 2;
    struct lua_test_opts opts = {0};

    if (!lua_isfunction(L, fn))
        pv_lua_raise(L, "test(\"%s\") needs a function as its %s argument, got %s", name,
                     fn == 3 ? "third" : "second", lua_isnone(L, fn) ? "nothing" : luaL_typename(L, fn));
    if (pl->build)
        pv_lua_raise(L,
                     "test(\"%s\") does not belong into a fixture, whose script prepares a VM; to refuse it, "
                     "raise an error",
                     name);
    if (fn == 3)
        pv_lua_test_opts(L, 2, &opts);
    if (pl->n_open == MAX_NESTED_TESTS)
        pv_lua_raise(L, "tests are nested more than %d deep", MAX_NESTED_TESTS);
    lua_settop(L, fn);
    pl->touched = true;
    if (!pv_lua_test_selected(pl, &opts)) {
        pl->n_deselected++;
        lua_pushboolean(L, false);
        return 1;
    }
    begin_test(pl, name);
    if (opts.slow && !pv_lua_slow_tests(pl)) {
        end_test(pl, PV_SKIP, PV_CLASS_NONE, "slow; --slow-tests runs it");
        lua_pushboolean(L, false);
        return 1;
    }
    lua_pushboolean(L, run_test(L, opts.timeout_ns));
    return 1;
}

int pv_lua_leave(lua_State *L, enum pv_outcome outcome, const char *reason)
{
    struct pv_lua *pl = pv_lua_of(L);
    char **slot = pl->n_open ? &pl->tests[pl->n_open - 1].reason : &pl->reason;

    pl->touched = true;
    free(*slot);
    *slot = reason ? pv_xstrdup(reason) : NULL;
    if (pl->n_open)
        pl->tests[pl->n_open - 1].outcome = outcome;
    else
        pl->outcome = outcome;
    pv_lua_push_skip(L);
    return lua_error(L);
}

static LJMP int leave(lua_State *L, enum pv_outcome outcome, const char *what)
{
    return pv_lua_leave(L, outcome, lua_isnoneornil(L, 1) ? NULL : pv_lua_check_cstring(L, 1, what));
}

static int skip(lua_State *L)
{
    return leave(L, PV_SKIP, "the reason of skip");
}

static int todo(lua_State *L)
{
    return leave(L, PV_TODO, "the reason of todo");
}

static int fail(lua_State *L)
{
    pv_lua_of(L)->touched = true;
    return pv_lua_raise_as(L, PV_CLASS_ASSERTION, "%s",
                           lua_isnoneornil(L, 1) ? "failed" : luaL_tolstring(L, 1, NULL));
}

void pv_lua_open_test(lua_State *L)
{
    pv_lua_push_skip(L);
    lua_pop(L, 1);
    lua_register(L, "test", pv_lua_test);
    lua_register(L, "skip", skip);
    lua_register(L, "todo", todo);
    lua_register(L, "fail", fail);
}
