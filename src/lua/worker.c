/* SPDX-License-Identifier: MIT */
/* Workers: vm:spawn. A worker is a handle of its own in the file's list, and has a VM's methods but three. */
#include <stdio.h>

#include "lua/vm.h"
#include "util/err.h"

/* vm:spawn{thread=false, timeout=30} */
int pv_lua_vm_spawn(lua_State *L)
{
    static const struct lua_opt opts[] = {{"thread", OPT_BOOLEAN}, {"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_guest *g = pv_lua_check_vm(L, "spawn");
    bool given = pv_lua_check_opts(L, 2, "spawn", opts);
    bool thread = given && pv_lua_opt_bool(L, 2, "thread", false);
    int64_t timeout = given ? pv_lua_opt_time(L, 2, "spawn", "timeout", 0) : 0;
    struct lua_guest **handle = pv_lua_new_handle(L, true), *w;
    struct pv_worker *worker;
    struct pv_err err;

    pv_lua_begin(L, g, "spawning a worker in %s", g->name);
    worker = pv_worker_spawn(g->g, thread, timeout, &err);
    pv_lua_end(L, worker != NULL);
    if (!worker)
        return pv_lua_raise_err(L, &err);
    w = pv_lua_add_guest(pv_lua_of(L), g->g);
    w->w = worker;
    snprintf(w->name, sizeof(w->name), "%s", pv_worker_name(worker));
    *handle = w;
    return 1;
}
