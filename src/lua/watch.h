/* SPDX-License-Identifier: MIT */
/*
 * What a fixture's script reads while it is built.  Each input is told before it is read, so that a change
 * in between is seen.  Outside of a build (pl->build NULL) all of these do nothing.  Never raise, unless
 * marked LJMP.
 */
#ifndef PV_LUA_WATCH_H
#define PV_LUA_WATCH_H

#include <lua.h>

#include "lua/internal.h"

/*
 * A host path is about to be opened or looked for: the content of a file, or that there is none, is an input.
 * What the script itself made (pv_lua_wrote) is none.
 */
void pv_lua_reads(struct pv_lua *pl, const char *path);
/* The same for a file or a directory with all that is in it, modes included. */
void pv_lua_reads_tree(struct pv_lua *pl, const char *path);
/* The script writes it, so what it reads of it later is its own. */
void pv_lua_wrote(struct pv_lua *pl, const char *path);
/* Where require and package.searchpath would look for `name`: all that is not there, and what is found. */
void pv_lua_reads_search(struct pv_lua *pl, const char *name, const char *templates, const char *sep,
                         const char *rep);

/* Replaces io.open, io.lines, io.input, io.output, os.getenv, ... by ones that tell; in a build only. */
LJMP void pv_lua_open_watch(lua_State *L);

/* provium.depends(path...) */
int pv_lua_depends(lua_State *L);

#endif
