/* SPDX-License-Identifier: MIT */
/* provium.async, provium.all, and the methods of tasks. */
#include <stdio.h>

#include "lua/options.h"
#include "lua/raise.h"
#include "lua/task.h"
#include "util/clock.h"

/* provium.async(fn, ...) */
int pv_lua_async(lua_State *L)
{
    if (!lua_isfunction(L, 1))
        pv_lua_raise(L, "provium.async needs a function and its arguments, got %s",
                     lua_isnone(L, 1) ? "nothing" : pv_lua_describe(L, 1));
    pv_lua_task_start(L, lua_gettop(L) - 1);
    return 1;
}

/* task:done() */
int pv_lua_task_done(lua_State *L)
{
    const struct lua_task *t = pv_lua_check_task(L, 1, "done");

    lua_pushboolean(L, t->state != LUA_TASK_RUNS);
    return 1;
}

/* The deadline of a positional timeout at idx, which may be left out. */
static LJMP int64_t check_deadline(lua_State *L, int idx, const char *what, int64_t *timeout)
{
    *timeout = pv_lua_check_time(L, idx, what, PV_FOREVER);
    return *timeout == PV_FOREVER ? PV_FOREVER : pv_deadline(*timeout);
}

/* Pushes ", it is running 'x' in vm1" or nothing. */
static LJMP const char *push_doing(lua_State *L, const struct lua_task *t)
{
    const char *doing = t->context.timeline.doing;

    return lua_pushfstring(L, "%s%s", doing[0] ? ": " : "", doing);
}

/* task:wait(timeout?) */
int pv_lua_task_wait(lua_State *L)
{
    struct lua_task *t = pv_lua_check_task(L, 1, "wait");
    int64_t timeout, deadline = check_deadline(L, 2, "wait", &timeout);
    char what[320];

    snprintf(what, sizeof(what), "waiting for task %u (begun at %s)", t->number, t->begun);
    pv_lua_tasks_await(L, &t, 1, deadline, what);
    if (t->state == LUA_TASK_RUNS) {
        snprintf(what, sizeof(what), "%g", (double)timeout / PV_NSEC_PER_SEC);
        return pv_lua_raise_as(L, PV_CLASS_TIMEOUT,
                               "the task begun at %s has not ended within %s s; it goes on%s", t->begun, what,
                               push_doing(L, t));
    }
    return pv_lua_task_result(L, t);
}

/* ---- all ---- */

/* The tasks of a call; stack index TASKS has the table that keeps them. */
enum { FNS = 1, TIMEOUT, TASKS, LIST };

struct all_call {
    size_t n;
    struct lua_task *task[];
};

static LJMP struct all_call *check_functions(lua_State *L)
{
    struct all_call *c;
    lua_Integer n;

    if (!lua_istable(L, FNS))
        pv_lua_raise(L, "provium.all needs a list of functions, got %s",
                     lua_isnone(L, FNS) ? "nothing" : pv_lua_describe(L, FNS));
    n = pv_lua_list_len(L, FNS);
    if (n < 0)
        pv_lua_raise(L,
                     "provium.all needs a list of functions; this table has other keys than 1 to its length");
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, FNS, i) != LUA_TFUNCTION)
            pv_lua_raise(L, "provium.all needs a list of functions; element %d is %s", (int)i,
                         pv_lua_describe(L, -1));
        lua_pop(L, 1);
    }
    lua_settop(L, TIMEOUT);
    lua_createtable(L, (int)n, 0);
    c = lua_newuserdatauv(L, sizeof(*c) + (size_t)n * sizeof(c->task[0]), 0);
    c->n = (size_t)n;
    return c;
}

static bool task_is_listed(const struct lua_task *t, const void *arg)
{
    const struct all_call *c = arg;

    for (size_t i = 0; i < c->n; i++)
        if (c->task[i] == t)
            return true;
    return false;
}

/* Gives up the functions that run, because no handle of them is left, and raises. */
static LJMP int all_timed_out(lua_State *L, struct all_call *c, int64_t timeout)
{
    luaL_Buffer b;
    size_t n = 0;
    char text[400];

    for (size_t i = 0; i < c->n; i++)
        n += c->task[i]->state == LUA_TASK_RUNS;
    luaL_buffinit(L, &b);
    snprintf(text, sizeof(text),
             "provium.all: %zu of %zu functions had not ended within %g s and were given up", n, c->n,
             (double)timeout / PV_NSEC_PER_SEC);
    luaL_addstring(&b, text);
    for (size_t i = 0; i < c->n; i++) {
        const char *doing = c->task[i]->context.timeline.doing;

        if (c->task[i]->state == LUA_TASK_RUNS) {
            snprintf(text, sizeof(text), "\nfunction %zu%s%s", i + 1, *doing ? ": " : "", doing);
            luaL_addstring(&b, text);
        }
        c->task[i]->asked = true;
    }
    luaL_pushresult(&b);
    pv_lua_tasks_give_up(L, task_is_listed, c);
    return pv_lua_raise_as(L, PV_CLASS_TIMEOUT, "%s", lua_tostring(L, -1));
}

/* Whether a's end counts before b's: a failure before a skip(), which must not hide it; else the earlier one. */
static bool end_is_worse(const struct lua_task *a, const struct lua_task *b)
{
    return a->state != b->state ? a->state == LUA_TASK_FAILED : a->ended < b->ended;
}

/* All have ended: raises the error that came first. */
static LJMP void raise_first(lua_State *L, struct all_call *c)
{
    struct lua_task *first = NULL;

    for (size_t i = 0; i < c->n; i++) {
        struct lua_task *t = c->task[i];

        t->asked = true;
        if (t->state != LUA_TASK_RETURNED && (!first || end_is_worse(t, first)))
            first = t;
    }
    if (first)
        pv_lua_task_result(L, first);
}

/* provium.all(fns, timeout?) */
int pv_lua_all(lua_State *L)
{
    int64_t timeout, deadline = check_deadline(L, TIMEOUT, "provium.all", &timeout);
    struct all_call *c = check_functions(L);
    char what[64];

    for (size_t i = 0; i < c->n; i++) {
        lua_rawgeti(L, FNS, (lua_Integer)i + 1);
        c->task[i] = pv_lua_task_start(L, 0);
        lua_rawseti(L, TASKS, (lua_Integer)i + 1);
    }
    snprintf(what, sizeof(what), "waiting for %zu functions of provium.all", c->n);
    pv_lua_tasks_await(L, c->task, c->n, deadline, what);
    for (size_t i = 0; i < c->n; i++)
        if (c->task[i]->state == LUA_TASK_RUNS)
            return all_timed_out(L, c, timeout);
    raise_first(L, c);
    lua_createtable(L, (int)c->n, 0);
    for (size_t i = 0; i < c->n; i++) {
        int top = lua_gettop(L);

        pv_lua_task_result(L, c->task[i]);
        lua_settop(L, top + 1);
        lua_rawseti(L, top, (lua_Integer)i + 1);
    }
    return 1;
}
