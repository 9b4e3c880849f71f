/* SPDX-License-Identifier: MIT */
#include "lua/open.h"

#include <stdio.h>
#include <stdlib.h>

#include "lua/assert.h"
#include "lua/limit.h"
#include "lua/modules.h"
#include "lua/skip.h"
#include "lua/trace.h"
#include "util/err.h"

/* Opens the libraries and leaves the file's chunk on the stack. */
static int open_and_load(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    const struct pv_testfile *tf = pl->tf;

    pv_lua_zerocopy_open(L, &pl->alloc);
    luaL_openlibs(L);
    pv_lua_open_scripts(L);
    pv_lua_open_strings(L);
    pv_lua_open_test(L);
    pv_lua_open_limit(L);
    pv_lua_open_assert(L);
    pv_lua_open_provium(L);
    pv_lua_open_watch(L);
    pv_tf_reads(pl->tf, tf->builder ? tf->builder->script : tf->path);
    if (luaL_loadfilex(L, tf->path, "t") != LUA_OK) {
        pv_lua_add_error_line(L, tf->path);
        return lua_error(L);
    }
    return 1;
}

bool pv_lua_run(lua_State *L, struct pv_lua *pl, int results)
{
    int rc;

    pl->error_cls = PV_CLASS_LUA;
    lua_pushcfunction(L, open_and_load);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK)
        return false;
    lua_pushcfunction(L, pv_lua_msgh);
    lua_insert(L, 1);
    rc = lua_pcall(L, 0, results, 1);
    lua_remove(L, 1);
    if (rc == LUA_OK)
        return true;
    if (rc != LUA_ERRRUN) /* out of memory: the handler was not called */
        pl->error_cls = PV_CLASS_LUA;
    if (!pv_lua_is_skip(L, -1))
        return false;
    return pl->tf->tests.outcome != PV_OK; /* always so: skip() sets it before it raises */
}

const char *pv_lua_message(lua_State *L)
{
    return lua_tostring(L, -1) ? lua_tostring(L, -1) : "error without a message";
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

void pv_lua_close(struct pv_lua *pl, lua_State *L)
{
    pv_testfile_end_guests(pl->tf);
    lua_close(L);
    free(pl->alloc.block);
    for (size_t i = 0; i < LUA_N_RAISED; i++)
        free(pl->raised[i].text);
    pv_testfile_close(pl->tf);
}
