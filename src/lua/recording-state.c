/* SPDX-License-Identifier: MIT */
/* States of a recording: what could have been found on its disks after a power failure. */
#include <string.h>

#include "disk/image.h"
#include "lua/handle.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/recording.h"
#include "lua/tmp.h"
#include "util/err.h"
#include "util/mem.h"

#define STATE_TYPE "provium.state"

enum { READ_MAX = 64 << 20, WHOLE = -1, CHECK_JOBS = 4, CHECK_JOBS_MAX = 64 };

struct lua_state {
    struct pv_disk_recording *r;
    struct pv_state *st;
    int disk; /* WHOLE: of a recording of several disks */
};

static LJMP struct lua_state *new_state(lua_State *L, struct pv_disk_recording *r, struct pv_state *st,
                                        int disk)
{
    struct lua_state *s = lua_newuserdatauv(L, sizeof(*s), 0);

    *s = (struct lua_state){.r = pv_disk_recording_ref(r), .st = st, .disk = disk};
    luaL_setmetatable(L, STATE_TYPE);
    return s;
}

void pv_lua_push_state(lua_State *L, struct pv_disk_recording *r, struct pv_state *st)
{
    new_state(L, r, st, pv_disk_recording_disks(r) == 1 ? 0 : WHOLE);
}

static LJMP struct lua_state *check_state(lua_State *L, const char *method)
{
    struct lua_state *s = luaL_testudata(L, 1, STATE_TYPE);

    if (!s || !s->st)
        pv_lua_raise(L, "%s must be called with a colon, as state:%s(...)", method, method);
    return s;
}

static LJMP size_t one_disk(lua_State *L, const struct lua_state *s, const char *what)
{
    if (s->disk == WHOLE)
        pv_lua_raise(L, "%s: the recording is of %d disks; say which: state:disk(\"%s\")", what,
                     (int)pv_disk_recording_disks(s->r), pv_disk_recording_disk_name(s->r, 0));
    return (size_t)s->disk;
}

struct pv_disk_image *pv_lua_state_image(lua_State *L, int idx)
{
    struct lua_state *s = luaL_testudata(L, idx, STATE_TYPE);
    struct pv_disk_image *image;
    struct pv_err err;

    if (!s || !s->st)
        return NULL;
    image = pv_state_image(s->st, one_disk(L, s, "option 'state'"), &err);
    if (!image)
        pv_lua_raise_err(L, &err);
    return image;
}

/* state:read(offset, n) */
static int state_read(lua_State *L)
{
    struct lua_state *s = check_state(L, "read");
    size_t disk = one_disk(L, s, "read");
    luaL_Buffer b;
    struct pv_err err;
    char *to;

    if (!lua_isinteger(L, 2) || !lua_isinteger(L, 3) || lua_tointeger(L, 2) < 0 || lua_tointeger(L, 3) < 0 ||
        lua_tointeger(L, 3) > READ_MAX)
        return pv_lua_raise(L, "read needs an offset and a number of bytes, at most %d, got %s and %s",
                            READ_MAX, pv_lua_describe(L, 2), pv_lua_describe(L, 3));
    to = luaL_buffinitsize(L, &b, (size_t)lua_tointeger(L, 3));
    if (pv_state_read(s->st, disk, (uint64_t)lua_tointeger(L, 2), to, (size_t)lua_tointeger(L, 3), &err) < 0)
        return pv_lua_raise_err(L, &err);
    luaL_pushresultsize(&b, (size_t)lua_tointeger(L, 3));
    return 1;
}

static void buffer_fini(void *p)
{
    pv_buf_free(p);
}

/* state:describe() */
static int state_describe(lua_State *L)
{
    struct lua_state *s = check_state(L, "describe");
    struct pv_buf *text = pv_lua_tmp(L, sizeof(*text), buffer_fini);

    pv_state_describe(s->st, text);
    lua_pushlstring(L, text->data ? text->data : "", text->len);
    return 1;
}

/* state:disk(name) */
static int state_disk(lua_State *L)
{
    struct lua_state *s = check_state(L, "disk");
    const char *name = pv_lua_check_cstring(L, 2, "the disk's name");

    for (size_t i = 0; i < pv_disk_recording_disks(s->r); i++)
        if (strcmp(pv_disk_recording_disk_name(s->r, i), name) == 0) {
            new_state(L, s->r, pv_state_ref(s->st), (int)i);
            return 1;
        }
    return pv_lua_raise(L, "the recording has no disk '%s'", name);
}

static const luaL_Reg state_methods[] = {
    {"read", state_read}, {"describe", state_describe}, {"disk", state_disk}, {NULL, NULL}};

/* state.number and state.marks, beside the methods. */
static int state_index(lua_State *L)
{
    const struct lua_state *s = luaL_testudata(L, 1, STATE_TYPE);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";

    if (s && s->st && strcmp(key, "number") == 0) {
        lua_pushinteger(L, (lua_Integer)pv_state_number(s->st));
        return 1;
    }
    if (!s || !s->st || strcmp(key, "marks") != 0)
        return pv_lua_type_index(L);
    lua_createtable(L, (int)pv_state_marks(s->st), 0);
    for (size_t i = 0; i < pv_state_marks(s->st); i++) {
        lua_pushstring(L, pv_state_mark(s->st, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int state_tostring(lua_State *L)
{
    const struct lua_state *s = luaL_testudata(L, 1, STATE_TYPE);

    lua_pushfstring(L, "state %d of a recording", s && s->st ? (int)pv_state_number(s->st) : 0);
    return 1;
}

static int state_gc(lua_State *L)
{
    struct lua_state *s = luaL_checkudata(L, 1, STATE_TYPE);

    pv_state_unref(s->st);
    pv_disk_recording_unref(s->r);
    *s = (struct lua_state){0};
    return 0;
}

static LJMP bool states_opts(lua_State *L, int idx, const char *what, const struct lua_opt *opts,
                             struct pv_states_opts *o)
{
    static const char *const at[] = {"flush", "write", NULL};

    *o = (struct pv_states_opts){.seed = 1};
    if (!pv_lua_check_opts(L, idx, what, opts))
        return false;
    o->at_write = pv_lua_opt_choice(L, idx, what, "at", at, 0) == 1;
    o->samples = (unsigned)pv_lua_opt_integer(L, idx, what, "samples", 0, 1000000, 0);
    o->torn = pv_lua_opt_bool(L, idx, "torn", false);
    o->exhaustive =
        (unsigned)pv_lua_opt_integer(L, idx, what, "exhaustive", 0, PV_DISK_RECORDING_EXHAUSTIVE, 0);
    o->seed = (uint64_t)pv_lua_opt_integer(L, idx, what, "seed", 0, LUA_MAXINTEGER, 1);
    return true;
}

void pv_lua_states_opts(lua_State *L, int idx, const char *what, struct pv_states_opts *o)
{
    static const struct lua_opt opts[] = {{"at", OPT_STRING},    {"samples", OPT_INTEGER},
                                          {"torn", OPT_BOOLEAN}, {"exhaustive", OPT_INTEGER},
                                          {"seed", OPT_INTEGER}, {NULL, 0}};

    states_opts(L, idx, what, opts, o);
}

void pv_lua_check_states_opts(lua_State *L, int idx, struct pv_states_opts *o, bool *stop, int *jobs)
{
    static const struct lua_opt opts[] = {
        {"at", OPT_STRING},    {"samples", OPT_INTEGER}, {"torn", OPT_BOOLEAN}, {"exhaustive", OPT_INTEGER},
        {"seed", OPT_INTEGER}, {"stop", OPT_BOOLEAN},    {"jobs", OPT_INTEGER}, {NULL, 0}};

    *stop = true;
    *jobs = CHECK_JOBS;
    if (!states_opts(L, idx, "check", opts, o))
        return;
    *stop = pv_lua_opt_bool(L, idx, "stop", true);
    *jobs = (int)pv_lua_opt_integer(L, idx, "check", "jobs", 1, CHECK_JOBS_MAX, CHECK_JOBS);
}

int pv_lua_state_number(lua_State *L)
{
    struct lua_state *s = check_state(L, "number");
    struct pv_states_opts o;
    uint64_t number;

    pv_lua_states_opts(L, 2, "states", &o);
    number = pv_disk_recording_number(s->r, s->st, &o);
    if (number)
        lua_pushinteger(L, (lua_Integer)number);
    else
        lua_pushnil(L);
    return 1;
}

static void minimise_fini(void *p)
{
    struct pv_minimise **m = p;

    if (*m)
        pv_state_unref(pv_minimise_free(*m));
}

int pv_lua_minimise(lua_State *L)
{
    struct lua_state *s = check_state(L, "minimise");
    lua_Integer limit = luaL_checkinteger(L, 3);
    struct pv_minimise **m = pv_lua_tmp(L, sizeof(*m), minimise_fini);
    struct pv_state *candidate, *best;

    *m = pv_minimise_new(s->st, (unsigned)limit);
    while ((candidate = pv_minimise_next(*m))) {
        lua_pushvalue(L, 2);
        new_state(L, s->r, pv_state_ref(candidate), s->disk);
        lua_call(L, 1, 1);
        if (lua_isnil(L, -1))
            break;
        pv_minimise_result(*m, lua_toboolean(L, -1));
        lua_pop(L, 1);
    }
    best = pv_minimise_free(*m);
    *m = NULL;
    new_state(L, s->r, best, s->disk);
    return 1;
}

void pv_lua_open_state(lua_State *L)
{
    static const struct lua_type type = {.id = STATE_TYPE,
                                         .kind = "state",
                                         .own = state_methods,
                                         .tostring = state_tostring,
                                         .close = NULL,
                                         .gc = state_gc,
                                         .index = state_index};

    pv_lua_open_type(L, &type);
}
