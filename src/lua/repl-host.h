/* SPDX-License-Identifier: MIT */
/* The prompt of one Lua state, for repl.c and debug.c. */
#ifndef PV_LUA_REPL_HOST_H
#define PV_LUA_REPL_HOST_H

#include "lua/state.h"

struct pv_err;
struct pv_prompt;

struct lua_repl {
    lua_State *L;
    struct pv_prompt *prompt;
    char *history; /* owned; the prompt borrows it */
    int in, out, err;
    bool enter_ends;               /* an empty line ends the prompt */
    const char *profile, *fixture; /* borrowed */
};

/* Opens a prompt on r's descriptors, for r->L.  NULL with *err: class host. */
struct pv_prompt *pv_lua_repl_prompt(struct lua_repl *r, struct pv_err *err);
/* Writes s, made harmless for a terminal, behind what the script has printed. */
void pv_lua_repl_put(int fd, const char *s, size_t n);
/* Push say(text), and warn(text) for errors. */
LJMP void pv_lua_repl_push_say(lua_State *L, struct lua_repl *r);
LJMP void pv_lua_repl_push_warn(lua_State *L, struct lua_repl *r);
/*
 * Reads and runs chunks until the prompt ends, and pushes whether all went well and the word that ended it
 * (repl.lua).  title: the first line; NULL: none.  frames: index of the table of a stopped file (debug.lua); 0: none.
 */
LJMP void pv_lua_repl_main(lua_State *L, struct lua_repl *r, const char *title, int frames);

#endif
