/* SPDX-License-Identifier: MIT */
/* What a running VM is asked to do: exec, read_file, write_file, mount_vfs. */
#include <string.h>

#include "lua/vm.h"
#include "util/clock.h"
#include "util/err.h"
#include "wire/proto.h"

/* ---- exec ---- */

struct exec_call {
    struct pv_exec x;
    struct pv_exec_result r;
};

static void exec_fini(void *p)
{
    struct exec_call *c = p;

    pv_strv_free(&c->x.argv);
    pv_strv_free(&c->x.env);
    pv_exec_result_fini(&c->r);
}

static LJMP void exec_argv(lua_State *L, int idx, struct pv_strv *argv)
{
    lua_Integer n;

    if (lua_type(L, idx) == LUA_TSTRING) {
        const char *cmd = pv_lua_check_cstring(L, idx, "the command");

        pv_strv_add(argv, "/bin/sh");
        pv_strv_add(argv, "-c");
        pv_strv_add(argv, cmd);
        return;
    }
    if (!lua_istable(L, idx))
        pv_lua_raise(
            L,
            "exec needs a command: a string for the shell, or a list of a program and its arguments; "
            "got %s",
            pv_lua_describe(L, idx));
    n = (lua_Integer)lua_rawlen(L, idx);
    if (n == 0)
        pv_lua_raise(L, "exec got an empty list; expected a program and its arguments");
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, idx, i) == LUA_TNUMBER)
            lua_tostring(L, -1);
        pv_strv_add(argv, pv_lua_check_cstring(L, -1, "an argument of exec"));
        lua_pop(L, 1);
    }
}

static LJMP void exec_env(lua_State *L, int opts, struct pv_strv *env)
{
    if (lua_getfield(L, opts, "env") != LUA_TTABLE) {
        lua_pop(L, 1);
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;

        if (!key || !*key || strchr(key, '='))
            pv_lua_raise(
                L, "exec option 'env' maps names to values, such as {LANG = \"C\"}; it has %s as a name",
                pv_lua_describe(L, -2));
        if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
            pv_lua_raise(L, "exec option 'env': '%s' must be a string, got %s", key, pv_lua_describe(L, -1));
        lua_tostring(L, -1);
        pv_strv_addf(env, "%s=%s", key, pv_lua_check_cstring(L, -1, "a value of exec option 'env'"));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static LJMP void exec_options(lua_State *L, int idx, struct pv_exec *x)
{
    static const struct lua_opt opts[] = {
        {"env", OPT_TABLE}, {"cwd", OPT_STRING}, {"stdin", OPT_STRING}, {"timeout", OPT_TIME}, {NULL, 0}};

    if (!pv_lua_check_opts(L, idx, "exec", opts))
        return;
    exec_env(L, idx, &x->env);
    x->timeout_ns = pv_lua_opt_time(L, idx, "exec", "timeout", 0);
    /* both strings stay in the options table, which the caller's stack holds */
    if (lua_getfield(L, idx, "cwd") == LUA_TSTRING)
        x->cwd = pv_lua_check_cstring(L, -1, "exec option 'cwd'");
    if (lua_getfield(L, idx, "stdin") == LUA_TSTRING)
        x->in = lua_tolstring(L, -1, &x->in_len);
    lua_pop(L, 2);
}

static LJMP void push_exec_result(lua_State *L, const struct pv_exec_result *r)
{
    lua_createtable(L, 0, 8);
    lua_pushboolean(L, r->exit_code == 0 && r->signal == 0 && !r->timed_out);
    lua_setfield(L, -2, "ok");
    lua_pushinteger(L, r->exit_code);
    lua_setfield(L, -2, "exit_code");
    lua_pushlstring(L, r->out.data ? r->out.data : "", r->out.len);
    lua_setfield(L, -2, "stdout");
    lua_pushlstring(L, r->err.data ? r->err.data : "", r->err.len);
    lua_setfield(L, -2, "stderr");
    if (r->signal) {
        lua_pushinteger(L, r->signal);
        lua_setfield(L, -2, "signal");
    }
    lua_pushboolean(L, r->timed_out);
    lua_setfield(L, -2, "timed_out");
    lua_pushnumber(L, (double)r->duration_ns / PV_NSEC_PER_SEC);
    lua_setfield(L, -2, "duration");
}

int pv_lua_vm_exec(lua_State *L)
{
    struct lua_guest *g = pv_lua_check_vm(L, "exec");
    struct exec_call *c;
    struct pv_err err;
    int rc;

    lua_settop(L, 3);
    c = pv_lua_tmp(L, sizeof(*c), exec_fini);
    exec_argv(L, 2, &c->x.argv);
    exec_options(L, 3, &c->x);
    pv_lua_begin(L, "running '%.100s' in %s", lua_type(L, 2) == LUA_TSTRING ? c->x.argv.v[2] : c->x.argv.v[0],
                 g->name);
    rc = pv_guest_exec(g->g, &c->x, &c->r, &err);
    pv_lua_end(L);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    push_exec_result(L, &c->r);
    exec_fini(c); /* now, not when it is collected: it may be large; twice is fine */
    *c = (struct exec_call){0};
    return 1;
}

/* ---- files ---- */

static void buf_fini(void *p)
{
    pv_buf_free(p);
}

int pv_lua_vm_read_file(lua_State *L)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_guest *g = pv_lua_check_vm(L, "read_file");
    const char *path = pv_lua_check_cstring(L, 2, "the path of read_file");
    int64_t timeout = 0;
    struct pv_buf *buf;
    struct pv_err err;
    int rc;

    if (pv_lua_check_opts(L, 3, "read_file", opts))
        timeout = pv_lua_opt_time(L, 3, "read_file", "timeout", 0);
    buf = pv_lua_tmp(L, sizeof(*buf), buf_fini);
    pv_lua_begin(L, "reading '%.100s' in %s", path, g->name);
    rc = pv_guest_read_file(g->g, path, timeout, buf, &err);
    pv_lua_end(L);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    lua_pushlstring(L, buf->data ? buf->data : "", buf->len);
    pv_buf_free(buf); /* now: it may be large */
    return 1;
}

int pv_lua_vm_write_file(lua_State *L)
{
    static const struct lua_opt opts[] = {{"mode", OPT_MODE}, {"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_guest *g = pv_lua_check_vm(L, "write_file");
    const char *path = pv_lua_check_cstring(L, 2, "the path of write_file"), *data;
    uint32_t mode = PV_MODE_KEEP;
    int64_t timeout = 0;
    struct pv_err err;
    size_t n;
    int rc;

    if (lua_type(L, 3) != LUA_TSTRING && lua_type(L, 3) != LUA_TNUMBER)
        pv_lua_raise(L, "the data of write_file must be a string, got %s",
                     lua_isnone(L, 3) ? "nothing" : pv_lua_describe(L, 3));
    data = lua_tolstring(L, 3, &n);
    if (pv_lua_check_opts(L, 4, "write_file", opts)) {
        mode = pv_lua_opt_mode(L, 4, "write_file", "mode", PV_MODE_KEEP);
        timeout = pv_lua_opt_time(L, 4, "write_file", "timeout", 0);
    }
    pv_lua_begin(L, "writing '%.100s' in %s", path, g->name);
    rc = pv_guest_write_file(g->g, path, data, n, mode, timeout, &err);
    pv_lua_end(L);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

int pv_lua_vm_mount_vfs(lua_State *L)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_guest *g = pv_lua_check_vm(L, "mount_vfs");
    int64_t timeout = 0;
    struct pv_err err;
    int rc;

    if (pv_lua_check_opts(L, 2, "mount_vfs", opts))
        timeout = pv_lua_opt_time(L, 2, "mount_vfs", "timeout", 0);
    pv_lua_begin(L, "mounting proc, sysfs and others in %s", g->name);
    rc = pv_guest_mount_vfs(g->g, timeout, &err);
    pv_lua_end(L);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}
