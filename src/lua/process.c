/* SPDX-License-Identifier: MIT */
/* The type process, and vm:start, which makes one. */
#include "guest/process.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "loop/loop.h"
#include "lua/exec.h"
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/result.h"
#include "lua/stream.h"
#include "testfile/limit.h"
#include "util/clock.h"
#include "util/err.h"

#define PROCESS_TYPE "provium.process"
#define DEFAULT_TIMEOUT (10 * PV_NSEC_PER_SEC)

/* User value 1 is a table of the fields pid, stdout, stderr. */
struct lua_process {
    struct pv_process *p;           /* NULL: not started */
    struct tf_guest *vm;            /* held while p is set */
    char name[LUA_STREAM_NAME_MAX]; /* "the process 'sleep 5' (pid 70) of vm1" */
};

/* ---- its streams ---- */

static bool output_is_open(const struct lua_stream *s)
{
    return pv_process_running(s->arg);
}

static void output_why(const struct lua_stream *s, struct pv_err *err)
{
    pv_process_why(s->arg, err);
}

static void output_release(struct lua_stream *s)
{
    pv_process_unref(s->arg);
}

/* Pushes the stream of stdout (0) or stderr (1). */
static LJMP void push_output(lua_State *L, const struct lua_process *h, int which)
{
    static const struct lua_stream_source source = {
        .is_open = output_is_open, .why = output_why, .release = output_release};
    struct lua_stream *s = pv_lua_new_stream(L, LUA_STREAM_TYPE);
    char name[LUA_STREAM_NAME_MAX];

    snprintf(name, sizeof(name), "%s of %.180s", which ? "stderr" : "stdout", h->name);
    pv_lua_stream_open(s, &source, h->vm, pv_process_output(h->p, which), name);
    s->arg = h->p;
    pv_process_ref(h->p);
}

/* ---- start ---- */

static LJMP void set_fields(lua_State *L, const struct lua_process *h)
{
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, pv_process_pid(h->p));
    lua_setfield(L, -2, "pid");
    push_output(L, h, 0);
    lua_setfield(L, -2, "stdout");
    push_output(L, h, 1);
    lua_setfield(L, -2, "stderr");
    lua_setiuservalue(L, -2, 1);
}

/* vm:start(cmd, {env=, env_clear=, cwd=, stdin=true|string, user=, timeout=, max_output=}?) */
int pv_lua_start(lua_State *L)
{
    static const struct lua_opt opts[] = {
        {"env", OPT_TABLE}, {"env_clear", OPT_BOOLEAN}, {"cwd", OPT_STRING},      {"stdin", OPT_STDIN},
        {"user", OPT_USER}, {"timeout", OPT_TIME},      {"max_output", OPT_SIZE}, {NULL, 0}};
    struct lua_agent a = pv_lua_check_agent(L, "start");
    struct exec_call *c = pv_lua_exec_new(L, 2, "start", opts);
    bool open_stdin =
        lua_istable(L, 3) && pv_lua_rawfield(L, 3, "stdin") == LUA_TBOOLEAN && lua_toboolean(L, -1);
    struct lua_process *h = lua_newuserdatauv(L, sizeof(*h), 1);
    char opened[LUA_WHERE_MAX];
    struct pv_err err;

    *h = (struct lua_process){0};
    luaL_setmetatable(L, PROCESS_TYPE);
    pv_lua_place(L, opened);
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "starting '%.100s' in %s", pv_lua_exec_title(c), a.name);
    h->p = pv_process_start(a.a, &c->x, open_stdin, opened, &err);
    pv_tf_step_end(pv_lua_tf(L), h->p != NULL);
    if (!h->p)
        return pv_lua_raise_err(L, &err);
    h->vm = pv_lua_vm_of(L, 1);
    h->vm->n_holds++;
    snprintf(h->name, sizeof(h->name), "%.150s (pid %u) of %.30s", pv_process_name(h->p),
             (unsigned)pv_process_pid(h->p), h->vm->name);
    set_fields(L, h);
    return 1;
}

/* ---- the userdata ---- */

static LJMP struct lua_process *check_process(lua_State *L, const char *method)
{
    struct lua_process *h = luaL_testudata(L, 1, PROCESS_TYPE);

    if (!h || !h->p)
        pv_lua_raise(L, "p.%s(...) got %s where the process belongs; call it with a colon: p:%s(...)", method,
                     lua_isnone(L, 1) ? "nothing" : pv_lua_describe(L, 1), method);
    return h;
}

static int process_gc(lua_State *L)
{
    struct lua_process *h = luaL_testudata(L, 1, PROCESS_TYPE);

    if (!h || !h->p)
        return 0;
    pv_process_unref(h->p);
    h->vm->n_holds--;
    h->p = NULL;
    return 0;
}

static int process_close(lua_State *L)
{
    struct lua_process *h = luaL_testudata(L, 1, PROCESS_TYPE);

    if (h && h->p)
        pv_process_kill(h->p, DEFAULT_TIMEOUT, NULL);
    return 0;
}

static int process_tostring(lua_State *L)
{
    const struct lua_process *h = check_process(L, "tostring");

    lua_pushfstring(L, "%s: %s", h->name, pv_process_running(h->p) ? "running" : "ended");
    return 1;
}

/* __index: the fields, then the methods. */
static int process_index(lua_State *L)
{
    lua_getiuservalue(L, 1, 1);
    if (lua_istable(L, -1)) {
        lua_pushvalue(L, 2);
        if (lua_rawget(L, -2) != LUA_TNIL)
            return 1;
    }
    lua_settop(L, 2);
    return pv_lua_type_index(L);
}

/* ---- methods ---- */

/* p:running() */
static int process_running(lua_State *L)
{
    const struct lua_process *h = check_process(L, "running");
    struct pv_err err;

    if (pv_loop_run(pv_lua_tf(L)->loop, NULL, NULL, pv_now(), &err) < 0)
        return pv_lua_raise_err(L, &err);
    lua_pushboolean(L, pv_process_running(h->p));
    return 1;
}

static LJMP int raise_still_runs(lua_State *L, const struct lua_process *h, int64_t timeout)
{
    struct pv_err err;

    pv_lua_check_expired(L);
    pv_err_set(&err, PV_E_TIMEOUT, "wait: %s still runs after %.3g s", h->name,
               (double)timeout / PV_NSEC_PER_SEC);
    for (int i = 0; i < 2; i++)
        pv_lua_add_lines(pv_process_output(h->p, i), i ? "its stderr" : "its stdout", &err);
    return pv_lua_raise_err(L, &err);
}

/* p:wait(timeout?) */
static int process_wait(lua_State *L)
{
    const struct lua_process *h = check_process(L, "wait");
    struct pv_testfile *tf = pv_lua_tf(L);
    int64_t timeout = pv_lua_check_time(L, 2, "wait", 0), limit = pv_tf_limit(tf);
    int64_t deadline = timeout ? pv_deadline(timeout) : PV_FOREVER;
    const struct pv_exec_result *r;
    const char *title;
    struct pv_err err;
    size_t n;
    int rc;

    pv_tf_call_begin(tf, h->vm->name, "waiting for %.150s", h->name);
    rc = pv_process_wait(h->p, deadline < limit ? deadline : limit, &err);
    pv_tf_step_end(tf, rc == 0);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    if (rc > 0)
        return raise_still_runs(L, h, timeout);
    r = pv_process_result(h->p);
    title = pv_process_title(h->p, &n);
    title = lua_pushlstring(L, title, n);
    pv_tf_command_note(&tf->command, h->vm->name, title, r->exit_code, r->timed_out, NULL);
    pv_lua_push_spool(L, pv_process_output(h->p, 0));
    pv_lua_push_spool(L, pv_process_output(h->p, 1));
    pv_lua_push_result_of(L, r, title);
    return 1;
}

/* The signal at 2: a number, "TERM" or "SIGTERM". */
static LJMP int check_signal(lua_State *L)
{
    lua_Integer n = lua_isinteger(L, 2) ? lua_tointeger(L, 2) : 0;
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";

    if (!strncasecmp(name, "SIG", 3))
        name += 3;
    for (int sig = 1; *name && sig < 32; sig++)
        if (sigabbrev_np(sig) && !strcasecmp(name, sigabbrev_np(sig)))
            n = sig;
    if (n < 1 || n > 64)
        pv_lua_raise(L, "signal needs a name such as \"TERM\" or a number from 1 to 64, got %s",
                     lua_isnone(L, 2) ? "nothing" : pv_lua_describe(L, 2));
    return (int)n;
}

/* p:signal(name or number) */
static int process_signal(lua_State *L)
{
    const struct lua_process *h = check_process(L, "signal");

    pv_process_signal(h->p, check_signal(L));
    return 0;
}

/* p:kill(timeout?) */
static int process_kill(lua_State *L)
{
    const struct lua_process *h = check_process(L, "kill");
    int64_t timeout = pv_lua_check_time(L, 2, "kill", DEFAULT_TIMEOUT);
    struct pv_err err;
    int rc;

    pv_tf_call_begin(pv_lua_tf(L), h->vm->name, "killing %.150s", h->name);
    rc = pv_process_kill(h->p, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* p:write(data, timeout?) */
static int process_write(lua_State *L)
{
    const struct lua_process *h = check_process(L, "write");
    int64_t timeout = pv_lua_check_time(L, 3, "write", DEFAULT_TIMEOUT);
    struct pv_err err;
    const char *data;
    size_t n;
    int rc;

    if (lua_type(L, 2) != LUA_TSTRING && lua_type(L, 2) != LUA_TNUMBER)
        pv_lua_raise(L, "the data of write must be a string, got %s",
                     lua_isnone(L, 2) ? "nothing" : pv_lua_describe(L, 2));
    data = lua_tolstring(L, 2, &n);
    pv_tf_call_begin(pv_lua_tf(L), h->vm->name, "writing to %.150s", h->name);
    rc = pv_process_write(h->p, data, n, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* p:close_stdin() */
static int process_close_stdin(lua_State *L)
{
    pv_process_close_stdin(check_process(L, "close_stdin")->p);
    return 0;
}

static const luaL_Reg process_methods[] = {{"running", process_running},
                                           {"wait", process_wait},
                                           {"signal", process_signal},
                                           {"kill", process_kill},
                                           {"write", process_write},
                                           {"close_stdin", process_close_stdin},
                                           {NULL, NULL}};

void pv_lua_open_process(lua_State *L)
{
    static const struct lua_type type = {.id = PROCESS_TYPE,
                                         .kind = "process",
                                         .own = process_methods,
                                         .index = process_index,
                                         .tostring = process_tostring,
                                         .close = process_close,
                                         .gc = process_gc};

    pv_lua_open_type(L, &type);
}
