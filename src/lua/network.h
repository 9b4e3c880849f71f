/* SPDX-License-Identifier: MIT */
#ifndef PV_LUA_NETWORK_H
#define PV_LUA_NETWORK_H

#include "guest/nic.h"
#include "lua/state.h"

struct pv_guest;
struct pv_net_end;
struct tf_net;
struct tf_net_end;

#define LUA_NETWORK_TYPE "provium.network"

struct lua_network {
    struct tf_net *net;
};

/* The network at idx, or an error that begins with `what`. */
LJMP struct tf_net *pv_lua_net_at(lua_State *L, int idx, const char *what);
/* The NIC on the network at 2 of the VM at 1, and its slot (may be NULL), or an error. */
LJMP struct tf_net_end *pv_lua_check_nic(lua_State *L, const char *method, unsigned *slot);
/* The end on net of the VM or port at idx, or an error. */
LJMP struct pv_net_end *pv_lua_net_end_at(lua_State *L, int idx, const struct tf_net *net,
                                          const char *method);

/* The end in the field `name` of the table at idx; NULL: there is none. */
LJMP struct pv_net_end *pv_lua_opt_net_end(lua_State *L, int idx, const struct tf_net *net,
                                           const char *method, const char *name);

/* Reads the list `nets` on top of the stack: g (NULL: pv_tf_net_own) gets a place on each network. Their number. */
LJMP size_t pv_lua_read_nets(lua_State *L, const struct pv_guest *g,
                             struct pv_guest_nic nics[static PV_VM_NICS_MAX]);
/* Their places on the networks are free again. */
void pv_lua_leave_nets(struct pv_guest_nic *nics, size_t n);
int pv_lua_network(lua_State *L);    /* provium.network */
int pv_lua_net_impair(lua_State *L); /* lan:impair, clear: netimpair.c */
int pv_lua_net_clear(lua_State *L);
int pv_lua_net_port(lua_State *L);    /* lan:port: netport.c */
int pv_lua_net_capture(lua_State *L); /* lan:capture: netcapture.c */
/* The end of the open port at idx; NULL: something else is there. */
struct pv_net_end *pv_lua_port_end_at(lua_State *L, int idx);
/* The same for a router, an error unless it is on net. */
LJMP struct pv_net_end *pv_lua_router_end_at(lua_State *L, int idx, const struct tf_net *net,
                                             const char *method);
/* The end of the uplink whose table is at idx; NULL: something else is there. */
struct pv_net_end *pv_lua_uplink_end_at(lua_State *L, int idx);
int pv_lua_net_uplink(lua_State *L); /* lan:uplink: uplink.c */
int pv_lua_router(lua_State *L);     /* provium.router: router.c */

/* Register the types. */
LJMP void pv_lua_open_nic(lua_State *L);
LJMP void pv_lua_open_port(lua_State *L);
LJMP void pv_lua_open_router(lua_State *L);
LJMP void pv_lua_open_uplink(lua_State *L);
LJMP void pv_lua_open_capture(lua_State *L);
LJMP void pv_lua_open_network(lua_State *L);

#endif
