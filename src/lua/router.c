/* SPDX-License-Identifier: MIT */
/* provium.router: a router of the harness between networks (net/router.h). */
#include "lua/handle.h"
#include "lua/network.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "net/network.h"
#include "net/router.h"
#include "testfile/netrouter.h"
#include "testfile/nets.h"
#include "util/err.h"

#define ROUTER_TYPE "provium.router"

struct lua_router {
    struct tf_router *r; /* the file's */
};

static const struct tf_router_if *router_if_on(const struct tf_router *r, const struct tf_net *net)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->ifs[i].net == net)
            return &r->ifs[i];
    return NULL;
}

/* The place of the router on the network at idx. */
static LJMP const struct tf_router_if *router_if_at(lua_State *L, const struct tf_router *r,
                                                    const struct tf_net *net, const char *method)
{
    const struct tf_router_if *i = router_if_on(r, net);

    if (!i)
        pv_lua_raise(L, "%s: %s is not on network '%s'", method, r->name, pv_net_name(net->net));
    return i;
}

struct pv_net_end *pv_lua_router_end_at(lua_State *L, int idx, const struct tf_net *net, const char *method)
{
    const struct lua_router *h = luaL_testudata(L, idx, ROUTER_TYPE);

    return h ? router_if_at(L, h->r, net, method)->end : NULL;
}

/* An entry of the list: a network, or {net=, ip=}. */
static LJMP void router_read_if(lua_State *L, struct tf_router_if *i)
{
    static const struct lua_opt known[] = {{"net", OPT_ANY}, {"ip", OPT_STRING}, {NULL, 0}};
    int idx = lua_gettop(L);
    struct pv_err err;

    *i = (struct tf_router_if){.net = NULL};
    if (!lua_istable(L, idx)) {
        i->net = pv_lua_net_at(L, idx, "a router");
        return;
    }
    pv_lua_check_opts(L, idx, "router", known);
    pv_lua_rawfield(L, idx, "net");
    i->net = pv_lua_net_at(L, -1, "option 'net' of a router");
    if (pv_lua_rawfield(L, idx, "ip") == LUA_TSTRING &&
        pv_ip_parse(&i->ip, pv_lua_check_cstring(L, -1, "router option 'ip'"), &err) < 0)
        pv_lua_raise_err(L, &err);
    lua_settop(L, idx);
}

/* provium.router{lan1, lan2, ...} */
int pv_lua_router(lua_State *L)
{
    struct tf_router_if ifs[PV_ROUTER_NETS_MAX];
    lua_Integer n = lua_istable(L, 1) ? pv_lua_list_len(L, 1) : -1;
    struct lua_router *h;
    struct pv_err err;

    if (n < 2 || n > PV_ROUTER_NETS_MAX)
        return pv_lua_raise(L, "router needs a list of 2 to %d networks: provium.router{lan1, lan2}, got %s",
                            PV_ROUTER_NETS_MAX,
                            n < 0 ? pv_lua_describe(L, 1) : lua_pushfstring(L, "%d of them", (int)n));
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, 1, i + 1);
        router_read_if(L, &ifs[i]);
        lua_pop(L, 1);
        for (lua_Integer j = 0; j < i; j++)
            if (ifs[i].net == ifs[j].net)
                pv_lua_raise(L, "router: network '%s' is named twice", pv_net_name(ifs[i].net->net));
            else if (pv_subnet_overlaps(ifs[i].net->subnet, ifs[j].net->subnet))
                pv_lua_raise(L,
                             "router: networks '%s' and '%s' have addresses in common (%s and %s): give them "
                             "subnets of their own",
                             pv_net_name(ifs[j].net->net), pv_net_name(ifs[i].net->net),
                             pv_subnet_text(ifs[j].net->subnet), pv_subnet_text(ifs[i].net->subnet));
    }
    pv_lua_tf(L)->touched = true;
    h = lua_newuserdatauv(L, sizeof(*h), 0);
    h->r = pv_tf_router_new(pv_lua_tf(L), ifs, (unsigned)n, &err);
    if (!h->r)
        return pv_lua_raise_err(L, &err);
    luaL_setmetatable(L, ROUTER_TYPE);
    for (lua_Integer i = 0; i < n; i++)
        if (pv_tf_gateway_tell(ifs[i].net, &err) < 0)
            return pv_lua_raise_err(L, &err);
    return 1;
}

static LJMP const struct tf_router_if *check_router_if(lua_State *L, const char *method)
{
    const struct lua_router *h = luaL_testudata(L, 1, ROUTER_TYPE);

    if (!h)
        pv_lua_raise(L, "%s must be called with a colon, as router:%s(lan)", method, method);
    return router_if_at(L, h->r, pv_lua_net_at(L, 2, method), method);
}

/* router:ip(lan) */
static int router_ip(lua_State *L)
{
    char text[PV_IP_TEXT];

    lua_pushstring(L, pv_ip_text(&check_router_if(L, "ip")->ip, text));
    return 1;
}

/* router:mac(lan) */
static int router_mac(lua_State *L)
{
    char text[PV_MAC_TEXT];

    lua_pushstring(L, pv_mac_text(check_router_if(L, "mac")->mac, text));
    return 1;
}

static int router_tostring(lua_State *L)
{
    const struct lua_router *h = luaL_testudata(L, 1, ROUTER_TYPE);

    lua_pushstring(L, h ? h->r->name : "router");
    return 1;
}

void pv_lua_open_router(lua_State *L)
{
    static const luaL_Reg methods[] = {{"ip", router_ip}, {"mac", router_mac}, {NULL, NULL}};
    static const struct lua_type type = {
        .id = ROUTER_TYPE, .kind = "router", .own = methods, .tostring = router_tostring};

    pv_lua_open_type(L, &type);
}
