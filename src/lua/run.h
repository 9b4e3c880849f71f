/* SPDX-License-Identifier: MIT */
/*
 * Runs one test file in a Lua state of its own.  The only header of this room that others include; nothing
 * of Lua shows through it.
 */
#ifndef PV_LUA_RUN_H
#define PV_LUA_RUN_H

#include "config/config.h"

struct pv_lease;
struct pv_inputs;
struct pv_result;

/* What becomes of a complaint of a guest's kernel that no test expects. */
enum pv_guest_policy {
    PV_POLICY_FAIL,   /* the sub-test that was running fails, else the file */
    PV_POLICY_REPORT, /* it is shown */
    PV_POLICY_IGNORE
};

struct pv_lua_env {
    const struct pv_config *config;
    enum pv_accel accel;
    struct pv_result *result; /* told everything, the verdict last */
    struct pv_lease *lease;   /* where VMs take memory and CPUs from; NULL: no limit */
    const char *log_dir;      /* for console logs; NULL: none */
    const char *root;         /* the directory of tests that was given; NULL: none */
    const char *version;      /* provium.version */
    /* Which sub-tests run: those that have one of `tags` (when there are any) and none of `no_tags`. NULL:
     * none. */
    const struct pv_strv *tags, *no_tags;
    bool slow_tests; /* those that are slow, too */
    enum pv_guest_policy oopses, warnings;
};

/*
 * Blocks until the file is done; all guests it made are gone then.  Returns 0 when nothing failed, 1 when
 * something did.  os.exit in the file says its verdict and ends the process.
 */
int pv_lua_run_file(const struct pv_lua_env *env, const char *path);

/*
 * The same for a fixture: `script` is its fixtures/NAME.lua.  It is built, or waited for when another process
 * builds it, unless an entry is there that still holds; rebuild: entries that are there are forgotten first.
 * A script that calls skip() or todo() says so.
 */
int pv_lua_build_fixture(const struct pv_lua_env *env, const char *script, bool rebuild);
/* What the strings of fixtures' recipes are now; *now stays valid to the end of the program. */
void pv_lua_fixture_inputs(const struct pv_config *config, const char *version, struct pv_inputs *now);
/* "NAME" of ".../fixtures/NAME.lua"; the caller frees. */
char *pv_lua_fixture_name(const char *script);

#endif
