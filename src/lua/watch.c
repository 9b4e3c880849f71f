/* SPDX-License-Identifier: MIT */
/*
 * Functions of Lua's own libraries through which a script reads the host, each told first and then called.
 * What goes through another program (io.popen, os.execute) or through a C module can not be seen;
 * provium.depends is for that.
 */
#include "lua/watch.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lua/build.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

/* Absolute, without "." and doubled slashes; ".." stays, because links may be in front of it. */
static char *normal_path(const char *path)
{
    char cwd[PATH_MAX];
    cleanup_free char *full = pv_path_join(path[0] == '/' || !getcwd(cwd, sizeof(cwd)) ? "/" : cwd, path);
    char *to = full;

    for (const char *p = full; *p;) {
        size_t n = strcspn(p, "/");

        if (n && !(n == 1 && p[0] == '.')) {
            *to++ = '/';
            memmove(to, p, n);
            to += n;
        }
        p += n;
        p += strspn(p, "/");
    }
    if (to == full)
        *to++ = '/';
    *to = '\0';
    return pv_steal(&full);
}

/* The path, or a directory above it, was written by the script. */
static bool is_own(const struct lua_build *b, const char *path)
{
    for (size_t i = 0; i < b->wrote.n; i++) {
        size_t n = strlen(b->wrote.v[i]);

        if (!strncmp(path, b->wrote.v[i], n) && (path[n] == '/' || !path[n]))
            return true;
    }
    return false;
}

static void reads(struct pv_lua *pl, const char *path, bool tree)
{
    cleanup_free char *full = NULL;

    if (!pl->build)
        return;
    full = normal_path(path);
    if (is_own(pl->build, full))
        return;
    if (path[0] != '/')
        pl->build->used_cwd = true;
    pv_lua_build_input(pl->build, full, tree);
}

void pv_lua_reads(struct pv_lua *pl, const char *path)
{
    reads(pl, path, false);
}

void pv_lua_reads_tree(struct pv_lua *pl, const char *path)
{
    reads(pl, path, true);
}

void pv_lua_wrote(struct pv_lua *pl, const char *path)
{
    if (pl->build)
        pv_strv_take(&pl->build->wrote, normal_path(path));
}

void pv_lua_reads_search(struct pv_lua *pl, const char *name, const char *templates, const char *sep,
                         const char *rep)
{
    cleanup_buf struct pv_buf file = {0};

    if (!pl->build)
        return;
    for (const char *c = name; *c;) { /* as package.searchpath does: every sep becomes rep */
        if (*sep && !strncmp(c, sep, strlen(sep))) {
            pv_buf_adds(&file, rep);
            c += strlen(sep);
        } else {
            pv_buf_addc(&file, *c++);
        }
    }
    for (const char *t = templates; file.data && *t;) {
        cleanup_buf struct pv_buf path = {0};
        size_t n = strcspn(t, ";");

        for (size_t i = 0; i < n; i++) {
            if (t[i] == '?')
                pv_buf_add(&path, file.data, file.len);
            else
                pv_buf_addc(&path, t[i]);
        }
        t += n;
        t += strspn(t, ";");
        if (!path.data)
            continue;
        pv_lua_reads(pl, path.data);
        if (access(path.data, R_OK) == 0)
            return;
    }
}

/* ---- the functions of the libraries; each closure's upvalue 1 is the one that it stands for ---- */

static LJMP int call_on(lua_State *L)
{
    int n = lua_gettop(L);

    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

/* The path at idx when it is one; what is none is the original's to refuse. */
static const char *path_arg(lua_State *L, int idx)
{
    return lua_type(L, idx) == LUA_TSTRING ? lua_tostring(L, idx) : NULL;
}

static int watched_read(lua_State *L) /* io.lines, io.input */
{
    const char *path = path_arg(L, 1);

    if (path)
        pv_lua_reads(pv_lua_of(L), path);
    return call_on(L);
}

static int watched_write(lua_State *L) /* io.output, os.remove, os.rename */
{
    struct pv_lua *pl = pv_lua_of(L);

    for (int i = 1; i <= 2; i++)
        if (path_arg(L, i))
            pv_lua_wrote(pl, path_arg(L, i));
    return call_on(L);
}

/* "w" and "a" read nothing; "r+", "w+" and "a+" may do both. */
static int watched_open(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    const char *path = path_arg(L, 1), *mode = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "r";

    if (path && (mode[0] == 'r' || (mode[0] == 'a' && strchr(mode, '+'))))
        pv_lua_reads(pl, path);
    if (path && (mode[0] == 'w' || mode[0] == 'a' || strchr(mode, '+')))
        pv_lua_wrote(pl, path);
    return call_on(L);
}

static int watched_tmpname(lua_State *L)
{
    int n = call_on(L);

    if (n > 0 && path_arg(L, 1))
        pv_lua_wrote(pv_lua_of(L), path_arg(L, 1));
    return n;
}

static int watched_getenv(lua_State *L)
{
    if (path_arg(L, 1))
        pv_lua_build_env(pv_lua_of(L)->build, lua_tostring(L, 1));
    return call_on(L);
}

static int watched_searchpath(lua_State *L)
{
    if (path_arg(L, 1) && path_arg(L, 2))
        pv_lua_reads_search(pv_lua_of(L), lua_tostring(L, 1), lua_tostring(L, 2), luaL_optstring(L, 3, "."),
                            luaL_optstring(L, 4, LUA_DIRSEP));
    return call_on(L);
}

/* What is behind our own searcher: package.path, then package.cpath for the name and for its root. */
static int watched_searcher(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    const char *name = luaL_checkstring(L, 1), *root;

    lua_settop(L, 1);
    lua_getglobal(L, "package");
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "path");
        if (path_arg(L, -1))
            pv_lua_reads_search(pl, name, lua_tostring(L, -1), ".", LUA_DIRSEP);
        lua_getfield(L, 2, "cpath");
        if (path_arg(L, -1)) {
            root = lua_pushlstring(L, name, strcspn(name, "."));
            pv_lua_reads_search(pl, name, lua_tostring(L, -2), ".", LUA_DIRSEP);
            pv_lua_reads_search(pl, root, lua_tostring(L, -2), ".", LUA_DIRSEP);
        }
    }
    lua_pushliteral(L, ""); /* finds nothing itself */
    return 1;
}

static LJMP void wrap(lua_State *L, const char *library, const char *name, lua_CFunction fn)
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

    if (!pv_lua_of(L)->build)
        return;
    for (size_t i = 0; i < PV_ARRAY_LEN(watched); i++)
        wrap(L, watched[i].library, watched[i].name, watched[i].fn);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = luaL_len(L, -1); i >= 3; i--) { /* behind package.preload and our own */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, watched_searcher);
    lua_rawseti(L, -2, 3);
    lua_pop(L, 2);
}

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
