/* SPDX-License-Identifier: MIT */
/* Operations on the guest's files: stat, exists, list, mkdir, remove, rename, symlink, chmod, chown. */
#include "guest/file-op.h"

#include <string.h>

#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "util/err.h"

/* The path at idx; `what` is its name in messages. */
static LJMP const char *check_path(lua_State *L, int idx, const char *what)
{
    const char *path = pv_lua_check_cstring(L, idx, what);

    if (!*path)
        pv_lua_raise(L, "%s is empty", what);
    return path;
}

/* Ends the step; raises when rc is negative. */
static LJMP void end_step(lua_State *L, int rc, struct pv_err *err)
{
    pv_tf_step_end(pv_lua_tf(L), rc >= 0);
    if (rc < 0)
        pv_lua_raise_err(L, err);
}

/* ---- stat, exists ---- */

static LJMP void set_integer(lua_State *L, const char *key, uint64_t v)
{
    lua_pushinteger(L, (lua_Integer)v);
    lua_setfield(L, -2, key);
}

static LJMP void set_time(lua_State *L, const char *key, const struct pv_file_time *t)
{
    lua_pushnumber(L, (lua_Number)t->sec + (lua_Number)t->nsec / 1e9);
    lua_setfield(L, -2, key);
}

static LJMP void push_stat(lua_State *L, const struct pv_file_stat *st)
{
    static const char *const types[] = {
        [PV_TYPE_FILE] = "file", [PV_TYPE_DIR] = "dir",       [PV_TYPE_LINK] = "link",
        [PV_TYPE_FIFO] = "fifo", [PV_TYPE_SOCKET] = "socket", [PV_TYPE_BLOCK] = "block",
        [PV_TYPE_CHAR] = "char"};

    lua_createtable(L, 0, 12);
    lua_pushstring(L, types[st->type]);
    lua_setfield(L, -2, "type");
    set_integer(L, "mode", st->mode);
    set_integer(L, "uid", st->uid);
    set_integer(L, "gid", st->gid);
    set_integer(L, "size", st->size);
    set_integer(L, "nlink", st->nlink);
    set_integer(L, "ino", st->ino);
    set_integer(L, "dev", st->dev);
    set_integer(L, "rdev", st->rdev);
    set_time(L, "atime", &st->atime);
    set_time(L, "mtime", &st->mtime);
    set_time(L, "ctime", &st->ctime);
}

/* Whether the path at 2 is there, after the options at 3. */
static LJMP bool run_stat(lua_State *L, const char *method, const char *path_name, struct pv_file_stat *st)
{
    static const struct lua_opt opts[] = {{"follow", OPT_BOOLEAN}, {"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_agent a = pv_lua_check_agent(L, method);
    const char *path = check_path(L, 2, path_name);
    bool given = pv_lua_check_opts(L, 3, method, opts);
    bool follow = given && pv_lua_opt_bool(L, 3, "follow", false);
    int64_t timeout = given ? pv_lua_opt_time(L, 3, method, "timeout", 0) : 0;
    struct pv_err err;
    int rc;

    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "looking at '%.100s' in %s", path, a.name);
    rc = pv_agent_stat(a.a, path, follow, timeout, st, &err);
    end_step(L, rc, &err);
    return rc > 0;
}

/* vm:stat(path, {follow=false, timeout=}?) */
int pv_lua_stat(lua_State *L)
{
    struct pv_file_stat st;

    if (run_stat(L, "stat", "the path of stat", &st))
        push_stat(L, &st);
    else
        lua_pushnil(L);
    return 1;
}

/* vm:exists(path, {follow=false, timeout=}?) */
int pv_lua_exists(lua_State *L)
{
    struct pv_file_stat st;

    lua_pushboolean(L, run_stat(L, "exists", "the path of exists", &st));
    return 1;
}

/* ---- list ---- */

static void names_fini(void *p)
{
    pv_file_names_fini(p);
}

/* vm:list(path, {timeout=}?) */
int pv_lua_list(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "list");
    const char *path = check_path(L, 2, "the path of list");
    int64_t timeout = pv_lua_check_timeout(L, 3, "list", 0);
    struct pv_file_names *names = pv_lua_tmp(L, sizeof(*names), names_fini);
    struct pv_err err;

    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "listing '%.100s' in %s", path, a.name);
    end_step(L, pv_agent_list(a.a, path, timeout, names, &err), &err);
    lua_createtable(L, (int)names->n, 0);
    for (size_t i = 0; i < names->n; i++) {
        lua_pushstring(L, names->v[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    pv_file_names_fini(names); /* now: it may be large, and the collector late */
    return 1;
}

/* ---- changes ---- */

static LJMP int run_file_op(lua_State *L, const struct lua_agent *a, const struct pv_file_op *op,
                            int64_t timeout)
{
    struct pv_err err;

    pv_tf_call_begin(pv_lua_tf(L), a->vm->name, "%s '%.100s' in %s", op->name, op->path, a->name);
    end_step(L, pv_agent_file_op(a->a, op, timeout, &err), &err);
    return 0;
}

/* vm:mkdir(path, {parents=, mode=, timeout=}?) */
int pv_lua_mkdir(lua_State *L)
{
    static const struct lua_opt opts[] = {
        {"parents", OPT_BOOLEAN}, {"mode", OPT_MODE}, {"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_agent a = pv_lua_check_agent(L, "mkdir");
    struct pv_file_op op = {.op = PV_FILE_MKDIR, .name = "mkdir", .a = 0755};
    int64_t timeout = 0;

    op.path = check_path(L, 2, "the path of mkdir");
    if (pv_lua_check_opts(L, 3, "mkdir", opts)) {
        op.a = pv_lua_opt_mode(L, 3, "mkdir", "mode", 0755);
        op.b = pv_lua_opt_bool(L, 3, "parents", false);
        timeout = pv_lua_opt_time(L, 3, "mkdir", "timeout", 0);
    }
    return run_file_op(L, &a, &op, timeout);
}

/* vm:remove(path, {recursive=, timeout=}?) */
int pv_lua_remove(lua_State *L)
{
    static const struct lua_opt opts[] = {{"recursive", OPT_BOOLEAN}, {"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_agent a = pv_lua_check_agent(L, "remove");
    struct pv_file_op op = {.op = PV_FILE_REMOVE, .name = "remove"};
    bool given, recursive;
    int64_t timeout;
    struct pv_err err;

    op.path = check_path(L, 2, "the path of remove");
    given = pv_lua_check_opts(L, 3, "remove", opts);
    recursive = given && pv_lua_opt_bool(L, 3, "recursive", false);
    timeout = given ? pv_lua_opt_time(L, 3, "remove", "timeout", 0) : 0;
    if (!recursive)
        return run_file_op(L, &a, &op, timeout);
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "removing all of '%.100s' in %s", op.path, a.name);
    end_step(L, pv_agent_remove_tree(a.a, op.path, timeout, &err), &err);
    return 0;
}

/* vm:rename(old, new, {timeout=}?) */
int pv_lua_rename(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "rename");
    struct pv_file_op op = {.op = PV_FILE_RENAME, .name = "rename"};

    op.path = check_path(L, 2, "the old path of rename");
    op.other = check_path(L, 3, "the new path of rename");
    return run_file_op(L, &a, &op, pv_lua_check_timeout(L, 4, "rename", 0));
}

/* vm:symlink(target, path, {timeout=}?) */
int pv_lua_symlink(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "symlink");
    struct pv_file_op op = {.op = PV_FILE_SYMLINK, .name = "symlink"};

    op.other = check_path(L, 2, "the target of symlink");
    op.path = check_path(L, 3, "the path of symlink");
    return run_file_op(L, &a, &op, pv_lua_check_timeout(L, 4, "symlink", 0));
}

/* vm:chmod(path, mode, {timeout=}?) */
int pv_lua_chmod(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "chmod");
    struct pv_file_op op = {.op = PV_FILE_CHMOD, .name = "chmod"};

    op.path = check_path(L, 2, "the path of chmod");
    op.a = pv_lua_check_mode(L, 3, "the mode of chmod");
    return run_file_op(L, &a, &op, pv_lua_check_timeout(L, 4, "chmod", 0));
}

/* A user or group id at idx; -1 keeps what the file has. */
static LJMP uint32_t check_id(lua_State *L, int idx, const char *what)
{
    int is_int = 0;
    lua_Integer id = lua_type(L, idx) == LUA_TNUMBER ? lua_tointegerx(L, idx, &is_int) : 0;

    if (!is_int || id < -1 || id > UINT32_MAX - 1)
        pv_lua_raise(L, "%s must be a number from 0 to 4294967294, or -1 to keep it, got %s", what,
                     lua_isnone(L, idx) ? "nothing" : pv_lua_describe(L, idx));
    return (uint32_t)id;
}

/* vm:chown(path, uid, gid, {timeout=}?) */
int pv_lua_chown(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "chown");
    struct pv_file_op op = {.op = PV_FILE_CHOWN, .name = "chown"};

    op.path = check_path(L, 2, "the path of chown");
    op.a = check_id(L, 3, "the user id of chown");
    op.b = check_id(L, 4, "the group id of chown");
    return run_file_op(L, &a, &op, pv_lua_check_timeout(L, 5, "chown", 0));
}
