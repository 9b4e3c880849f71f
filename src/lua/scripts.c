/* SPDX-License-Identifier: MIT */
/* How scripts find other scripts, names of Lua 5.1, and os.exit. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lua/modules.h"
#include "lua/scripts.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "testfile/builder-main.h"
#include "testfile/hostpath.h"
#include "util/mem.h"

/* Pushes the chunk, or a message; a status of luaL_loadfilex. */
static LJMP int load_found(lua_State *L, const char *path, const char *mode)
{
    char found[PATH_MAX];

    if (!pv_tf_find(pv_lua_tf(L), path, found)) {
        lua_pushfstring(
            L, "cannot find '%s' in the working directory, the project root or the test's directory", path);
        return LUA_ERRFILE;
    }
    return luaL_loadfilex(L, found, mode);
}

static int script_loadfile(lua_State *L)
{
    const char *path = pv_lua_check_cstring(L, 1, "the path for loadfile");
    const char *mode = luaL_optstring(L, 2, NULL);
    bool has_env = !lua_isnone(L, 3);

    if (load_found(L, path, mode) != LUA_OK) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (has_env) {
        lua_pushvalue(L, 3);
        if (!lua_setupvalue(L, -2, 1))
            lua_pop(L, 1);
    }
    return 1;
}

static int dofile_done(lua_State *L, int status, lua_KContext top)
{
    (void)status;
    return lua_gettop(L) - (int)top;
}

static int script_dofile(lua_State *L)
{
    const char *path = pv_lua_check_cstring(L, 1, "the path for dofile");

    lua_settop(L, 1);
    if (load_found(L, path, NULL) == LUA_ERRFILE)
        return pv_lua_raise(L, "%s", lua_tostring(L, -1));
    if (!lua_isfunction(L, -1))
        return lua_error(L); /* a syntax error has its own position */
    lua_callk(L, 0, LUA_MULTRET, 1, dofile_done);
    return dofile_done(L, LUA_OK, 1);
}

static void search_free(void *p)
{
    pv_strv_free(p);
}

/* Pushes the path of NAME.lua or NAME/init.lua below one of the directories, dots being slashes; false: none. */
static LJMP bool push_module(lua_State *L, const char *rel)
{
    static const char *const forms[] = {"%s.lua", "%s/init.lua"};
    struct pv_strv *dirs = pv_lua_tmp(L, sizeof(*dirs), search_free);

    pv_tf_require_dirs(pv_lua_tf(L), dirs);
    for (size_t i = 0; i < dirs->n; i++)
        for (size_t j = 0; j < PV_ARRAY_LEN(forms); j++) {
            const char *dir = lua_pushfstring(L, *dirs->v[i] ? "%s/" : "", dirs->v[i]);
            const char *path = lua_pushfstring(L, "%s%s", dir, lua_pushfstring(L, forms[j], rel));

            pv_tf_reads(pv_lua_tf(L), path);
            if (access(path, F_OK) == 0)
                return true;
            lua_pop(L, 3);
        }
    return false;
}

/* For require. */
static int script_searcher(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *rel = luaL_gsub(L, name, ".", "/"), *found;

    if (!push_module(L, rel)) {
        lua_pushfstring(
            L,
            "no file '%s.lua' or '%s/init.lua' in the test's directory or those above it up to the "
            "given one (of a file given by its path: the project's), beside provium.toml, or in the working "
            "directory",
            rel, rel);
        return 1;
    }
    found = lua_tostring(L, -1);
    if (luaL_loadfile(L, found) != LUA_OK)
        return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, found,
                          lua_tostring(L, -1));
    lua_pushstring(L, found);
    return 2;
}

void pv_lua_exit(lua_State *L, int code, const char *how)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    const char *msg;

    pv_lua_where(L);
    msg = lua_tostring(L, -1);
    msg = lua_pushfstring(L, "%s before the file was finished%s%s", how, *msg ? "\nat " : "",
                          luaL_gsub(L, msg, ": ", ""));
    if (tf->builder)
        pv_tf_builder_exit(tf, msg);
    pv_tf_save_failed(tf, how);
    pv_tf_tests_fail(tf, how);
    pv_tf_tails_send(tf, PV_NO_TEST);
    pv_tf_guests_kill(&tf->guests);
    fflush(NULL);
    pv_result_file(tf->env->result, PV_FAIL, PV_CLASS_LUA, msg);
    _exit(code & 0xff);
}

/*
 * os.exit: the file has failed, whatever the code is, because it did not finish.  The Lua state is not
 * closed: finalizers of the script would run in it.
 */
static int script_exit(lua_State *L)
{
    int code = lua_isboolean(L, 1) ? !lua_toboolean(L, 1) : (int)luaL_optinteger(L, 1, 0);
    char how[64];

    snprintf(how, sizeof(how), "ended by os.exit(%d)", code);
    pv_lua_exit(L, code, how);
}

void pv_lua_open_scripts(lua_State *L)
{
    lua_register(L, "dofile", script_dofile);
    lua_register(L, "loadfile", script_loadfile);
    lua_getglobal(L, "load");
    lua_setglobal(L, "loadstring");
    lua_getglobal(L, "table");
    lua_getfield(L, -1, "unpack");
    lua_setglobal(L, "unpack");
    lua_getglobal(L, "os");
    lua_pushcfunction(L, script_exit);
    lua_setfield(L, -2, "exit");
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) { /* ours becomes the second, behind package.preload */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, script_searcher);
    lua_rawseti(L, -2, 2);
    lua_settop(L, 0);
}
