/* SPDX-License-Identifier: MIT */
/*
 * The `provium` table and the life of a VM.  A handle is a userdata that points into the file's list of
 * guests; the list owns them, so that all are ended whatever happens to the handles.
 */
#include "lua/vm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/parse.h"

#define VM_TYPE "provium.vm"

struct lua_guest *pv_lua_check_vm(lua_State *L, const char *method)
{
    struct lua_guest **h = luaL_testudata(L, 1, VM_TYPE);

    if (!h)
        pv_lua_raise(L, "vm.%s(...) got %s where the VM belongs; call it with a colon: vm:%s(...)", method,
                     lua_isnone(L, 1) ? "nothing" : pv_lua_describe(L, 1), method);
    return *h;
}

void pv_lua_begin(lua_State *L, const char *fmt, ...)
{
    struct pv_lua *pl = pv_lua_of(L);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(pl->doing, sizeof(pl->doing), fmt, ap);
    va_end(ap);
    pv_result_phase(pl->env->result, pl->doing);
}

void pv_lua_end(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);

    pl->doing[0] = '\0';
    pv_result_phase(pl->env->result, "");
}

static int vm_shutdown(lua_State *L)
{
    struct lua_guest *g = pv_lua_check_vm(L, "shutdown");
    struct pv_err err;
    int rc;

    pv_lua_begin(L, "shutting down %s", g->name);
    rc = pv_guest_shutdown(g->g, &err);
    pv_lua_end(L);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

static int vm_kill(lua_State *L)
{
    pv_guest_kill(pv_lua_check_vm(L, "kill")->g);
    return 0;
}

static int vm_close(lua_State *L)
{
    struct lua_guest **h = luaL_testudata(L, 1, VM_TYPE);

    if (h)
        pv_guest_kill((*h)->g);
    return 0;
}

static int vm_tostring(lua_State *L)
{
    struct lua_guest *g = pv_lua_check_vm(L, "tostring");

    lua_pushfstring(L, "%s: %s", pv_guest_name(g->g), pv_guest_state_name(pv_guest_state(g->g)));
    return 1;
}

/* Runs the loop, so that consoles are drained and deaths noticed meanwhile. */
static LJMP void sleep_ns(lua_State *L, int64_t ns)
{
    struct pv_err err;

    if (pv_loop_run(pv_lua_of(L)->loop, NULL, NULL, pv_deadline(ns), &err) < 0)
        pv_lua_raise_err(L, &err);
}

/* vm:wait_until(fn, {timeout=10, interval=0.5, desc="condition"}) */
static int vm_wait_until(lua_State *L)
{
    static const struct lua_opt opts[] = {
        {"timeout", OPT_TIME}, {"interval", OPT_TIME}, {"desc", OPT_STRING}, {NULL, 0}};
    int64_t timeout = 10 * PV_NSEC_PER_SEC, interval = PV_NSEC_PER_SEC / 2, deadline, started = pv_now();
    const char *desc = "condition";
    char took[32];

    pv_lua_check_vm(L, "wait_until");
    if (!lua_isfunction(L, 2))
        pv_lua_raise(L, "wait_until needs a function, got %s",
                     lua_isnone(L, 2) ? "nothing" : pv_lua_describe(L, 2));
    lua_settop(L, 3);
    if (pv_lua_check_opts(L, 3, "wait_until", opts)) {
        timeout = pv_lua_opt_time(L, 3, "wait_until", "timeout", timeout);
        interval = pv_lua_opt_time(L, 3, "wait_until", "interval", interval);
        if (lua_getfield(L, 3, "desc") == LUA_TSTRING)
            desc = lua_tostring(L, -1); /* stays on the stack */
    }
    deadline = pv_deadline(timeout);
    for (;;) {
        int64_t left;

        lua_pushvalue(L, 2);
        lua_call(L, 0, 1);
        if (lua_toboolean(L, -1))
            return 1;
        lua_pop(L, 1);
        left = deadline - pv_now();
        if (left <= 0)
            break;
        sleep_ns(L, left < interval ? left : interval);
    }
    snprintf(took, sizeof(took), "%.1f", (double)(pv_now() - started) / PV_NSEC_PER_SEC);
    return pv_lua_raise(L, "waited %s s for %s, which did not come true", took, desc);
}

static const luaL_Reg vm_methods[] = {{"boot", pv_lua_vm_boot},
                                      {"exec", pv_lua_vm_exec},
                                      {"read_file", pv_lua_vm_read_file},
                                      {"write_file", pv_lua_vm_write_file},
                                      {"mount_vfs", pv_lua_vm_mount_vfs},
                                      {"wait_until", vm_wait_until},
                                      {"shutdown", vm_shutdown},
                                      {"kill", vm_kill},
                                      {NULL, NULL}};

/* __index; upvalue 1 is the table of methods. */
static int vm_index(lua_State *L)
{
    const char *names[PV_ARRAY_LEN(vm_methods)], *near, *name;

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    for (size_t i = 0; i < PV_ARRAY_LEN(vm_methods); i++)
        names[i] = vm_methods[i].name; /* ends with the NULL of vm_methods */
    name = luaL_tolstring(L, 2, NULL);
    near = pv_nearest(name, names);
    if (near)
        return pv_lua_raise(L, "a VM has no method '%s' (did you mean '%s'?)", name, near);
    return pv_lua_raise(L, "a VM has no method '%s'", name);
}

static int vm_newindex(lua_State *L)
{
    return pv_lua_raise(L, "a VM takes no fields of yours (tried to set '%s')", luaL_tolstring(L, 2, NULL));
}

static LJMP void push_handle(lua_State *L, struct lua_guest *g)
{
    struct lua_guest **h = lua_newuserdatauv(L, sizeof(struct lua_guest *), 0);

    *h = g;
    luaL_setmetatable(L, VM_TYPE);
}

static int provium_create(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    const char *name = lua_isnoneornil(L, 1) ? NULL : pv_lua_check_cstring(L, 1, "the profile's name");
    const struct pv_profile *profile;
    struct lua_guest *g, **end;
    struct pv_err err;

    pl->touched = true;
    if (!lua_isnoneornil(L, 2))
        pv_lua_raise(L, "provium.create takes only a profile's name; options belong to vm:boot{...}");
    profile = pv_config_profile(pl->env->config, name, &err);
    if (!profile)
        return pv_lua_raise_err(L, &err);
    g = pv_xcalloc(1, sizeof(*g));
    g->g = pv_guest_new(&pl->guest_env, profile);
    snprintf(g->name, sizeof(g->name), "%.*s", (int)strcspn(pv_guest_name(g->g), " "), pv_guest_name(g->g));
    for (end = &pl->guests; *end; end = &(*end)->next)
        ;
    *end = g; /* the list owns it before anything can raise */
    push_handle(L, g);
    return 1;
}

static int provium_shutdown_all(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    struct pv_err err, first = PV_ERR_INIT;

    pl->touched = true;
    for (struct lua_guest *g = pl->guests; g; g = g->next) {
        if (pv_guest_state(g->g) == PV_GUEST_CREATED)
            continue;
        pv_lua_begin(L, "shutting down %s", g->name);
        if (pv_guest_shutdown(g->g, &err) < 0 && first.cls == PV_E_NONE)
            first = err;
        pv_lua_end(L);
    }
    return first.cls == PV_E_NONE ? 0 : pv_lua_raise_err(L, &first);
}

static int provium_fixture(lua_State *L)
{
    pv_lua_of(L)->touched = true;
    return pv_lua_raise(L,
                        "provium.fixture is not available yet; create a VM with provium.create(PROFILE) and "
                        "boot it");
}

static int provium_sleep(lua_State *L)
{
    struct pv_err err;
    int64_t ns = 0;
    int rc;

    if (lua_type(L, 1) == LUA_TNUMBER)
        rc = pv_seconds_to_ns(lua_tonumber(L, 1), &ns, &err);
    else
        rc = pv_parse_time(pv_lua_check_cstring(L, 1, "the time for provium.sleep"), &ns, &err);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    sleep_ns(L, ns);
    return 0;
}

void pv_lua_open_vm(lua_State *L)
{
    static const luaL_Reg functions[] = {{"create", provium_create},
                                         {"shutdown_all", provium_shutdown_all},
                                         {"fixture", provium_fixture},
                                         {"sleep", provium_sleep},
                                         {NULL, NULL}};

    luaL_newmetatable(L, VM_TYPE);
    luaL_newlib(L, vm_methods);
    lua_pushcclosure(L, vm_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, vm_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, vm_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, vm_close);
    lua_setfield(L, -2, "__close");
    lua_pushliteral(L, "VM");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_pushstring(L, pv_lua_of(L)->env->version);
    lua_setfield(L, -2, "version");
    lua_setglobal(L, "provium");
}

void pv_lua_kill_guests(struct pv_lua *pl)
{
    for (struct lua_guest *g = pl->guests; g; g = g->next)
        pv_guest_kill(g->g);
}

void pv_lua_free_guests(struct pv_lua *pl)
{
    while (pl->guests) {
        struct lua_guest *g = pl->guests;

        pl->guests = g->next;
        pv_guest_free(g->g);
        free(g->last_tail);
        free(g);
    }
}
