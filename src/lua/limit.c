/* SPDX-License-Identifier: MIT */
/*
 * When the limit of a sub-test expires,
 *
 *   - calls to guests and sleeps end by themselves: their deadlines are no later (pv_guest_env.until,
 *     pv_tf_limit);
 *   - Lua code gets an error from a hook that runs every HOOK_COUNT instructions;
 *   - code that catches that error gets it again: every LATE_COUNT instructions for GRACE, in which __close
 *     and the code after a pcall may clean up, then at every instruction.
 *
 * C functions of Lua's library (os.execute, io.popen, string.find) and the message handler of an xpcall,
 * which runs inside the hook, are not interrupted: the error comes when they return, and the file's timeout
 * ends them.  The sub-test has failed in every case.
 *
 * A hook belongs to a coroutine.  New coroutines inherit their creator's; older ones are found in a table of
 * all with weak keys.  A hook slows Lua down, so it is set only while there is a limit.
 */
#include "lua/limit.h"

#include "loop/loop.h"
#include "lua/raise.h"
#include "testfile/limit.h"
#include "util/clock.h"

#define GRACE PV_NSEC_PER_SEC

/* GIVE_UP_CATCHES: errors that tasks which are given up may catch before each instruction raises one. */
enum { HOOK_COUNT = 10000, LATE_COUNT = 1000000, GIVE_UP_CATCHES = 100 };

static const char threads_key; /* its address: registry key of the table of coroutines */

static void limit_hook(lua_State *L, lua_Debug *ar)
{
    struct pv_lua *pl = pv_lua_of(L);
    int64_t until = pv_tf_limit(pl->tf), now;

    (void)ar;
    if (pv_task_cancelled(pl->tf->loop)) {
        lua_sethook(L, limit_hook, LUA_MASKCOUNT, pl->giving_up++ < GIVE_UP_CATCHES ? HOOK_COUNT : 1);
        pv_lua_raise(L, "the task was given up");
    }
    if (pl->giving_up)
        return;
    if (until == PV_FOREVER) { /* a coroutine that outlives the test that made it */
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    now = pv_now();
    if (now < until)
        return;
    if (!pl->late_since)
        pl->late_since = now;
    lua_sethook(L, limit_hook, LUA_MASKCOUNT, now - pl->late_since > GRACE ? 1 : LATE_COUNT);
    pv_lua_raise_expired(L);
}

static LJMP void set_hooks(lua_State *L, lua_Hook fn)
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
    struct pv_testfile *tf = pv_lua_tf(L);

    if (!pv_tf_limit_update(tf))
        return;
    pv_lua_of(L)->late_since = 0;
    set_hooks(L, pv_tf_limit(tf) == PV_FOREVER ? NULL : limit_hook);
}

void pv_lua_limit_give_up(lua_State *L, bool on)
{
    pv_lua_of(L)->giving_up = on;
    set_hooks(L, on || pv_tf_limit(pv_lua_tf(L)) != PV_FOREVER ? limit_hook : NULL);
}

/* ---- the table of coroutines ---- */

void pv_lua_limit_note_thread(lua_State *L)
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

/* coroutine.create; upvalue 1 is Lua's own. */
static int co_create(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    pv_lua_limit_note_thread(L);
    return 1;
}

/* coroutine.wrap; upvalue 1 is Lua's own, whose result has the thread as its first upvalue. */
static int co_wrap(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    if (lua_getupvalue(L, -1, 1)) {
        if (lua_isthread(L, -1))
            pv_lua_limit_note_thread(L);
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
