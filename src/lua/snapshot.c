/* SPDX-License-Identifier: MIT */
/*
 * vm:snapshot, vm:restore, vm:clone, and provium.reset_between_tests, which is made of the first two.
 *
 * A handle of a snapshot is a userdata that holds a reference; the collector or the end of the file lets go
 * of it.
 */
#include "guest/snapshot.h"
#include "guest/standby.h"

#include <stdio.h>
#include <string.h>

#include "lua/reset.h"
#include "lua/vm.h"
#include "util/err.h"
#include "util/parse.h"

#define SNAPSHOT_TYPE "provium.snapshot"

struct lua_snapshot {
    struct pv_snapshot *s; /* NULL: closed, or not yet filled in */
    unsigned lineage;      /* of the VM that it is of */
    char vm[96];
};

static const struct lua_opt timeout_opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};

static LJMP int64_t check_timeout(lua_State *L, int idx, const char *what)
{
    return pv_lua_check_opts(L, idx, what, timeout_opts) ? pv_lua_opt_time(L, idx, what, "timeout", 0) : 0;
}

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
    struct lua_guest *g = pv_lua_check_vm(L, "snapshot");
    int64_t timeout = check_timeout(L, 2, "snapshot");
    struct lua_snapshot *h = lua_newuserdatauv(L, sizeof(*h), 0);
    struct pv_err err;

    *h = (struct lua_snapshot){.lineage = g->lineage};
    snprintf(h->vm, sizeof(h->vm), "%s", g->name);
    luaL_setmetatable(L, SNAPSHOT_TYPE);
    pv_lua_begin(L, g, "taking a snapshot of %s", g->name);
    h->s = pv_guest_snapshot(g->g, timeout, &err);
    pv_lua_end(L, h->s != NULL);
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
    struct lua_guest *g = pv_lua_check_vm(L, "restore");
    struct lua_snapshot *h = check_snapshot(L, 2, "restore");
    struct pv_resume_opts o = {.timeout_ns = check_timeout(L, 3, "restore")};
    struct pv_err err;
    int rc;

    if (h->lineage != g->lineage)
        pv_lua_raise(
            L,
            "restore: the snapshot is of %s, which %s is no clone of; vm:clone(snapshot) makes another "
            "VM from it",
            h->vm, g->name);
    pv_lua_begin_step(L, g, PV_STEP_RESUME, "restoring %s", g->name);
    rc = pv_guest_restore(g->g, h->s, &o, &err);
    pv_lua_end(L, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

static void unref_snapshot(void *p)
{
    pv_snapshot_unref(*(struct pv_snapshot **)p);
}

/* vm:clone(snapshot?, {timeout=}?) */
int pv_lua_vm_clone(lua_State *L)
{
    struct lua_guest *g = pv_lua_check_vm(L, "clone"), *clone;
    struct pv_resume_opts o = {0};
    struct pv_snapshot **s;
    struct lua_guest **handle;
    struct pv_guest *guest;
    struct pv_err err;

    if (lua_istable(L, 2) && lua_isnoneornil(L, 3)) {
        lua_settop(L, 2);
        lua_pushnil(L);
        lua_insert(L, 2);
    }
    lua_settop(L, 3);
    o.timeout_ns = check_timeout(L, 3, "clone");
    s = pv_lua_tmp(L, sizeof(struct pv_snapshot *), unref_snapshot);
    if (!lua_isnil(L, 2)) {
        struct lua_snapshot *h = check_snapshot(L, 2, "clone");

        if (h->lineage != g->lineage)
            pv_lua_raise(L, "clone: the snapshot is of %s, which %s is no clone of", h->vm, g->name);
        *s = pv_snapshot_ref(h->s);
    }
    handle = pv_lua_new_handle(L, false);
    pv_lua_begin_step(L, g, PV_STEP_RESUME, "cloning %s", g->name);
    if (!*s)
        *s = pv_guest_snapshot(g->g, o.timeout_ns, &err);
    guest = *s ? pv_guest_resume(&pv_lua_of(L)->guest_env, *s, &o, &err) : NULL;
    pv_lua_end(L, guest != NULL);
    if (!guest)
        return pv_lua_raise_err(L, &err);
    clone = pv_lua_add_vm(pv_lua_of(L), guest);
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

/* ---- provium.reset_between_tests ---- */

#define RESET "reset_between_tests"

struct lua_reset {
    bool on, begun; /* begun: the first test has begun */
    struct reset_vm {
        struct lua_guest *g;
        struct pv_snapshot *s;
    } * vms;
    size_t n;
    struct lua_guest *last; /* the youngest VM when the first test began; NULL: there was none */
};

static void forget(struct lua_reset *r)
{
    for (size_t i = 0; i < r->n; i++)
        pv_snapshot_unref(r->vms[i].s);
    free(r->vms);
    r->vms = NULL;
    r->n = 0;
}

bool pv_lua_resets(const struct pv_lua *pl)
{
    return pl->reset && pl->reset->on;
}

void pv_lua_reset_free(struct pv_lua *pl)
{
    if (pl->reset)
        forget(pl->reset);
    free(pl->reset);
    pl->reset = NULL;
}

/* provium.X = v */
static int provium_newindex(lua_State *L)
{
    static const char *const known[] = {RESET, NULL};
    struct pv_lua *pl = pv_lua_of(L);
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";

    if (strcmp(name, RESET) != 0) {
        if (pv_nearest(name, known))
            pv_lua_raise(L, "provium.%s means nothing (did you mean provium." RESET "?)", name);
        lua_rawset(L, 1);
        return 0;
    }
    if (!lua_isboolean(L, 3))
        pv_lua_raise(L, "provium." RESET " must be true or false, got %s", pv_lua_describe(L, 3));
    if (pl->build && lua_toboolean(L, 3))
        pv_lua_raise(L, "provium." RESET " has no meaning in a fixture, which has no tests");
    if (pl->n_tests && lua_toboolean(L, 3) && !pv_lua_resets(pl))
        pv_lua_raise(L, "provium." RESET " = true must stand in front of the first test");
    pl->touched = true;
    if (!pl->reset)
        pl->reset = pv_xcalloc(1, sizeof(*pl->reset));
    pl->reset->on = lua_toboolean(L, 3);
    pl->guest_env.host.auto_transport = pl->reset->on ? PV_TRANSPORT_SERIAL : PV_TRANSPORT_AUTO;
    if (!pl->reset->on)
        forget(pl->reset);
    return 0;
}

static int provium_index(lua_State *L)
{
    if (lua_type(L, 2) == LUA_TSTRING && !strcmp(lua_tostring(L, 2), RESET))
        lua_pushboolean(L, pv_lua_resets(pv_lua_of(L)));
    else
        lua_pushnil(L);
    return 1;
}

void pv_lua_open_reset(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, provium_index);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, provium_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
}

/* Of all VMs that run now. */
static int take_state(lua_State *L, struct lua_reset *r, struct pv_err *err)
{
    struct pv_lua *pl = pv_lua_of(L);

    for (struct lua_guest *g = pl->guests; g; g = g->next) {
        struct pv_snapshot *s;

        r->last = g;
        if (g->w || pv_lua_guest_state(g) != PV_GUEST_RUNNING)
            continue;
        pv_lua_begin(L, g, "taking a snapshot of %s for " RESET, g->name);
        s = pv_guest_snapshot(g->g, 0, err);
        pv_lua_end(L, s != NULL);
        if (!s)
            return pv_err_wrap(err, "provium." RESET "%s",
                               err->cls == PV_E_USAGE ? " must be set in front of vm:boot" : "");
        r->vms = pv_xrealloc(r->vms, (r->n + 1) * sizeof(*r->vms));
        r->vms[r->n++] = (struct reset_vm){g, s};
        pv_standby_prepare(pl->guest_env.standby_pool, s); /* for the second test */
    }
    r->begun = true;
    return 0;
}

static struct lua_guest *newer(const struct pv_lua *pl)
{
    const struct lua_reset *r = pl->reset;

    return r->last ? r->last->next : pl->guests;
}

bool pv_lua_reset_holds(const struct pv_lua *pl, const struct lua_guest *g)
{
    const struct lua_reset *r = pl->reset;

    if (r && g == r->last)
        return true;
    for (size_t i = 0; r && i < r->n; i++)
        if (r->vms[i].g == g)
            return true;
    return false;
}

/* Only VMs can be there that there were, because the end of each test has ended its own. */
static int check_newer(struct pv_lua *pl, struct pv_err *err)
{
    for (struct lua_guest *g = newer(pl); g; g = g->next)
        if (!g->w && pv_lua_guest_state(g) == PV_GUEST_RUNNING)
            return pv_err_set(err, PV_E_USAGE,
                              RESET
                              ": %s was started between tests, and the first test began without it; start "
                              "it in front of the first test, or inside of a test",
                              g->name);
    return 0;
}

int pv_lua_reset_begin(lua_State *L, struct pv_err *err)
{
    struct pv_lua *pl = pv_lua_of(L);
    struct lua_reset *r = pl->reset;

    if (!pv_lua_resets(pl))
        return 0;
    if (!r->begun) {
        forget(r); /* of an attempt that failed */
        return take_state(L, r, err);
    }
    if (check_newer(pl, err) < 0)
        return -1;
    for (size_t i = 0; i < r->n; i++) {
        int rc;

        pv_lua_begin_step(L, r->vms[i].g, PV_STEP_RESUME, "restoring %s for the next test",
                          r->vms[i].g->name);
        rc = pv_guest_restore(r->vms[i].g->g, r->vms[i].s, NULL, err);
        pv_lua_end(L, rc == 0);
        if (rc < 0)
            return pv_err_wrap(err, RESET);
    }
    return 0;
}

void pv_lua_reset_end(struct pv_lua *pl)
{
    if (!pv_lua_resets(pl) || !pl->reset->begun)
        return;
    for (struct lua_guest *g = newer(pl); g; g = g->next)
        pv_guest_kill(g->g);
}
