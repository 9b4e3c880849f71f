/* SPDX-License-Identifier: MIT */
/* rec:check: the functions that check.lua is given. */
#include "disk/image.h"
#include "guest/disks.h"
#include "lua/handle.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/recording.h"
#include "lua/skip.h"
#include "lua/tmp.h"
#include "lua/trace.h"
#include "testfile/limit.h"
#include "util/err.h"

#include "check.lua.h"

static const char check_key; /* its address: registry key of check.lua's function */

/* again(msg, error): msg, which quotes the error, with the error's class. */
static int check_again(lua_State *L)
{
    return pv_lua_raise_as(L, pv_lua_class_at(L, 2), "%s", luaL_checkstring(L, 1));
}

/* step(text) begins the step that the status display and the timeline show, step(ok) ends it. */
static int check_step(lua_State *L)
{
    if (lua_isstring(L, 1))
        pv_tf_step_begin(pv_lua_tf(L), NULL, PV_STEP_CALL, "%s", lua_tostring(L, 1));
    else
        pv_tf_step_end(pv_lua_tf(L), lua_toboolean(L, 1));
    return 0;
}

/* is_vm(value) */
static int check_is_vm(lua_State *L)
{
    lua_pushboolean(L, luaL_testudata(L, 1, LUA_VM_TYPE) != NULL);
    return 1;
}

/* must_end(error): true for an error that is no result of a state: skip(), todo(), and the test's own timeout. */
static int check_must_end(lua_State *L)
{
    lua_pushboolean(L, pv_lua_is_skip(L, 1) || pv_tf_limit_expired(pv_lua_tf(L)));
    return 1;
}

/* describe(value): what a message says it got. */
static int check_describe(lua_State *L)
{
    if (lua_isnone(L, 1))
        lua_pushliteral(L, "nothing");
    else
        lua_pushstring(L, pv_lua_describe(L, 1));
    return 1;
}

/* error_text(error) */
static int check_error_text(lua_State *L)
{
    if (pv_lua_is_skip(L, 1))
        lua_pushliteral(L, "skip() or todo() was called");
    else
        pv_lua_push_error_text(L, 1);
    return 1;
}

static void image_unref(void *p)
{
    pv_disk_image_unref(*(struct pv_disk_image **)p);
}

/* The image of the state at idx, or of a disk of it. */
static LJMP struct pv_disk_image *state_image(lua_State *L, int idx)
{
    struct pv_disk_image **i = pv_lua_tmp(L, sizeof(struct pv_disk_image *), image_unref);

    *i = pv_lua_state_image(L, idx);
    if (!*i)
        pv_lua_raise(L, "expected a state, got %s", pv_lua_describe(L, idx));
    return *i;
}

/* shape(state): size and sector of its disk */
static int check_shape(lua_State *L)
{
    const struct pv_disk_image *i = state_image(L, 1);

    lua_pushinteger(L, (lua_Integer)pv_disk_image_size(i));
    lua_pushinteger(L, (lua_Integer)pv_disk_image_sector(i));
    return 2;
}

/* set(vm, name, state): the disk of the VM gets the state's content */
static int check_set(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "check");
    const char *name = luaL_checkstring(L, 2);
    struct pv_disk_image *i = state_image(L, 3);
    struct pv_err err;

    return pv_guest_disk_set(g->g, name, i, &err) < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* options(opts): stop, jobs */
static int check_options(lua_State *L)
{
    struct pv_states_opts o;
    bool stop;
    int jobs;

    pv_lua_check_states_opts(L, 1, &o, &stop, &jobs);
    lua_pushboolean(L, stop);
    lua_pushinteger(L, jobs);
    return 2;
}

/* rec:check(vm, fn, opts) */
int pv_lua_recording_check(lua_State *L)
{
    struct pv_disk_recording *r = pv_lua_check_recording(L, "check");

    lua_settop(L, 4);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &check_key);
    lua_insert(L, 1);
    lua_createtable(L, (int)pv_disk_recording_disks(r), 0);
    for (size_t i = 0; i < pv_disk_recording_disks(r); i++) {
        lua_pushstring(L, pv_disk_recording_disk_name(r, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_call(L, 5, 1);
    return 1;
}

void pv_lua_open_check(lua_State *L)
{
    static const luaL_Reg functions[] = {{"raise", pv_lua_own_fail},
                                         {"again", check_again},
                                         {"misused", pv_lua_own_misuse},
                                         {"step", check_step},
                                         {"is_vm", check_is_vm},
                                         {"must_end", check_must_end},
                                         {"describe", check_describe},
                                         {"error_text", check_error_text},
                                         {"options", check_options},
                                         {"shape", check_shape},
                                         {"set", check_set},
                                         {"minimise", pv_lua_minimise},
                                         {"state_number", pv_lua_state_number},
                                         {NULL, NULL}};

    pv_lua_load_own(L, pv_check_lua, sizeof(pv_check_lua));
    luaL_newlib(L, functions);
    lua_call(L, 1, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &check_key);
}
