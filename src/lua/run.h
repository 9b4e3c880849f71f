/* SPDX-License-Identifier: MIT */
/* Runs test files and builds fixtures, each in a Lua state of its own. src/cli calls these. */
#ifndef PV_LUA_RUN_H
#define PV_LUA_RUN_H

#include <stdbool.h>

#include "testfile/env.h"

/*
 * Runs a test file and tells env->result its verdict.  Blocks until the file is done; all its guests are gone
 * then.  0: nothing failed, 1.  os.exit in the file tells the verdict and ends the process.
 */
int pv_lua_run_file(const struct pv_testfile_env *env, const char *path);

/*
 * The same for a fixture: `script` is its fixtures/NAME.lua.  Unless a current entry is in the store, it is
 * built, or awaited when another process builds it; rebuild: takes entries out of the store first.  skip()
 * and todo() of the script are the verdict.
 */
int pv_lua_build_fixture(const struct pv_testfile_env *env, const char *script, bool rebuild);

struct pv_err;
struct pv_guest;
struct pv_testfile;

/*
 * provium.fixture(name) for a program without a script: a running VM of the fixture, which is built first if it
 * must be.  tf is open; the caller frees the VM before it closes tf.  NULL with *err, also when the script skips;
 * tf->tails then has the consoles of a failed build.
 */
struct pv_guest *pv_lua_fixture_vm(struct pv_testfile *tf, const char *name, struct pv_err *err);

#endif
