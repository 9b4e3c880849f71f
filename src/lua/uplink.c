/* SPDX-License-Identifier: MIT */
/*
 * lan:uplink.  Its result is a plain table, with which a test may do what it likes; a table of the registry, with weak keys,
 * says which uplink a result belongs to.
 */
#include <stdlib.h>
#include <string.h>

#include "lua/network.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "net/network.h"
#include "testfile/netrouter.h"
#include "testfile/nets.h"
#include "testfile/netuplink.h"
#include "util/err.h"

#define UPLINK_TYPE "provium.uplink"

static const char uplinks; /* its address is the key of the registry's table */

static const struct tf_uplink *uplink_at(lua_State *L, int idx)
{
    const struct tf_uplink *u;

    if (!lua_istable(L, idx))
        return NULL;
    idx = lua_absindex(L, idx);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &uplinks);
    lua_pushvalue(L, idx);
    lua_rawget(L, -2);
    u = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return u;
}

struct pv_net_end *pv_lua_uplink_end_at(lua_State *L, int idx)
{
    const struct tf_uplink *u = uplink_at(L, idx);

    return u ? pv_uplink_end(u->u) : NULL;
}

/* The text at the top of the stack, "ADDRESS:PORT". */
static LJMP void read_ip_port(lua_State *L, const char *what, unsigned least, struct pv_ip_port *to)
{
    const char *text = pv_lua_check_cstring(L, -1, what), *colon = strchr(text, ':');
    const char *digits = colon ? colon + 1 : "";
    size_t n = strlen(digits);
    unsigned long port = n <= 5 && strspn(digits, "0123456789") == n && n ? strtoul(digits, NULL, 10) : 65536;
    char ip[16] = "";

    if (colon && (size_t)(colon - text) < sizeof(ip))
        memcpy(ip, text, (size_t)(colon - text));
    if (pv_ip_parse(&to->ip, ip, NULL) < 0 || port > 65535 || port < least)
        pv_lua_raise(L, "%s must be an IPv4 address and a port%s, such as \"10.7.0.9:80\", got '%s'", what,
                     least ? "" : " (0: a free one)", text);
    to->port = (uint16_t)port;
}

/* The pair at the top of the stack, of the table `forward`. */
static LJMP void read_forward(lua_State *L, const struct tf_net *net, struct tf_forward *f,
                              const struct tf_forward *all)
{
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;

    if (lua_type(L, -2) != LUA_TSTRING || !text)
        pv_lua_raise(
            L,
            "uplink option 'forward' must map ports of the host to ports of VMs, as strings: forward = "
            "{[\"127.0.0.1:8080\"] = \"10.7.0.9:80\"}, got %s",
            pv_lua_describe(L, text ? -2 : -1));
    read_ip_port(L, "the target of a forwarded port", 1, &f->guest);
    if (!pv_subnet_has(net->subnet, &f->guest.ip))
        pv_lua_raise(L, "the target of a forwarded port, %s, is outside of network '%s' (%s)", text,
                     pv_net_name(net->net), pv_subnet_text(net->subnet));
    for (; all < f; all++)
        if (all->guest.port == f->guest.port && pv_ip_equal(&all->guest.ip, &f->guest.ip))
            pv_lua_raise(L, "uplink option 'forward' has %s twice; forward one port of the host to it", text);
    lua_pushvalue(L, -2);
    read_ip_port(L, "a forwarded port of the host", 0, &f->host);
    lua_pop(L, 1);
}

/* Pushes the list's memory, a userdata. */
static LJMP void read_forwards(lua_State *L, int opts, const struct tf_net *net, struct tf_uplink_opts *o)
{
    lua_Integer n = 0;

    if (!opts || pv_lua_rawfield(L, opts, "forward") == LUA_TNIL)
        return;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        n++;
    if (n > TF_FORWARDS_MAX)
        pv_lua_raise(L, "uplink option 'forward' has %d ports, at most %d are possible", (int)n,
                     TF_FORWARDS_MAX);
    o->forwards = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof(*o->forwards), 0);
    memset(o->forwards, 0, (size_t)(n + 1) * sizeof(*o->forwards));
    lua_insert(L, -2);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1), o->n++)
        read_forward(L, net, &o->forwards[o->n], o->forwards);
    lua_pop(L, 1);
}

static LJMP void uplink_push(lua_State *L, struct tf_uplink *u, const struct tf_uplink_opts *o)
{
    char ip[PV_IP_TEXT];

    lua_createtable(L, 0, 1);
    lua_createtable(L, 0, (int)o->n);
    for (unsigned i = 0; i < o->n; i++) {
        lua_pushfstring(L, "%s:%d", pv_ip_text(&o->forwards[i].guest.ip, ip), (int)o->forwards[i].guest.port);
        lua_pushinteger(L, o->forwards[i].host.port);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "ports");
    luaL_setmetatable(L, UPLINK_TYPE);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &uplinks);
    lua_pushvalue(L, -2);
    lua_pushlightuserdata(L, u);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* lan:uplink{forward=, restrict=, ip=} */
int pv_lua_net_uplink(lua_State *L)
{
    static const struct lua_opt opts[] = {
        {"forward", OPT_TABLE}, {"restrict", OPT_BOOLEAN}, {"ip", OPT_STRING}, {NULL, 0}};
    struct tf_net *net = pv_lua_net_at(L, 1, "uplink");
    struct tf_uplink_opts o = {.n = 0};
    struct tf_uplink *u;
    struct pv_err err;
    bool has;

    lua_settop(L, 2);
    has = pv_lua_check_opts(L, 2, "uplink", opts);
    if (has) {
        o.restricted = pv_lua_opt_bool(L, 2, "restrict", false);
        if (pv_lua_rawfield(L, 2, "ip") == LUA_TSTRING &&
            pv_ip_parse(&o.ip, pv_lua_check_cstring(L, -1, "uplink option 'ip'"), &err) < 0)
            return pv_lua_raise_err(L, &err);
    }
    read_forwards(L, has ? 2 : 0, net, &o);
    pv_lua_tf(L)->touched = true;
    u = pv_tf_uplink_new(net, &o, &err);
    if (!u)
        return pv_lua_raise_err(L, &err);
    uplink_push(L, u, &o);
    return pv_tf_gateway_tell(net, &err) < 0 ? pv_lua_raise_err(L, &err) : 1;
}

static LJMP int address_push(lua_State *L, const char *method)
{
    const struct tf_uplink *u = uplink_at(L, 1);
    char text[PV_IP_TEXT];

    if (!u)
        return pv_lua_raise(L, "%s must be called with a colon, as uplink:%s()", method, method);
    lua_pushstring(L, pv_ip_text(strcmp(method, "dns") ? &u->ip : &u->dns, text));
    return 1;
}

/* uplink:ip() */
static int uplink_ip(lua_State *L)
{
    return address_push(L, "ip");
}

/* uplink:dns() */
static int uplink_dns(lua_State *L)
{
    return address_push(L, "dns");
}

void pv_lua_open_uplink(lua_State *L)
{
    static const luaL_Reg methods[] = {{"ip", uplink_ip}, {"dns", uplink_dns}, {NULL, NULL}};

    lua_newtable(L); /* no luaL_newmetatable: its __name would be shown by tostring */
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_setfield(L, LUA_REGISTRYINDEX, UPLINK_TYPE);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushstring(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &uplinks);
}
