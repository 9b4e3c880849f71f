/* SPDX-License-Identifier: MIT */
#include "lua/repl-host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/agent.h"
#include "guest/shell.h"
#include "loop/loop.h"
#include "lua/assert.h"
#include "lua/handle.h"
#include "lua/limit.h"
#include "lua/prompt.h"
#include "lua/raise.h"
#include "lua/trace.h"
#include "util/cachedir.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"
#include "util/text.h"

#include "complete.lua.h"
#include "lua-options.lua.h"
#include "repl.lua.h"

static const char begun_key; /* its address: registry key of the lines in front of the one that is edited */
static const char complete_key; /* its address: registry key of complete.lua's function */

/* ---- functions for repl.lua; upvalue 1 is the struct lua_repl ---- */

static struct lua_repl *repl_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

void pv_lua_repl_put(int fd, const char *s, size_t n)
{
    cleanup_buf struct pv_buf out = {0};
    bool line = n && s[n - 1] == '\n';

    fflush(stdout);
    pv_text_clean(&out, s, n, "");
    if (line)
        pv_buf_addc(&out, '\n');
    if (pv_write_all(fd, out.data ? out.data : "", out.len) < 0) {
        /* The reader has gone: the next read of input ends the prompt. */
    }
}

static int repl_say(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);

    pv_lua_repl_put(repl_of(L)->out, s, n);
    return 0;
}

static int repl_warn(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);

    pv_lua_repl_put(repl_of(L)->err, s, n);
    return 0;
}

static int repl_show(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushstring(L, pv_lua_show(L, 1));
    return 1;
}

/* read(prompt, begun): a line, nil at the end, false after Ctrl-C.  begun: the lines of the chunk so far, or nil. */
static int repl_read(lua_State *L)
{
    const char *line;

    fflush(stdout);
    lua_settop(L, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &begun_key);
    switch (pv_prompt_read(repl_of(L)->prompt, luaL_checkstring(L, 1), &line)) {
    case PV_PROMPT_LINE:
        lua_pushstring(L, line);
        return 1;
    case PV_PROMPT_INTERRUPTED:
        lua_pushboolean(L, false);
        return 1;
    default:
        lua_pushnil(L);
        return 1;
    }
}

/* shell(vm): opens a shell in a VM, a worker or the VM of that name, on the prompt's descriptors. */
static int repl_shell(lua_State *L)
{
    struct lua_repl *r = repl_of(L);
    const struct tf_guest *called =
        lua_isstring(L, 1) ? pv_tf_guest_called(&pv_lua_tf(L)->guests, lua_tostring(L, 1)) : NULL;
    struct lua_agent a =
        called ? (struct lua_agent){.a = pv_guest_agent(called->g), .name = pv_guest_name(called->g)}
               : pv_lua_check_agent(L, "shell");
    struct pv_shell shell = {.title = a.name, .in = r->in, .out = r->out, .err = r->err};
    struct pv_shell_end end;
    struct pv_err err;

    if (pv_shell_run(a.a, &shell, &end, &err) < 0)
        pv_lua_raise_err(L, &err);
    return 0;
}

/* ---- a chunk ---- */

/* The chunk that runs; the handler of SIGINT looks at L. */
static struct repl_chunk {
    lua_State *L;
    bool interrupted;
    int rc;
} * running;

static void interrupt_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted");
}

/* In the handler of SIGINT: Lua code gets an error at its next step, as in Lua's own program. */
static void on_interrupt(void)
{
    if (running)
        lua_sethook(running->L, interrupt_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static void chunk_main(void *arg)
{
    struct repl_chunk *c = arg;

    c->rc = lua_pcall(c->L, 0, LUA_MULTRET, 1);
}

struct chunk_wait {
    struct pv_task *task;
    struct pv_prompt *prompt;
    bool interrupted;
};

static bool chunk_is_over(void *arg)
{
    struct chunk_wait *w = arg;

    if (pv_task_done(w->task))
        return true;
    w->interrupted = pv_prompt_interrupted(w->prompt);
    return w->interrupted;
}

/* The function on top of the stack, below it the handler, runs as a task, which SIGINT cancels. */
static LJMP void chunk_run(lua_State *L, struct lua_repl *r, struct repl_chunk *c)
{
    struct pv_loop *loop = pv_lua_tf(L)->loop;
    struct chunk_wait w = {.prompt = r->prompt};
    struct pv_err err;

    *c = (struct repl_chunk){.L = L};
    pv_prompt_interrupted(r->prompt);
    running = c;
    pv_prompt_on_interrupt(on_interrupt);
    w.task = pv_task_start(loop, chunk_main, c, &err);
    while (w.task && !pv_task_done(w.task)) {
        if (pv_loop_run(loop, chunk_is_over, &w, PV_FOREVER, &err) < 0)
            w.interrupted = true;
        if (w.interrupted && !pv_task_done(w.task)) {
            c->interrupted = true;
            pv_task_cancel(w.task);
        }
    }
    pv_prompt_on_interrupt(NULL);
    running = NULL;
    lua_sethook(L, NULL, 0, 0);
    c->interrupted |= pv_prompt_interrupted(r->prompt);
    if (!w.task)
        pv_lua_raise_err(L, &err);
    pv_task_free(w.task);
}

/* run(fn): true and its results, or false and the text of its error. */
static int repl_run(lua_State *L)
{
    struct lua_repl *r = repl_of(L);
    struct repl_chunk c;
    bool stopped = pv_lua_of(L)->stopped;

    lua_settop(L, 1);
    lua_pushcfunction(L, pv_lua_msgh);
    lua_insert(L, 1);
    pv_lua_of(L)->stopped = true; /* an error at the prompt is no reason to stop once more */
    chunk_run(L, r, &c);
    pv_lua_of(L)->stopped = stopped;
    fflush(stdout);
    if (c.rc == LUA_OK) {
        lua_pushboolean(L, true);
        lua_replace(L, 1);
        return lua_gettop(L);
    }
    if (c.interrupted)
        lua_pushliteral(L, "interrupted");
    lua_pushboolean(L, false);
    lua_insert(L, -2);
    return 2;
}

static void repl_complete(const char *text, size_t *n, struct pv_strv *words, void *arg)
{
    struct lua_repl *r = arg;
    lua_State *L = r->L;
    int top = lua_gettop(L);

    luaL_checkstack(L, 8, NULL);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &complete_key);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &begun_key) == LUA_TSTRING)
        lua_pushfstring(L, "%s\n%s", lua_tostring(L, -1), text);
    else
        lua_pushstring(L, text);
    lua_remove(L, -2);
    lua_pushglobaltable(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_VM_TYPE);
    if (lua_pcall(L, 3, 2, 0) == LUA_OK && lua_istable(L, -1)) {
        *n = (size_t)lua_tointeger(L, -2);
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TSTRING; i++) {
            pv_strv_add(words, lua_tostring(L, -1));
            lua_pop(L, 1);
        }
    }
    lua_settop(L, top);
}

/* ---- the prompt ---- */

void pv_lua_repl_push_warn(lua_State *L, struct lua_repl *r)
{
    lua_pushlightuserdata(L, r);
    lua_pushcclosure(L, repl_warn, 1);
}

void pv_lua_repl_push_say(lua_State *L, struct lua_repl *r)
{
    lua_pushlightuserdata(L, r);
    lua_pushcclosure(L, repl_say, 1);
}

/* Pushes the table `host` of repl.lua. */
static LJMP void repl_push_host(lua_State *L, struct lua_repl *r, const char *title)
{
    static const luaL_Reg functions[] = {{"read", repl_read}, {"run", repl_run},   {"say", repl_say},
                                         {"warn", repl_warn}, {"show", repl_show}, {"shell", repl_shell},
                                         {NULL, NULL}};

    lua_newtable(L);
    lua_pushlightuserdata(L, r);
    luaL_setfuncs(L, functions, 1);
    lua_pushboolean(L, r->enter_ends);
    lua_setfield(L, -2, "enter_ends");
    if (title) {
        lua_pushstring(L, title);
        lua_setfield(L, -2, "title");
    }
}

struct pv_prompt *pv_lua_repl_prompt(struct lua_repl *r, struct pv_err *err)
{
    cleanup_cachedir struct pv_cachedir dir = PV_CACHEDIR_INIT;
    struct pv_err ignored;
    struct pv_prompt_opts o = {
        .loop = pv_lua_tf(r->L)->loop, .in = r->in, .out = r->out, .complete = repl_complete, .arg = r};

    if (pv_cachedir_open(&dir, NULL, &ignored) == 0)
        r->history = pv_path_join(dir.path, "repl-history");
    o.history = r->history;
    return pv_prompt_new(&o, err);
}

void pv_lua_repl_main(lua_State *L, struct lua_repl *r, const char *title, int frames)
{
    frames = frames ? lua_absindex(L, frames) : 0;
    r->L = L;
    pv_lua_load_own(L, pv_complete_lua, sizeof(pv_complete_lua));
    pv_lua_load_own(L, pv_lua_options_lua, sizeof(pv_lua_options_lua));
    lua_call(L, 0, 1);
    lua_call(L, 1, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &complete_key);
    pv_lua_load_own(L, pv_repl_lua, sizeof(pv_repl_lua));
    repl_push_host(L, r, title);
    if (frames)
        lua_pushvalue(L, frames);
    else
        lua_pushnil(L);
    lua_call(L, 2, 2);
}
