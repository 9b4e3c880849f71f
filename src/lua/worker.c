/* SPDX-License-Identifier: MIT */
/* The type worker, and vm:spawn, which makes one. */
#include "guest/worker.h"
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "util/err.h"

/* vm:spawn{thread=false, timeout=30} */
int pv_lua_vm_spawn(lua_State *L)
{
    static const struct lua_opt opts[] = {{"thread", OPT_BOOLEAN}, {"timeout", OPT_TIME}, {NULL, 0}};
    struct tf_guest *g = pv_lua_check_vm(L, "spawn");
    bool given = pv_lua_check_opts(L, 2, "spawn", opts);
    bool thread = given && pv_lua_opt_bool(L, 2, "thread", false);
    int64_t timeout = given ? pv_lua_opt_time(L, 2, "spawn", "timeout", 0) : 0;
    struct pv_testfile *tf = pv_lua_tf(L);
    struct tf_worker **handle = pv_lua_new_worker(L);
    struct pv_worker *worker;
    struct pv_err err;

    pv_tf_call_begin(tf, g->name, "spawning a worker in %s", g->name);
    worker = pv_worker_spawn(g->g, thread, timeout, &err);
    pv_tf_step_end(tf, worker != NULL);
    if (!worker)
        return pv_lua_raise_err(L, &err);
    *handle = pv_tf_worker_add(g, worker);
    return 1;
}

static int worker_kill(lua_State *L)
{
    pv_worker_kill(pv_lua_check_worker(L, "kill")->w);
    return 0;
}

static int worker_close(lua_State *L)
{
    struct tf_worker *w = pv_lua_worker_at(L, 1);

    if (w)
        pv_worker_kill(w->w);
    return 0;
}

static int worker_gc(lua_State *L)
{
    struct tf_worker **h = lua_touserdata(L, 1);

    if (*h)
        (*h)->forgotten = true;
    *h = NULL; /* another finalizer may still use the handle */
    return 0;
}

static int worker_tostring(lua_State *L)
{
    const struct tf_worker *w = pv_lua_check_worker(L, "tostring");

    lua_pushfstring(L, "%s: %s", w->name, pv_guest_state_name(pv_worker_state(w->w)));
    return 1;
}

static const luaL_Reg worker_methods[] = {{"kill", worker_kill}, {NULL, NULL}};

void pv_lua_open_worker(lua_State *L)
{
    static const struct lua_type type = {.id = LUA_WORKER_TYPE,
                                         .kind = "worker",
                                         .own = worker_methods,
                                         .shared = pv_lua_agent_methods,
                                         .foreign = pv_lua_vm_methods,
                                         .tostring = worker_tostring,
                                         .close = worker_close,
                                         .gc = worker_gc};

    pv_lua_open_type(L, &type);
}
