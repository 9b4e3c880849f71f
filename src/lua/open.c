/* SPDX-License-Identifier: MIT */
#include "lua/open.h"

#include <stdio.h>
#include <stdlib.h>

#include "lua/assert.h"
#include "lua/debug.h"
#include "lua/hooks.h"
#include "lua/limit.h"
#include "lua/modules.h"
#include "lua/skip.h"
#include "lua/task.h"
#include "lua/trace.h"
#include "util/err.h"

static LJMP void open_libraries(lua_State *L)
{
    pv_lua_zerocopy_open(L, &pv_lua_of(L)->alloc);
    luaL_openlibs(L);
    pv_lua_open_scripts(L);
    pv_lua_open_strings(L);
    pv_lua_open_test(L);
    pv_lua_open_hooks(L);
    pv_lua_open_log(L);
    pv_lua_open_debug(L);
    pv_lua_open_limit(L);
    pv_lua_open_assert(L);
    pv_lua_open_provium(L);
    pv_lua_open_host_command(L);
    pv_lua_open_watch(L);
    pv_lua_open_arity(L);
}

/* Opens the libraries and leaves the file's chunk on the stack. */
static int open_and_load(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    const struct pv_testfile *tf = pl->tf;

    open_libraries(L);
    pv_tf_reads(pl->tf, tf->builder ? tf->builder->script : tf->path);
    if (luaL_loadfilex(L, tf->path, "t") != LUA_OK) {
        pv_lua_add_error_line(L, tf->path);
        return lua_error(L);
    }
    return 1;
}

/* Runs what the file deferred. Argument: the struct lua_calls, then the failure of the chunk or nil. */
static int run_defers(lua_State *L)
{
    struct lua_calls *c = lua_touserdata(L, 1);

    pv_lua_calls_begin(L, c);
    if (!lua_isnil(L, 2))
        pv_lua_calls_fail(L, c, pv_lua_of(L)->error_cls, pv_lua_message(L, 2));
    pv_lua_run_file_defers(L, c);
    pv_lua_tasks_settle(L, PV_NO_TEST, c);
    lua_pushstring(L, pv_lua_calls_text(L, c));
    return 1;
}

/* The chunk has ended with rc, its results or its error on the stack: as pv_lua_run. */
static bool file_end(lua_State *L, struct pv_lua *pl, int rc)
{
    bool left = rc != LUA_OK && pv_lua_is_skip(L, -1);
    enum pv_outcome outcome = pl->tf->tests.outcome;
    struct lua_calls c;

    lua_pushcfunction(L, run_defers);
    lua_pushlightuserdata(L, &c);
    if (rc == LUA_OK || left)
        lua_pushnil(L);
    else
        lua_pushvalue(L, -3);
    if (lua_pcall(L, 2, 1, 0) != LUA_OK)
        return false; /* out of memory */
    pl->tf->tests.outcome = outcome;
    if (c.failed) {
        pl->error_cls = c.cls;
        return false;
    }
    lua_pop(L, 1);
    return true;
}

static int open_alone(lua_State *L)
{
    open_libraries(L);
    return 0;
}

/* Runs the function on the bottom of the stack with the arguments above it, then what it deferred. */
static bool run_chunk(lua_State *L, struct pv_lua *pl, int results)
{
    int rc;

    lua_pushcfunction(L, pv_lua_msgh_failing);
    lua_insert(L, 1);
    rc = lua_pcall(L, lua_gettop(L) - 2, results, 1);
    lua_remove(L, 1);
    if (rc != LUA_OK && rc != LUA_ERRRUN) /* out of memory: the handler was not called */
        pl->error_cls = PV_CLASS_LUA;
    return file_end(L, pl, rc);
}

bool pv_lua_run(lua_State *L, struct pv_lua *pl, int results)
{
    pl->error_cls = PV_CLASS_LUA;
    lua_pushcfunction(L, open_and_load);
    return lua_pcall(L, 0, 1, 0) == LUA_OK && run_chunk(L, pl, results);
}

bool pv_lua_run_function(lua_State *L, struct pv_lua *pl, lua_CFunction fn, void *arg)
{
    pl->error_cls = PV_CLASS_LUA;
    lua_pushcfunction(L, open_alone);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK)
        return false;
    lua_pushcfunction(L, fn);
    lua_pushlightuserdata(L, arg);
    return run_chunk(L, pl, 1);
}

const char *pv_lua_message(lua_State *L, int idx)
{
    return lua_tostring(L, idx) ? lua_tostring(L, idx) : "error without a message";
}

lua_State *pv_lua_open(struct pv_lua *pl, struct pv_testfile *tf, struct pv_err *err)
{
    lua_State *L = NULL;

    setvbuf(stdout, NULL, _IOLBF, 0); /* stdout is a pipe: lines printed before a crash must not be lost */
    *pl = (struct pv_lua){.tf = tf};
    if (pv_testfile_open(tf, err) == 0) {
        L = luaL_newstate();
        if (!L)
            pv_err_set(err, PV_E_HOST, "no memory for a Lua state");
    }
    if (!L) {
        pv_testfile_close(tf);
        return NULL;
    }
    *(struct pv_lua **)lua_getextraspace(L) = pl;
    return L;
}

void pv_lua_end(struct pv_lua *pl, lua_State *L)
{
    pv_testfile_end_guests(pl->tf);
    lua_close(L);
    pv_testfile_end_guests(pl->tf); /* those that a finalizer has started */
    free(pl->alloc.block);
}

void pv_lua_close(struct pv_lua *pl, lua_State *L)
{
    pv_lua_end(pl, L);
    pv_testfile_close(pl->tf);
}
