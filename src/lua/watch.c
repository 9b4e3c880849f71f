/* SPDX-License-Identifier: MIT */
/*
 * In a fixture's builder, and in all files with --watch: functions of Lua's own libraries through which a script reads the host, each
 * replaced by one that records the path first.  Reads by another program (io.popen, os.execute) or a C module
 * cannot be recorded; provium.depends is for those.
 */
#include <string.h>

#include "lua/modules.h"
#include "lua/options.h"
#include "lua/provium.h"
#include "lua/raise.h"
#include "util/mem.h"

/* ---- replacements: upvalue 1 is the original ---- */

static LJMP int call_original(lua_State *L)
{
    int n = lua_gettop(L);

    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

/* The path at idx; NULL: no string, which the original refuses. */
static const char *path_arg(lua_State *L, int idx)
{
    return lua_type(L, idx) == LUA_TSTRING ? lua_tostring(L, idx) : NULL;
}

static int watched_read(lua_State *L) /* io.lines, io.input */
{
    const char *path = path_arg(L, 1);

    if (path)
        pv_tf_reads(pv_lua_tf(L), path);
    return call_original(L);
}

static int watched_write(lua_State *L) /* io.output, os.remove, os.rename */
{
    struct pv_testfile *tf = pv_lua_tf(L);

    for (int i = 1; i <= 2; i++)
        if (path_arg(L, i))
            pv_tf_wrote(tf, path_arg(L, i));
    return call_original(L);
}

/* "w" and "a" read nothing; "r+", "w+" and "a+" may do both. */
static int watched_open(lua_State *L)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    const char *path = path_arg(L, 1), *mode = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "r";

    if (path && (mode[0] == 'r' || (mode[0] == 'a' && strchr(mode, '+'))))
        pv_tf_reads(tf, path);
    if (path && (mode[0] == 'w' || mode[0] == 'a' || strchr(mode, '+')))
        pv_tf_wrote(tf, path);
    return call_original(L);
}

static int watched_tmpname(lua_State *L)
{
    int n = call_original(L);

    if (n > 0 && path_arg(L, 1))
        pv_tf_wrote(pv_lua_tf(L), path_arg(L, 1));
    return n;
}

static int watched_getenv(lua_State *L)
{
    if (path_arg(L, 1))
        pv_tf_reads_env(pv_lua_tf(L), lua_tostring(L, 1));
    return call_original(L);
}

static int watched_searchpath(lua_State *L)
{
    if (path_arg(L, 1) && path_arg(L, 2))
        pv_tf_reads_search(pv_lua_tf(L), lua_tostring(L, 1), lua_tostring(L, 2), luaL_optstring(L, 3, "."),
                           luaL_optstring(L, 4, LUA_DIRSEP));
    return call_original(L);
}

/* In front of Lua's searchers: records package.path, then package.cpath for the name and for its root. */
static int watched_searcher(lua_State *L)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    const char *name = luaL_checkstring(L, 1), *root;

    lua_settop(L, 1);
    lua_getglobal(L, "package");
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "path");
        if (path_arg(L, -1))
            pv_tf_reads_search(tf, name, lua_tostring(L, -1), ".", LUA_DIRSEP);
        lua_getfield(L, 2, "cpath");
        if (path_arg(L, -1)) {
            root = lua_pushlstring(L, name, strcspn(name, "."));
            pv_tf_reads_search(tf, name, lua_tostring(L, -2), ".", LUA_DIRSEP);
            pv_tf_reads_search(tf, root, lua_tostring(L, -2), ".", LUA_DIRSEP);
        }
    }
    lua_pushliteral(L, ""); /* found nothing */
    return 1;
}

static LJMP void replace_function(lua_State *L, const char *library, const char *name, lua_CFunction fn)
{
    lua_getglobal(L, library);
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, fn, 1);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

void pv_lua_open_watch(lua_State *L)
{
    static const struct {
        const char *library, *name;
        lua_CFunction fn;
    } watched[] = {
        {"io", "open", watched_open},
        {"io", "lines", watched_read},
        {"io", "input", watched_read},
        {"io", "output", watched_write},
        {"os", "remove", watched_write},
        {"os", "rename", watched_write},
        {"os", "tmpname", watched_tmpname},
        {"os", "getenv", watched_getenv},
        {"package", "searchpath", watched_searchpath},
    };

    if (!pv_lua_tf(L)->builder && !pv_lua_tf(L)->env->watch)
        return;
    for (size_t i = 0; i < PV_ARRAY_LEN(watched); i++)
        replace_function(L, watched[i].library, watched[i].name, watched[i].fn);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = luaL_len(L, -1); i >= 3;
         i--) { /* ours becomes the third, behind package.preload and script_searcher */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, watched_searcher);
    lua_rawseti(L, -2, 3);
    lua_pop(L, 2);
}

/* provium.depends(path...) */
int pv_lua_depends(lua_State *L)
{
    int n = lua_gettop(L);
    char found[PATH_MAX];

    if (n == 0)
        pv_lua_raise(L,
                     "provium.depends needs the paths of files and directories that the fixture is made of");
    for (int i = 1; i <= n; i++)
        pv_lua_find_host(L, pv_lua_check_cstring(L, i, "a path for provium.depends"), "provium.depends",
                         found);
    return 0;
}
