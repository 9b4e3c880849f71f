/* SPDX-License-Identifier: MIT */
#include "lua/debug.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "lua/prompt.h"
#include "lua/raise.h"
#include "lua/repl-host.h"
#include "lua/scripts.h"
#include "testfile/guests.h"
#include "util/err.h"
#include "util/mem.h"

#include "debug.lua.h"

/* ---- the terminal ---- */

/* This process's group becomes the terminal's foreground group, which alone may read it.  The one before, or -1. */
static pid_t terminal_acquire(int fd)
{
    pid_t before = tcgetpgrp(fd);

    if (before < 0 || before == getpgrp())
        return -1;
    tcsetpgrp(fd, getpgrp());
    return before;
}

static void terminal_release(int fd, pid_t before)
{
    if (before > 0)
        tcsetpgrp(fd, before);
}

/* ---- the prompt ---- */

struct debug_stop {
    struct lua_repl repl;
    bool stopped; /* frames are looked at; else the file has ended */
    const char *title;
    bool quit;
};

/* Argument 1: the struct debug_stop; 2: its thread. */
static int debug_main(lua_State *L)
{
    struct debug_stop *d = lua_touserdata(L, 1);

    pv_lua_load_own(L, pv_debug_lua, sizeof(pv_debug_lua));
    lua_pushvalue(L, 2);
    pv_lua_repl_push_say(L, &d->repl);
    lua_call(L, 2, 1);
    pv_lua_repl_main(L, &d->repl, d->title, d->stopped ? -1 : 0);
    d->quit = lua_isstring(L, -1) && lua_tostring(L, -1)[0] == 'q';
    return 0;
}

static void title_add_vms(struct pv_buf *b, const struct pv_testfile *tf)
{
    for (const struct tf_guest *t = tf->guests.first; t; t = t->next)
        pv_buf_addf(b, " %s (%s)", t->name, pv_guest_state_name(pv_guest_state(t->g)));
    pv_buf_adds(b, tf->guests.first ? "\n" : " none\n");
}

/* The first lines: the failure, the VMs, what stands still; message NULL: the file has ended. */
static char *stop_title(const struct pv_testfile *tf, const char *message)
{
    struct pv_buf b = {0};

    if (!message) {
        pv_buf_addf(&b, "\n%s failed; its VMs go on:", tf->path);
        title_add_vms(&b, tf);
        pv_buf_adds(&b, "Enter ends them; `shell NAME` opens a shell in one.");
        return b.data;
    }
    pv_buf_addf(&b, "\n%s\n\nstopped in %s; time limits are off, VMs run on:", message, tf->path);
    title_add_vms(&b, tf);
    pv_buf_adds(&b, "`help` tells what can be done here; `continue` goes on.");
    return b.data;
}

/* A prompt on a thread of its own, from which the frames of L are looked at; message NULL: without frames. */
static void debug_stop(lua_State *L, const char *message)
{
    const struct pv_testfile *tf = pv_lua_tf(L);
    const struct pv_debug_io *io = tf->env->debug;
    struct debug_stop d = {.repl = {.in = io->in, .out = io->out, .err = io->out, .enter_ends = !message},
                           .stopped = message != NULL};
    cleanup_free char *title = stop_title(tf, message);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    lua_State *own;
    struct pv_err err;
    pid_t group;

    luaL_checkstack(L, 4, NULL);
    own = lua_newthread(L);
    d.title = title;
    d.repl.L = own;
    sigaction(SIGTTOU, &ignore, &before);
    group = terminal_acquire(io->in);
    d.repl.prompt = pv_lua_repl_prompt(&d.repl, &err);
    if (d.repl.prompt) {
        lua_pushcfunction(own, debug_main);
        lua_pushlightuserdata(own, &d);
        lua_pushthread(L);
        lua_xmove(L, own, 1);
        if (lua_pcall(own, 2, 0, 0) != LUA_OK)
            dprintf(io->out, "the prompt ended: %s\n", lua_tostring(own, -1));
    }
    pv_prompt_free(d.repl.prompt);
    terminal_release(io->in, group);
    sigaction(SIGTTOU, &before, NULL);
    free(d.repl.history);
    lua_pop(L, 1);
    if (d.quit)
        pv_lua_exit(L, 1, "ended at the prompt of --debug");
}

static void debug_stop_once(lua_State *L, const char *message)
{
    struct pv_lua *pl = pv_lua_of(L);

    if (pl->stopped)
        return;
    pl->stopped = true;
    debug_stop(L, message);
    pl->stopped = false;
}

/* pv_lua's on_failure. Failures that are expected, or at a prompt, do not stop. */
static void debug_failure(lua_State *L, const char *message)
{
    const struct pv_testfile *tf = pv_lua_tf(L);
    const struct tf_tests *t = &tf->tests;

    if (t->n_open && t->open[t->n_open - 1].expect_fail)
        return;
    debug_stop_once(L, message);
}

void pv_lua_debug_keep(lua_State *L)
{
    const struct pv_testfile *tf = pv_lua_tf(L);

    if (tf->env->debug && tf->env->debug->keep && tf->guests.first)
        debug_stop_once(L, NULL);
}

/* breakpoint() */
static int debug_breakpoint(lua_State *L)
{
    const struct pv_testfile *tf = pv_lua_tf(L);

    if (tf->builder)
        pv_lua_raise(L, "breakpoint() does not work in a fixture's script");
    if (!tf->env->debug || !tf->env->debug->stop)
        pv_lua_raise(L, "breakpoint() stops only in `provium test --debug`; take it out, or run that");
    pv_lua_where(L);
    lua_pushfstring(L, "%sbreakpoint", lua_tostring(L, -1));
    debug_stop_once(L, lua_tostring(L, -1));
    return 0;
}

void pv_lua_open_debug(lua_State *L)
{
    const struct pv_testfile *tf = pv_lua_tf(L);

    if (tf->env->debug && tf->env->debug->stop && !tf->builder)
        pv_lua_of(L)->on_failure = debug_failure;
    lua_register(L, "breakpoint", debug_breakpoint);
}
