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

/* test(name, fn): runs fn at once; true when it neither failed nor was skipped. */
int pv_lua_test(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    const char *name = pv_lua_check_cstring(L, 1, "the name of a test");
    struct lua_test *t;
    size_t depth = pl->n_open;
    enum pv_class outer = pl->error_cls, cls;
    struct pv_err err;
    int rc;

    if (!lua_isfunction(L, 2))
        pv_lua_raise(L, "test(\"%s\") needs a function as its second argument, got %s", name,
                     lua_isnone(L, 2) ? "nothing" : luaL_typename(L, 2));
    if (pl->build)
        pv_lua_raise(L,
                     "test(\"%s\") does not belong into a fixture, whose script prepares a VM; to refuse it, "
                     "raise an error",
                     name);
    if (depth == MAX_NESTED_TESTS)
        pv_lua_raise(L, "tests are nested more than %d deep", MAX_NESTED_TESTS);
    lua_settop(L, 2);
    pl->touched = true;
    pv_lua_settle_findings(pl);
    t = &pl->tests[depth];
    *t = (struct lua_test){.started = pv_now()};
    t->name = depth ? pv_xasprintf("%s \xe2\x80\xba %s", pl->tests[depth - 1].name, name) : pv_xstrdup(name);
    t->id = pv_result_test_begin(pl->env->result, t->name);
    pl->command.words[0] = '\0';
    pl->n_open++; /* from here on the list owns it */
    pl->n_tests++;
    if (depth == 0 && pv_lua_reset_begin(L, &err) < 0) {
        end_test(pl, PV_FAIL, pv_lua_err_class(&err), err.text);
        lua_pushboolean(L, false);
        return 1;
    }
    lua_pushcfunction(L, pv_lua_msgh);
    lua_pushvalue(L, 2);
    rc = lua_pcall(L, 0, 0, 3);
    cls = rc == LUA_ERRRUN ? pl->error_cls : PV_CLASS_LUA;
    pl->error_cls = outer; /* a __close that runs tests is called between the handler and our caller */
    if (rc == LUA_OK || pv_lua_is_skip(L, -1)) {
        lua_pushboolean(L, end_test(pl, t->outcome, PV_CLASS_NONE, t->reason) == PV_OK);
        return 1;
    }
    end_test(pl, PV_FAIL, cls, lua_tostring(L, -1) ? lua_tostring(L, -1) : "error without a message");
    lua_pushboolean(L, false);
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
