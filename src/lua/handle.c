/* SPDX-License-Identifier: MIT */
#include "lua/handle.h"

#include <assert.h>
#include <string.h>

#include "guest/worker.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "util/mem.h"
#include "util/parse.h"

enum { MAX_METHODS = 127, HOST_NAME_MAX_LEN = 63 };

/* ---- types ---- */

static size_t add_names(const luaL_Reg *methods, const char **names, size_t n)
{
    for (; methods && methods->name; methods++) {
        assert(n < MAX_METHODS);
        names[n++] = methods->name;
    }
    return n;
}

/* __index; upvalue 1 is the table of methods (scripts/check-lua-api reads it), upvalue 2 the type. */
int pv_lua_type_index(lua_State *L)
{
    const struct lua_type *t = lua_touserdata(L, lua_upvalueindex(2));
    const char *names[MAX_METHODS + 1], *near, *name;
    size_t n;

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    name = luaL_tolstring(L, 2, NULL);
    for (const luaL_Reg *f = t->foreign; f && f->name; f++)
        if (!strcmp(name, f->name))
            return pv_lua_raise(L, "a %s has no method '%s'; only its VM has", t->kind, name);
    n = add_names(t->own, names, 0);
    n = add_names(t->shared, names, n);
    names[n] = NULL;
    near = pv_nearest(name, names);
    if (near)
        return pv_lua_raise(L, "a %s has no method '%s' (did you mean '%s'?)", t->kind, name, near);
    return pv_lua_raise(L, "a %s has no method '%s'", t->kind, name);
}

static int type_newindex(lua_State *L)
{
    const struct lua_type *t = lua_touserdata(L, lua_upvalueindex(1));

    return pv_lua_raise(L, "a %s takes no fields of yours (tried to set '%s')", t->kind,
                        luaL_tolstring(L, 2, NULL));
}

void pv_lua_open_type(lua_State *L, const struct lua_type *t)
{
    luaL_newmetatable(L, t->id);
    lua_newtable(L);
    if (t->shared)
        luaL_setfuncs(L, t->shared, 0);
    luaL_setfuncs(L, t->own, 0);
    lua_pushlightuserdata(L, (void *)t);
    lua_pushcclosure(L, t->index ? t->index : pv_lua_type_index, 2);
    lua_setfield(L, -2, "__index");
    lua_pushlightuserdata(L, (void *)t);
    lua_pushcclosure(L, type_newindex, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, t->tostring);
    lua_setfield(L, -2, "__tostring");
    if (t->close) {
        lua_pushcfunction(L, t->close);
        lua_setfield(L, -2, "__close");
    }
    if (t->gc) {
        lua_pushcfunction(L, t->gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pushstring(L, t->kind);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

/* ---- handles ---- */

/* Memory of a handle: one pointer. */
static LJMP void *new_handle(lua_State *L, const char *id)
{
    void **h = lua_newuserdatauv(L, sizeof(*h), 0);

    *h = NULL;
    luaL_setmetatable(L, id);
    return h;
}

struct tf_guest **pv_lua_new_vm(lua_State *L)
{
    return new_handle(L, LUA_VM_TYPE);
}

struct tf_worker **pv_lua_new_worker(lua_State *L)
{
    return new_handle(L, LUA_WORKER_TYPE);
}

struct tf_guest *pv_lua_vm_at(lua_State *L, int idx)
{
    struct tf_guest **h = luaL_testudata(L, idx, LUA_VM_TYPE);

    return h ? *h : NULL;
}

LJMP const char *pv_lua_opt_vm_name(lua_State *L, int idx, const char *what)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const char *name, *arg;

    if (pv_lua_rawfield(L, idx, "name") != LUA_TSTRING) {
        lua_pop(L, 1);
        return NULL;
    }
    arg = lua_pushfstring(L, "%s option 'name'", what);
    name = pv_lua_check_cstring(L, -2, arg);
    if (!*name || strlen(name) > HOST_NAME_MAX_LEN || name[strspn(name, letters)] || strchr("-_.", name[0]))
        pv_lua_raise(
            L,
            "%s option 'name': a VM's name has 1 to %d letters, digits, '-', '_' and '.', and begins "
            "with a letter or a digit; got %s",
            what, HOST_NAME_MAX_LEN, pv_lua_describe(L, -2));
    if (pv_tf_guest_called(&pv_lua_tf(L)->guests, name))
        pv_lua_raise(
            L, "%s option 'name': there is a VM called '%s' already; end it first, or choose another name",
            what, name);
    lua_pop(L, 2);
    return name;
}

struct tf_worker *pv_lua_worker_at(lua_State *L, int idx)
{
    struct tf_worker **h = luaL_testudata(L, idx, LUA_WORKER_TYPE);

    return h ? *h : NULL;
}

struct tf_guest *pv_lua_vm_of(lua_State *L, int idx)
{
    const struct tf_worker *w = pv_lua_worker_at(L, idx);

    return w ? w->vm : pv_lua_vm_at(L, idx);
}

static LJMP void raise_no_handle(lua_State *L, const char *method)
{
    pv_lua_raise(L, "vm.%s(...) got %s where the VM belongs; call it with a colon: vm:%s(...)", method,
                 lua_isnone(L, 1) ? "nothing" : pv_lua_describe(L, 1), method);
}

struct tf_guest *pv_lua_check_vm(lua_State *L, const char *method)
{
    struct tf_guest *g = pv_lua_vm_at(L, 1);

    if (!g)
        raise_no_handle(L, method);
    return g;
}

struct tf_worker *pv_lua_check_worker(lua_State *L, const char *method)
{
    struct tf_worker *w = pv_lua_worker_at(L, 1);

    if (!w)
        raise_no_handle(L, method);
    return w;
}

struct lua_agent pv_lua_check_agent(lua_State *L, const char *method)
{
    const struct tf_worker *w = pv_lua_worker_at(L, 1);
    const struct tf_guest *g;

    if (w)
        return (struct lua_agent){.a = pv_worker_agent(w->w), .name = w->name, .vm = w->vm, .worker = w};
    g = pv_lua_check_vm(L, method);
    return (struct lua_agent){.a = pv_guest_agent(g->g), .name = g->name, .vm = g};
}

enum pv_guest_state pv_lua_agent_state(const struct lua_agent *a)
{
    return a->worker ? pv_worker_state(a->worker->w) : pv_guest_state(a->vm->g);
}
