/* SPDX-License-Identifier: MIT */
/* The type snapshot, a userdata with a reference, and vm:snapshot, vm:restore, vm:clone. */
#include "guest/snapshot.h"

#include <stdio.h>

#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "testfile/before-end.h"
#include "testfile/netsaved.h"
#include "util/err.h"

#define SNAPSHOT_TYPE "provium.snapshot"

struct lua_snapshot {
    struct pv_snapshot *s; /* NULL: closed, or not yet filled in */
    unsigned lineage;      /* of its VM */
    char vm[TF_NAME_MAX];
};

static int snapshot_gc(lua_State *L)
{
    struct lua_snapshot *h = luaL_checkudata(L, 1, SNAPSHOT_TYPE);

    pv_snapshot_unref(h->s);
    h->s = NULL;
    return 0;
}

static int snapshot_tostring(lua_State *L)
{
    struct lua_snapshot *h = luaL_checkudata(L, 1, SNAPSHOT_TYPE);

    lua_pushfstring(L, h->s ? "snapshot of %s" : "snapshot of %s: closed", h->vm);
    return 1;
}

/* vm:snapshot({timeout=}?) */
int pv_lua_vm_snapshot(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "snapshot");
    int64_t timeout = pv_lua_check_timeout(L, 2, "snapshot", 0);
    struct lua_snapshot *h = lua_newuserdatauv(L, sizeof(*h), 0);
    struct pv_err err;

    *h = (struct lua_snapshot){.lineage = g->lineage};
    snprintf(h->vm, sizeof(h->vm), "%s", g->name);
    luaL_setmetatable(L, SNAPSHOT_TYPE);
    pv_tf_call_begin(pv_lua_tf(L), g->name, "taking a snapshot of %s", g->name);
    h->s = pv_guest_snapshot(g->g, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), h->s != NULL);
    return h->s ? 1 : pv_lua_raise_err(L, &err);
}

static LJMP struct lua_snapshot *check_snapshot(lua_State *L, int idx, const char *method)
{
    struct lua_snapshot *h = luaL_testudata(L, idx, SNAPSHOT_TYPE);

    if (!h)
        pv_lua_raise(L, "%s needs what vm:snapshot() returned, got %s", method,
                     lua_isnone(L, idx) ? "nothing" : pv_lua_describe(L, idx));
    if (!h->s)
        pv_lua_raise(L, "%s: the snapshot of %s was closed", method, h->vm);
    return h;
}

/* vm:restore(snapshot, {timeout=}?) */
int pv_lua_vm_restore(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "restore");
    struct lua_snapshot *h = check_snapshot(L, 2, "restore");
    int64_t timeout = pv_lua_check_timeout(L, 3, "restore", 0);
    struct pv_err err;
    int rc;

    if (h->lineage != g->lineage)
        pv_lua_raise(
            L,
            "restore: the snapshot is of %s, which %s is no clone of; vm:clone(snapshot) makes another "
            "VM from it",
            h->vm, g->name);
    pv_tf_step_begin(pv_lua_tf(L), g->name, PV_STEP_RESUME, "restoring %s", g->name);
    pv_tf_before_end(pv_lua_tf(L), g);
    rc = pv_tf_restore(pv_lua_tf(L), g->g, h->s, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

static void snapshot_unref(void *p)
{
    pv_snapshot_unref(*(struct pv_snapshot **)p);
}

/* vm:clone(snapshot?, {timeout=, name=}?) */
int pv_lua_vm_clone(lua_State *L)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {"name", OPT_STRING}, {NULL, 0}};
    struct tf_guest *g = pv_lua_check_vm(L, "clone"), *clone;
    struct pv_testfile *tf = pv_lua_tf(L);
    struct pv_snapshot **s;
    struct tf_guest **handle;
    struct pv_guest *guest;
    const char *name = NULL;
    struct pv_err err;
    int64_t timeout = 0;

    if (lua_istable(L, 2) && lua_isnoneornil(L, 3)) {
        lua_settop(L, 2);
        lua_pushnil(L);
        lua_insert(L, 2);
    }
    lua_settop(L, 3);
    if (pv_lua_check_opts(L, 3, "clone", opts)) {
        timeout = pv_lua_opt_time(L, 3, "clone", "timeout", 0);
        name = pv_lua_opt_vm_name(L, 3, "clone");
    }
    s = pv_lua_tmp(L, sizeof(struct pv_snapshot *), snapshot_unref);
    if (!lua_isnil(L, 2)) {
        struct lua_snapshot *h = check_snapshot(L, 2, "clone");

        if (h->lineage != g->lineage)
            pv_lua_raise(L, "clone: the snapshot is of %s, which %s is no clone of", h->vm, g->name);
        *s = pv_snapshot_ref(h->s);
    }
    handle = pv_lua_new_vm(L);
    pv_tf_step_begin(pv_lua_tf(L), g->name, PV_STEP_RESUME, "cloning %s", g->name);
    if (!*s)
        *s = pv_guest_snapshot(g->g, timeout, &err);
    guest = *s ? pv_tf_clone(tf, *s, name, timeout, &err) : NULL;
    pv_tf_step_end(pv_lua_tf(L), guest != NULL);
    clone = guest ? pv_tf_guest_join(&tf->guests, guest, &err) : NULL;
    if (!clone)
        return pv_lua_raise_err(L, &err);
    clone->lineage = g->lineage;
    *handle = clone;
    return 1;
}

void pv_lua_open_snapshot(lua_State *L)
{
    static const luaL_Reg meta[] = {
        {"__gc", snapshot_gc}, {"__close", snapshot_gc}, {"__tostring", snapshot_tostring}, {NULL, NULL}};

    luaL_newmetatable(L, SNAPSHOT_TYPE);
    luaL_setfuncs(L, meta, 0);
    lua_pushliteral(L, "snapshot");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
