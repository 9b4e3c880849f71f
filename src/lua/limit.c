/* SPDX-License-Identifier: MIT */
/*
 * The timeout of a sub-test.  Three things are made to end when its time is over:
 *
 *   calls to guests, sleeping   their deadlines are no later (pv_guest_env.until, pv_lua_until)
 *   Lua code                    a hook that comes every HOOK_COUNT instructions raises
 *   what catches that           and loops on: the hook raises again and again, for GRACE (in which __close
 * and what follows a pcall may clean up) at each HOOK_COUNT instructions, after that at every single one
 *
 * What Lua's own library does in C (os.execute, io.popen, string.find) and the message handler of an xpcall
 * (Lua runs it inside the hook) are not interrupted; it is noticed when they return, and the file's timeout
 * ends them.  However the test ends then, it has failed.
 *
 * Hooks belong to coroutines. New ones inherit that of their maker; those that are there already are found in
 * a table of all, with weak keys.  The hook makes Lua slower, so it is there only while it is needed.
 */
#include <stdio.h>

#include "lua/internal.h"
#include "util/clock.h"

#define GRACE PV_NSEC_PER_SEC

enum { HOOK_COUNT = 10000, LATE_COUNT = 1000000 };

static const char threads_key; /* its address: registry key of the table of coroutines */

int64_t pv_lua_until(const struct pv_lua *pl)
{
    return pl->guest_env.until ? pl->guest_env.until : PV_FOREVER;
}

bool pv_lua_expired(const struct pv_lua *pl)
{
    return pl->guest_env.until && pv_now() >= pl->guest_env.until;
}

/* The outermost test whose time is over: ending an inner one would not help. */
static const struct lua_test *expired_test(const struct pv_lua *pl)
{
    int64_t now = pv_now();

    for (size_t i = 0; i < pl->n_open; i++)
        if (pl->tests[i].deadline && now >= pl->tests[i].deadline)
            return &pl->tests[i];
    return NULL;
}

int pv_lua_raise_expired(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    const struct lua_test *t = expired_test(pl);
    const char *sep = pl->late_doing[0] ? ", " : "";
    char limit[32];

    snprintf(limit, sizeof(limit), "%.3g", t ? (double)t->timeout_ns / PV_NSEC_PER_SEC : 0);
    if (!t || t == &pl->tests[pl->n_open - 1])
        return pv_lua_raise_as(L, PV_CLASS_TIMEOUT, "timed out after %s s%s%s", limit, sep, pl->late_doing);
    return pv_lua_raise_as(L, PV_CLASS_TIMEOUT, "the test around it, '%s', timed out after %s s%s%s", t->name,
                           limit, sep, pl->late_doing);
}

void pv_lua_check_expired(lua_State *L)
{
    if (pv_lua_expired(pv_lua_of(L)))
        pv_lua_raise_expired(L);
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    struct pv_lua *pl = pv_lua_of(L);
    int64_t now;

    (void)ar;
    if (!pl->guest_env.until) { /* a coroutine that was made by a test with a limit and outlives it */
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    now = pv_now();
    if (now < pl->guest_env.until)
        return;
    if (!pl->late_since)
        pl->late_since = now;
    lua_sethook(L, on_count, LUA_MASKCOUNT, now - pl->late_since > GRACE ? 1 : LATE_COUNT);
    pv_lua_raise_expired(L);
}

static LJMP void hook_all(lua_State *L, lua_Hook fn)
{
    int mask = fn ? LUA_MASKCOUNT : 0;

    luaL_checkstack(L, 4, NULL);
    lua_sethook(L, fn, mask, HOOK_COUNT);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &threads_key) == LUA_TTABLE) {
        lua_pushnil(L);
        while (lua_next(L, -2)) {
            lua_State *co = lua_tothread(L, -2);

            if (co)
                lua_sethook(co, fn, mask, HOOK_COUNT);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

void pv_lua_limit_changed(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    int64_t until = 0;

    for (size_t i = 0; i < pl->n_open; i++) {
        int64_t d = pl->tests[i].deadline;

        if (d && (!until || d < until))
            until = d;
    }
    if (until == pl->guest_env.until)
        return;
    pl->guest_env.until = until;
    pl->late_since = 0;
    pl->late_doing[0] = '\0';
    hook_all(L, until ? on_count : NULL);
}

void pv_lua_limit_waited(struct pv_lua *pl, int64_t ns)
{
    for (size_t i = 0; i < pl->n_open; i++)
        if (pl->tests[i].deadline)
            pl->tests[i].deadline += ns;
    if (pl->guest_env.until)
        pl->guest_env.until += ns;
}

/* ---- coroutines: known from their making on ---- */

/* Notes the thread at the top. */
static LJMP void note_thread(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &threads_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_newtable(L);
        lua_pushliteral(L, "k");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &threads_key);
    }
    lua_pushvalue(L, -2);
    lua_pushboolean(L, true);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* Lua's coroutine.create (its upvalue) and a note. */
static int co_create(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    note_thread(L);
    return 1;
}

/* Lua's coroutine.wrap; the function that it makes has the thread as its first upvalue. */
static int co_wrap(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    if (lua_getupvalue(L, -1, 1)) {
        if (lua_isthread(L, -1))
            note_thread(L);
        lua_pop(L, 1);
    }
    return 1;
}

void pv_lua_open_limit(lua_State *L)
{
    lua_getglobal(L, "coroutine");
    lua_getfield(L, -1, "create");
    lua_pushcclosure(L, co_create, 1);
    lua_setfield(L, -2, "create");
    lua_getfield(L, -1, "wrap");
    lua_pushcclosure(L, co_wrap, 1);
    lua_setfield(L, -2, "wrap");
    lua_pop(L, 1);
}
