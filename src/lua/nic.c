/* SPDX-License-Identifier: MIT */
/* vm:nic(lan): the carrier of a NIC. */
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/network.h"
#include "lua/raise.h"
#include "testfile/nets.h"
#include "util/err.h"

#define NIC_TYPE "provium.nic"

/* Its VM's handle is its user value, so the VM stays. */
struct lua_nic {
    struct tf_guest *vm;
    struct tf_net *net;
};

/* vm:nic(lan) */
int pv_lua_vm_nic(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "nic");
    struct tf_net *net = pv_lua_check_nic(L, "nic", NULL)->net;
    struct lua_nic *nic = lua_newuserdatauv(L, sizeof(*nic), 1);

    *nic = (struct lua_nic){.vm = g, .net = net};
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, NIC_TYPE);
    return 1;
}

static LJMP int nic_set_carrier(lua_State *L, const char *method, bool up)
{
    const struct lua_nic *nic = luaL_testudata(L, 1, NIC_TYPE);
    struct pv_err err;
    unsigned slot;
    int rc;

    if (!nic)
        return pv_lua_raise(L, "%s must be called with a colon, as nic:%s()", method, method);
    if (!pv_tf_net_end_on(nic->vm->g, nic->net, &slot))
        return pv_lua_raise(L, "%s: the NIC of %s on network '%s' is gone", method, nic->vm->name,
                            pv_net_name(nic->net->net));
    pv_tf_call_begin(pv_lua_tf(L), nic->vm->name, "setting the carrier of %s %s", nic->vm->name, method);
    rc = pv_guest_set_carrier(nic->vm->g, slot, up, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* nic:down() */
static int nic_down(lua_State *L)
{
    return nic_set_carrier(L, "down", false);
}

/* nic:up() */
static int nic_up(lua_State *L)
{
    return nic_set_carrier(L, "up", true);
}

static int nic_tostring(lua_State *L)
{
    const struct lua_nic *nic = luaL_testudata(L, 1, NIC_TYPE);

    if (nic)
        lua_pushfstring(L, "NIC of %s on '%s'", nic->vm->name, pv_net_name(nic->net->net));
    else
        lua_pushstring(L, "NIC");
    return 1;
}

void pv_lua_open_nic(lua_State *L)
{
    static const luaL_Reg methods[] = {{"down", nic_down}, {"up", nic_up}, {NULL, NULL}};
    static const struct lua_type type = {
        .id = NIC_TYPE, .kind = "NIC", .own = methods, .tostring = nic_tostring};

    pv_lua_open_type(L, &type);
}
