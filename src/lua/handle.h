/* SPDX-License-Identifier: MIT */
/*
 * Handles of VMs and workers: userdata that point into the file's list of guests, which owns them (a closed
 * or collected handle leaves its guest in the list).
 */
#ifndef PV_LUA_HANDLE_H
#define PV_LUA_HANDLE_H

#include "guest/agent.h"
#include "lua/state.h"

/* A type of objects. */
struct lua_type {
    const char *id;               /* in the registry: "provium.vm" */
    const char *kind;             /* for messages: "VM" */
    const luaL_Reg *own, *shared; /* its methods; shared NULL: none */
    const luaL_Reg *foreign;      /* methods of another type, for a better message; NULL: none */
    lua_CFunction tostring;
    lua_CFunction close, gc; /* NULL: nothing to do */
    lua_CFunction index;     /* NULL: pv_lua_type_index */
};

/* Registers the type's metatable. `t` must be static. */
LJMP void pv_lua_open_type(lua_State *L, const struct lua_type *t);

/* __index of a type: its methods, or an error that names the nearest one. */
int pv_lua_type_index(lua_State *L);

/* Push a handle without a guest, on which every method is an error; the caller fills it in. */
LJMP struct tf_guest **pv_lua_new_vm(lua_State *L);
LJMP struct tf_worker **pv_lua_new_worker(lua_State *L);

/* The VM of the handle at idx; NULL: something else is there. */
struct tf_guest *pv_lua_vm_at(lua_State *L, int idx);
struct tf_worker *pv_lua_worker_at(lua_State *L, int idx);
/* The VM of the handle at 1, or an error that says how the method is called. */
LJMP struct tf_guest *pv_lua_check_vm(lua_State *L, const char *method);
LJMP struct tf_worker *pv_lua_check_worker(lua_State *L, const char *method);

/*
 * Option `name` of a function that makes a VM (`what`: "provium.create"), from the checked table at idx: checked, and
 * no running VM's; NULL: none is given.  The table owns it.
 */
LJMP const char *pv_lua_opt_vm_name(lua_State *L, int idx, const char *what);

/* The VM of the VM or worker at idx. */
struct tf_guest *pv_lua_vm_of(lua_State *L, int idx);

/* The agent process that a method of a VM or a worker talks to. */
struct lua_agent {
    struct pv_agent *a;
    const char *name;               /* "vm1", "worker 1 (pid 70) of vm1 (minimal)" */
    const struct tf_guest *vm;      /* the VM that it is in: the track of its steps */
    const struct tf_worker *worker; /* NULL: the VM's own agent */
};

/* The agent of the VM or worker at 1, or an error. */
LJMP struct lua_agent pv_lua_check_agent(lua_State *L, const char *method);

/* The state of the VM or worker. */
enum pv_guest_state pv_lua_agent_state(const struct lua_agent *a);

#define LUA_VM_TYPE "provium.vm"
#define LUA_WORKER_TYPE "provium.worker"

#endif
