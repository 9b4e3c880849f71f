/* SPDX-License-Identifier: MIT */
/* provium.record, provium.recording, d:record, and the type of a recording. */
#include "lua/recording.h"

#include "lua/disk.h"
#include "lua/handle.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "util/err.h"

#define RECORDING_TYPE "provium.recording"

struct lua_recording {
    struct pv_disk_recording *r;
};

static LJMP struct lua_recording *new_recording(lua_State *L)
{
    struct lua_recording *h = lua_newuserdatauv(L, sizeof(*h), 0);

    h->r = NULL;
    luaL_setmetatable(L, RECORDING_TYPE);
    return h;
}

struct pv_disk_recording *pv_lua_check_recording(lua_State *L, const char *method)
{
    const struct lua_recording *h = luaL_testudata(L, 1, RECORDING_TYPE);

    if (!h || !h->r)
        pv_lua_raise(L, "%s must be called with a colon, as rec:%s(...)", method, method);
    return h->r;
}

static LJMP int record(lua_State *L, struct pv_disk *const *disks, size_t n)
{
    struct lua_recording *h = new_recording(L);
    struct pv_err err;

    h->r = pv_disk_recording_start(disks, n, pv_lua_tf(L)->dir, &err);
    return h->r ? 1 : pv_lua_raise_err(L, &err);
}

/* d:record() */
int pv_lua_disk_record(lua_State *L)
{
    struct pv_disk *disk = pv_lua_served_disk(L, 1, "record");

    return record(L, &disk, 1);
}

/* provium.record{d1, d2} */
int pv_lua_record(lua_State *L)
{
    struct pv_disk *disks[PV_DISK_RECORDING_DISKS];
    lua_Integer n = lua_istable(L, 1) ? pv_lua_list_len(L, 1) : -1;

    if (n < 1 || n > PV_DISK_RECORDING_DISKS)
        return pv_lua_raise(
            L, "provium.record needs a list of 1 to %d disks: provium.record{vm:disk(\"data\")}, got %s",
            PV_DISK_RECORDING_DISKS,
            n >= 0 ? lua_pushfstring(L, "%I of them", (LUAI_UACINT)n) : pv_lua_describe(L, 1));
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, i);
        if (!pv_lua_is_disk(L, -1))
            return pv_lua_raise(L, "provium.record: entry %I must be a disk (vm:disk), got %s",
                                (LUAI_UACINT)i, pv_lua_describe(L, -1));
        disks[i - 1] = pv_lua_served_disk(L, lua_absindex(L, -1), "record");
    }
    return record(L, disks, (size_t)n);
}

/* provium.recording(path) */
int pv_lua_recording(lua_State *L)
{
    const char *path = pv_lua_check_cstring(L, 1, "the path of a recording");
    struct lua_recording *h;
    char found[PATH_MAX];
    struct pv_err err;

    pv_lua_find_host(L, path, "recording", found);
    h = new_recording(L);
    h->r = pv_disk_recording_load(found, pv_lua_tf(L)->dir, &err);
    return h->r ? 1 : pv_lua_raise_err(L, &err);
}

/* rec:mark(text) */
static int recording_mark(lua_State *L)
{
    struct pv_disk_recording *r = pv_lua_check_recording(L, "mark");
    struct pv_err err;

    if (pv_disk_recording_mark(r, pv_lua_check_cstring(L, 2, "the mark"), &err) < 0)
        return pv_lua_raise_err(L, &err);
    return 0;
}

/* rec:stop() */
static int recording_stop(lua_State *L)
{
    struct pv_err err;

    if (pv_disk_recording_stop(pv_lua_check_recording(L, "stop"), &err) < 0)
        return pv_lua_raise_err(L, &err);
    return 0;
}

struct lua_states {
    struct pv_states *s;
    struct pv_disk_recording *r;
};

static void states_fini(void *p)
{
    struct lua_states *s = p;

    pv_states_free(s->s);
    pv_disk_recording_unref(s->r);
}

static int states_next(lua_State *L)
{
    const struct lua_states *s = lua_touserdata(L, lua_upvalueindex(2));
    struct pv_err err = PV_ERR_INIT;
    struct pv_state *st = pv_states_next(s->s, &err);

    if (st)
        pv_lua_push_state(L, s->r, st);
    else if (err.cls != PV_E_NONE)
        return pv_lua_raise_err(L, &err);
    else
        lua_pushnil(L);
    return 1;
}

/* rec:states{at=, samples=, torn=, exhaustive=, seed=} */
static int recording_states(lua_State *L)
{
    struct pv_disk_recording *r = pv_lua_check_recording(L, "states");
    struct pv_states_opts o;
    struct lua_states *s;
    struct pv_err err;

    pv_lua_states_opts(L, 2, "states", &o);
    s = pv_lua_tmp(L, sizeof(*s), states_fini);
    s->s = pv_states_new(r, &o, &err);
    if (!s->s)
        return pv_lua_raise_err(L, &err);
    s->r = pv_disk_recording_ref(r);
    lua_pushlightuserdata(L, s); /* within the value below it, which keeps it */
    lua_pushcclosure(L, states_next, 2);
    return 1;
}

/* rec:state(number, {the same}) */
static int recording_state(lua_State *L)
{
    struct pv_disk_recording *r = pv_lua_check_recording(L, "state");
    struct pv_states_opts o;
    struct pv_state *st;
    struct pv_err err;

    if (!lua_isinteger(L, 2) || lua_tointeger(L, 2) < 1)
        return pv_lua_raise(L, "state needs a number, from 1, got %s", pv_lua_describe(L, 2));
    pv_lua_states_opts(L, 3, "state", &o);
    st = pv_disk_recording_state(r, (uint64_t)lua_tointeger(L, 2), &o, &err);
    if (!st)
        return pv_lua_raise_err(L, &err);
    pv_lua_push_state(L, r, st);
    return 1;
}

/* rec:stats() */
static int recording_stats(lua_State *L)
{
    struct pv_disk_recording_stats s;

    pv_disk_recording_stats(pv_lua_check_recording(L, "stats"), &s);
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)s.writes);
    lua_setfield(L, -2, "writes");
    lua_pushinteger(L, (lua_Integer)s.flushes);
    lua_setfield(L, -2, "flushes");
    lua_pushinteger(L, (lua_Integer)s.bytes);
    lua_setfield(L, -2, "bytes");
    lua_pushinteger(L, (lua_Integer)s.states);
    lua_setfield(L, -2, "states");
    return 1;
}

/* rec:save(path) */
static int recording_save(lua_State *L)
{
    struct pv_disk_recording *r = pv_lua_check_recording(L, "save");
    const char *path = pv_lua_check_cstring(L, 2, "the path of save");
    struct pv_err err;

    if (pv_disk_recording_save(r, path, &err) < 0)
        return pv_lua_raise_err(L, &err);
    pv_tf_wrote(pv_lua_tf(L), path);
    return 0;
}

static int recording_tostring(lua_State *L)
{
    lua_pushstring(L, "recording");
    return 1;
}

static int recording_gc(lua_State *L)
{
    struct lua_recording *h = luaL_checkudata(L, 1, RECORDING_TYPE);

    pv_disk_recording_unref(h->r);
    h->r = NULL;
    return 0;
}

void pv_lua_open_recording(lua_State *L)
{
    static const luaL_Reg methods[] = {{"mark", recording_mark},          {"stop", recording_stop},
                                       {"states", recording_states},      {"state", recording_state},
                                       {"stats", recording_stats},        {"save", recording_save},
                                       {"check", pv_lua_recording_check}, {NULL, NULL}};
    static const struct lua_type type = {.id = RECORDING_TYPE,
                                         .kind = "recording",
                                         .own = methods,
                                         .tostring = recording_tostring,
                                         .gc = recording_gc};

    pv_lua_open_type(L, &type);
    pv_lua_open_check(L);
}
