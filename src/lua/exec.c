/* SPDX-License-Identifier: MIT */
/* exec and json. */
#include "lua/exec.h"

#include <string.h>

#include "lua/handle.h"
#include "lua/json.h"
#include "lua/methods.h"
#include "lua/raise.h"
#include "lua/result.h"
#include "lua/tmp.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/spawn.h"
#include "wire/proto.h"

static void exec_fini(void *p)
{
    struct exec_call *c = p;

    pv_strv_free(&c->x.argv);
    pv_strv_free(&c->x.env);
    pv_exec_result_fini(&c->r);
    *c = (struct exec_call){0};
}

/* Raises: the list of a command at idx has a key that is none of its n places, most likely an option. */
static LJMP void raise_argv_key(lua_State *L, int idx, const char *what, lua_Integer n)
{
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || lua_tointeger(L, -2) > n)
            pv_lua_raise(
                L,
                "%s: the list of a command has %s as a key; it has a program and its arguments alone, and "
                "options are a table behind it: vm:%s({\"ls\", \"/\"}, {timeout = 5})",
                what, pv_lua_describe(L, -2), what);
        lua_pop(L, 1);
    }
}

/* The command at idx: a string for the shell, or a list. */
static LJMP void exec_argv(lua_State *L, int idx, const char *what, struct pv_strv *argv)
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
        pv_lua_raise(L,
                     "%s needs a command: a string for the shell, or a list of a program and its arguments; "
                     "got %s",
                     what, lua_isnone(L, idx) ? "nothing" : pv_lua_describe(L, idx));
    n = (lua_Integer)lua_rawlen(L, idx);
    if (pv_lua_list_len(L, idx) < 0)
        raise_argv_key(L, idx, what, n);
    if (n == 0)
        pv_lua_raise(L, "%s got an empty list; expected a program and its arguments", what);
    if (n > PV_ARGS_MAX)
        pv_lua_raise(L, "%s: a command has at most %d arguments, got %I", what, PV_ARGS_MAX, (LUAI_UACINT)n);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, idx, i) == LUA_TNUMBER)
            lua_tostring(L, -1);
        pv_strv_add(argv, pv_lua_check_cstring(L, -1, "an argument of a command"));
        lua_pop(L, 1);
    }
}

static LJMP void exec_env(lua_State *L, int opts, const char *what, struct pv_strv *env)
{
    if (pv_lua_rawfield(L, opts, "env") != LUA_TTABLE) {
        lua_pop(L, 1);
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;

        if (!key || !*key || strchr(key, '=') || strlen(key) != lua_rawlen(L, -2))
            pv_lua_raise(L,
                         "%s option 'env' maps names to values, such as {LANG = \"C\"}; it has %s as a name",
                         what, pv_lua_describe(L, -2));
        if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
            pv_lua_raise(L, "%s option 'env': '%s' must be a string, got %s", what, key,
                         pv_lua_describe(L, -1));
        lua_tostring(L, -1);
        pv_strv_addf(env, "%s=%s", key, pv_lua_check_cstring(L, -1, "a value of option 'env'"));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static LJMP void exec_options(lua_State *L, int idx, const char *what, const struct lua_opt *opts,
                              struct pv_exec *x)
{
    if (!pv_lua_check_opts(L, idx, what, opts))
        return;
    exec_env(L, idx, what, &x->env);
    x->timeout_ns = pv_lua_opt_time(L, idx, what, "timeout", 0);
    x->max_output = pv_lua_opt_size(L, idx, what, "max_output", 0);
    x->env_clear = pv_lua_opt_bool(L, idx, "env_clear", false);
    /* the options table, which is on the caller's stack, owns both strings */
    if (pv_lua_rawfield(L, idx, "cwd") == LUA_TSTRING)
        x->cwd = pv_lua_check_cstring(L, -1, "option 'cwd'");
    if (x->cwd && (!*x->cwd || strlen(x->cwd) >= PATH_MAX))
        pv_lua_raise(L, "%s option 'cwd' must have 1 to %d bytes, got %I", what, PATH_MAX - 1,
                     (LUAI_UACINT)strlen(x->cwd));
    if (pv_lua_rawfield(L, idx, "stdin") == LUA_TSTRING)
        x->in = lua_tolstring(L, -1, &x->in_len);
    lua_pop(L, 2);
}

static LJMP void exec_user(lua_State *L, int idx, const char *what, struct exec_call *c)
{
    const char *user;

    if (!lua_istable(L, idx) || pv_lua_rawfield(L, idx, "user") == LUA_TNIL)
        return;
    lua_tostring(L, -1);
    user = pv_lua_check_cstring(L, -1, "option 'user'");
    if (!*user || strlen(user) >= sizeof(c->user))
        pv_lua_raise(L, "%s option 'user' must have 1 to %d bytes", what, (int)sizeof(c->user) - 1);
    memcpy(c->user, user, strlen(user) + 1);
    c->x.user = c->user;
    lua_pop(L, 1);
}

struct exec_call *pv_lua_exec_new(lua_State *L, int idx, const char *what, const struct lua_opt *opts)
{
    struct exec_call *c;

    lua_settop(L, idx + 1);
    c = pv_lua_tmp(L, sizeof(*c), exec_fini);
    exec_argv(L, idx, what, &c->x.argv);
    exec_options(L, idx + 1, what, opts, &c->x);
    exec_user(L, idx + 1, what, c);
    return c;
}

const char *pv_lua_exec_title(const struct exec_call *c)
{
    const struct pv_strv *a = &c->x.argv;

    return a->n == 3 && !strcmp(a->v[0], "/bin/sh") && !strcmp(a->v[1], "-c") ? a->v[2] : a->v[0];
}

static const struct lua_opt exec_opts[] = {
    {"env", OPT_TABLE}, {"env_clear", OPT_BOOLEAN}, {"cwd", OPT_STRING},      {"stdin", OPT_STRING},
    {"user", OPT_USER}, {"timeout", OPT_TIME},      {"max_output", OPT_SIZE}, {NULL, 0}};

static LJMP void run_exec(lua_State *L, struct lua_agent a, struct exec_call *c)
{
    struct pv_err err;
    int rc;

    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "running '%.100s' in %s", pv_lua_exec_title(c), a.name);
    pv_lua_tf(L)->command.words[0] = '\0';
    rc = pv_agent_exec(a.a, &c->x, &c->r, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0)
        pv_lua_raise_err(L, &err);
}

int pv_lua_exec(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "exec");
    struct exec_call *c = pv_lua_exec_new(L, 2, "exec", exec_opts);

    run_exec(L, a, c);
    pv_tf_command_note(&pv_lua_tf(L)->command, a.name, pv_lua_exec_title(c), c->r.exit_code, c->r.timed_out,
                       &c->r.err);
    pv_lua_push_result(L, &c->r, pv_lua_exec_title(c));
    exec_fini(c); /* now: it may be large, and the collector late */
    return 1;
}

/* vm:sh(cmd, opts?) */
int pv_lua_sh(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "sh");
    struct exec_call *c = pv_lua_exec_new(L, 2, "sh", exec_opts);
    size_t n;

    run_exec(L, a, c);
    n = c->r.out.len;
    pv_lua_push_result(L, &c->r, pv_lua_exec_title(c));
    pv_lua_check_ok(L);
    lua_pushlstring(L, n ? c->r.out.data : "", n && c->r.out.data[n - 1] == '\n' ? n - 1 : n);
    exec_fini(c);
    return 1;
}

/* Pushes the last bytes of a stream, for a message. */
static LJMP const char *push_tail(lua_State *L, const char *name, const struct pv_buf *b)
{
    const size_t max = 1000;
    size_t n = b->len;
    const char *s = b->data ? b->data : "";

    while (n && strchr(" \t\r\n", s[n - 1]))
        n--;
    if (n == 0)
        return lua_pushfstring(L, "nothing on %s", name);
    if (n <= max)
        return lua_pushfstring(L, "%s: %s", name, lua_pushlstring(L, s, n));
    return lua_pushfstring(L, "%s ends: ...%s", name, lua_pushlstring(L, s + n - max, max));
}

static LJMP void raise_json_failed(lua_State *L, const struct exec_call *c)
{
    const char *title = lua_pushlstring(L, pv_lua_exec_title(c), strnlen(pv_lua_exec_title(c), 200));
    const char *tail = push_tail(L, "stderr", &c->r.err);
    char words[64];

    pv_exit_words(c->r.exit_code, c->r.timed_out, words);
    if (c->r.timed_out)
        pv_lua_raise_as(L, PV_CLASS_TIMEOUT, "json: '%s' ended with %s; %s", title, words, tail);
    pv_lua_raise(L, "json: '%s' ended with %s; %s", title, words, tail);
}

int pv_lua_exec_json(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "json");
    struct exec_call *c = pv_lua_exec_new(L, 2, "json", exec_opts);
    const char *title;

    run_exec(L, a, c);
    if (c->r.exit_code || c->r.signal || c->r.timed_out)
        raise_json_failed(L, c);
    title = lua_pushlstring(L, pv_lua_exec_title(c), strnlen(pv_lua_exec_title(c), 200));
    if (c->r.out.len == 0)
        pv_lua_raise(L, "json: '%s' printed nothing; %s", title, push_tail(L, "stderr", &c->r.err));
    if (!pv_lua_push_json(L, c->r.out.data, c->r.out.len))
        pv_lua_raise(L, "json: what '%s' printed is not valid JSON: %s", title, lua_tostring(L, -1));
    exec_fini(c);
    return 1;
}
