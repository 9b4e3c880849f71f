/* SPDX-License-Identifier: MIT */
/* The `provium` table. */
#include "lua/provium.h"

#include <string.h>

#include "lua/handle.h"
#include "lua/json.h"
#include "lua/methods.h"
#include "lua/modules.h"
#include "lua/network.h"
#include "lua/recording.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/result.h"
#include "lua/task.h"
#include "lua/stream.h"
#include "testfile/before-end.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/parse.h"

#define RESET "reset_between_tests"

/* The option `name` of the table at idx, which may be nil; NULL: none.  The table owns it. */
static LJMP const char *create_name(lua_State *L, int idx)
{
    static const struct lua_opt opts[] = {{"name", OPT_STRING}, {NULL, 0}};

    if (lua_istable(L, idx) && pv_lua_rawfield(L, idx, "name") == LUA_TNIL && lua_next(L, idx) &&
        lua_type(L, -2) == LUA_TSTRING)
        pv_lua_raise(
            L, "unknown provium.create option '%s'; known: name (vm:boot takes memory, cpus and others)",
            lua_tostring(L, -2));
    lua_settop(L, idx);
    return pv_lua_check_opts(L, idx, "provium.create", opts) ? pv_lua_opt_vm_name(L, idx, "provium.create")
                                                             : NULL;
}

/* provium.create(profile?, {name=}?) */
static int provium_create(lua_State *L)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    const char *profile_name =
        lua_isnoneornil(L, 1) ? NULL : pv_lua_check_cstring(L, 1, "the profile's name");
    const struct pv_profile *profile;
    struct tf_guest **h;
    const char *name;
    struct pv_err err;

    tf->touched = true;
    lua_settop(L, 2);
    name = create_name(L, 2);
    profile = pv_config_profile(tf->env->config, profile_name, &err);
    if (!profile)
        return pv_lua_raise_err(L, &err);
    h = pv_lua_new_vm(L);
    pv_tf_reads_profile(tf, profile);
    *h = pv_tf_guest_add(&tf->guests, name ? pv_guest_new_as(&tf->guest_env, profile, name)
                                           : pv_guest_new(&tf->guest_env, profile));
    return 1;
}

/* provium.now(): seconds that never go back. */
static int provium_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)pv_now() / PV_NSEC_PER_SEC);
    return 1;
}

/* provium.shutdown_all(): all of them, then the first error. */
static int provium_shutdown_all(lua_State *L)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    struct pv_err err, first = PV_ERR_INIT;
    int rc;

    tf->touched = true;
    for (struct tf_guest *g = tf->guests.first; g; g = g->next) {
        if (pv_guest_state(g->g) == PV_GUEST_CREATED)
            continue;
        pv_tf_call_begin(tf, g->name, "shutting down %s", g->name);
        pv_tf_before_end(tf, g);
        rc = pv_guest_shutdown(g->g, 0, &err);
        pv_tf_step_end(tf, rc == 0);
        if (rc < 0 && first.cls == PV_E_NONE)
            first = err;
    }
    return first.cls == PV_E_NONE ? 0 : pv_lua_raise_err(L, &first);
}

/* provium.X = v */
static int provium_newindex(lua_State *L)
{
    static const char *const known[] = {RESET, NULL};
    struct pv_testfile *tf = pv_lua_tf(L);
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";

    if (strcmp(name, RESET) != 0) {
        if (pv_nearest(name, known))
            pv_lua_raise(L, "provium.%s means nothing (did you mean provium." RESET "?)", name);
        lua_rawset(L, 1);
        return 0;
    }
    if (!lua_isboolean(L, 3))
        pv_lua_raise(L, "provium." RESET " must be true or false, got %s", pv_lua_describe(L, 3));
    if (tf->builder && lua_toboolean(L, 3))
        pv_lua_raise(L, "provium." RESET " has no meaning in a fixture, which has no tests");
    if (tf->tests.n_begun && lua_toboolean(L, 3) && !tf->reset.on)
        pv_lua_raise(L, "provium." RESET " = true must stand in front of the first test");
    tf->touched = true;
    pv_tf_reset_set(tf, lua_toboolean(L, 3));
    return 0;
}

static int provium_index(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TSTRING && !strcmp(lua_tostring(L, 2), RESET))
        lua_pushboolean(L, pv_lua_tf(L)->reset.on);
    else
        lua_pushnil(L);
    return 1;
}

void pv_lua_open_provium(lua_State *L)
{
    static const luaL_Reg functions[] = {{"create", provium_create},
                                         {"shutdown_all", provium_shutdown_all},
                                         {"fixture", pv_lua_fixture},
                                         {"depends", pv_lua_depends},
                                         {"network", pv_lua_network},
                                         {"router", pv_lua_router},
                                         {"record", pv_lua_record},
                                         {"recording", pv_lua_recording},
                                         {"async", pv_lua_async},
                                         {"all", pv_lua_all},
                                         {"sleep", pv_lua_sleep},
                                         {"now", provium_now},
                                         {"pack", pv_lua_pack},
                                         {"unpack", pv_lua_unpack},
                                         {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__index", provium_index}, {"__newindex", provium_newindex}, {NULL, NULL}};

    pv_lua_open_vm(L);
    pv_lua_open_worker(L);
    pv_lua_open_snapshot(L);
    pv_lua_open_network(L);
    pv_lua_open_disk(L);
    pv_lua_open_rule(L);
    pv_lua_open_state(L);
    pv_lua_open_recording(L);
    pv_lua_open_nic(L);
    pv_lua_open_port(L);
    pv_lua_open_router(L);
    pv_lua_open_uplink(L);
    pv_lua_open_capture(L);
    pv_lua_open_task(L);
    pv_lua_open_stream(L);
    pv_lua_open_console(L);
    pv_lua_open_process(L);
    pv_lua_open_result(L);
    luaL_newlib(L, functions);
    lua_pushstring(L, pv_lua_tf(L)->env->version);
    lua_setfield(L, -2, "version");
    pv_lua_open_json(L);
    pv_lua_push_null(L);
    lua_setfield(L, -2, "null");
    pv_lua_push_json_table(L);
    lua_setfield(L, -2, "json");
    pv_lua_open_netframe(L);
    lua_setfield(L, -2, "net");
    pv_lua_open_kselftest(L);
    lua_setfield(L, -2, "kselftest");
    luaL_newlib(L, meta);
    lua_setmetatable(L, -2);
    lua_setglobal(L, "provium");
}
