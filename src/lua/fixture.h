/* SPDX-License-Identifier: MIT */
/* provium.fixture(NAME): finding the script, the store's entry or a build of it, and a VM resumed from it. */
#ifndef PV_LUA_FIXTURE_H
#define PV_LUA_FIXTURE_H

#include "lua/internal.h"

struct pv_err;

int pv_lua_fixture(lua_State *L); /* provium.fixture */

/* ---- where.c ---- */

/*
 * The script of fixture `name`, absolute and without links; the caller frees.  Looked for as
 * fixtures/NAME.lua in the directory of the asking script and those above it up to the test root that was
 * given, in the project root, and in its directory tests.  NULL with *err (class usage), which lists where
 * was looked and names that are near.
 */
char *pv_lua_fixture_find(struct pv_lua *pl, const char *name, struct pv_err *err);

#endif
