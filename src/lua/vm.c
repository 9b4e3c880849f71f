/* SPDX-License-Identifier: MIT */
/* The type VM. */
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "testfile/before-end.h"
#include "util/err.h"

/* vm:shutdown({timeout=10}?) */
static int vm_shutdown(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "shutdown");
    int64_t timeout = pv_lua_check_timeout(L, 2, "shutdown", 0);
    struct pv_testfile *tf = pv_lua_tf(L);
    struct pv_err err;
    int rc;

    pv_tf_call_begin(tf, g->name, "shutting down %s", g->name);
    pv_tf_before_end(tf, g);
    rc = pv_guest_shutdown(g->g, timeout, &err);
    pv_tf_step_end(tf, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

static int vm_kill(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "kill");

    if (lua_gettop(L) > 1)
        pv_lua_raise(L,
                     "vm:kill takes no arguments, got %s: it ends the whole VM; a process of vm:start has "
                     "p:kill(), and vm:exec{\"kill\", PID} ends one in the guest",
                     pv_lua_describe(L, 2));
    pv_tf_before_end(pv_lua_tf(L), g);
    pv_guest_kill(g->g);
    return 0;
}

static int vm_close(lua_State *L)
{
    struct tf_guest *g = pv_lua_vm_at(L, 1);

    if (g) {
        pv_tf_before_end(pv_lua_tf(L), g);
        pv_guest_kill(g->g);
    }
    return 0;
}

static int vm_gc(lua_State *L)
{
    struct tf_guest **h = lua_touserdata(L, 1);

    if (*h)
        (*h)->forgotten = true; /* its disks may still be asked for, a boot cannot */
    *h = NULL;                  /* another finalizer may still use the handle */
    return 0;
}

static int vm_tostring(lua_State *L)
{
    const struct tf_guest *g = pv_lua_check_vm(L, "tostring");

    lua_pushfstring(L, "%s: %s", pv_guest_name(g->g), pv_guest_state_name(pv_guest_state(g->g)));
    return 1;
}

const luaL_Reg pv_lua_vm_methods[] = {{"boot", pv_lua_vm_boot},
                                      {"shutdown", vm_shutdown},
                                      {"kill", vm_kill},
                                      {"reboot", pv_lua_vm_reboot},
                                      {"reset", pv_lua_vm_reset},
                                      {"wait_reboot", pv_lua_vm_wait_reboot},
                                      {"pause", pv_lua_vm_pause},
                                      {"resume", pv_lua_vm_resume},
                                      {"power_button", pv_lua_vm_power_button},
                                      {"nmi", pv_lua_vm_nmi},
                                      {"state", pv_lua_vm_state},
                                      {"screenshot", pv_lua_vm_screenshot},
                                      {"spawn", pv_lua_vm_spawn},
                                      {"console", pv_lua_vm_console},
                                      {"disk", pv_lua_vm_disk},
                                      {"attach_disk", pv_lua_vm_attach_disk},
                                      {"detach_disk", pv_lua_vm_detach_disk},
                                      {"power_cut", pv_lua_vm_power_cut},
                                      {"power_cycle", pv_lua_vm_power_cycle},
                                      {"snapshot", pv_lua_vm_snapshot},
                                      {"restore", pv_lua_vm_restore},
                                      {"clone", pv_lua_vm_clone},
                                      {"plug", pv_lua_vm_plug},
                                      {"unplug", pv_lua_vm_unplug},
                                      {"nic", pv_lua_vm_nic},
                                      {"ip", pv_lua_vm_ip},
                                      {"mac", pv_lua_vm_mac},
                                      {"reports", pv_lua_vm_reports},
                                      {"allow_report", pv_lua_vm_allow_report},
                                      {"expect_report", pv_lua_vm_expect_report},
                                      {NULL, NULL}};

void pv_lua_open_vm(lua_State *L)
{
    static const struct lua_type type = {.id = LUA_VM_TYPE,
                                         .kind = "VM",
                                         .own = pv_lua_vm_methods,
                                         .shared = pv_lua_agent_methods,
                                         .tostring = vm_tostring,
                                         .close = vm_close,
                                         .gc = vm_gc};

    pv_lua_open_type(L, &type);
}
