/* SPDX-License-Identifier: MIT */
/* Ports of networks: the test itself as a peer (net/port.h). */
#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "lua/handle.h"
#include "lua/network.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/task.h"
#include "net/port.h"
#include "testfile/limit.h"
#include "testfile/nets.h"
#include "util/clock.h"
#include "util/err.h"

#define PORT_TYPE "provium.port"
#define RECV_TIMEOUT (10 * PV_NSEC_PER_SEC)

struct lua_port {
    struct pv_port *p; /* the network's; NULL once closed */
    struct tf_net *net;
    struct pv_ip ip;
    unsigned served; /* number of the newest function of p:on; 0: none */
    char name[PV_NET_NAME_MAX + 1];
};

struct pv_net_end *pv_lua_port_end_at(lua_State *L, int idx)
{
    const struct lua_port *port = luaL_testudata(L, idx, PORT_TYPE);

    if (port && !port->p)
        pv_lua_raise(L, "port '%s' was closed: it is on no network any more", port->name);
    return port ? pv_port_end(port->p) : NULL;
}

static LJMP struct lua_port *check_port(lua_State *L, const char *method)
{
    struct lua_port *port = luaL_testudata(L, 1, PORT_TYPE);

    if (!port)
        pv_lua_raise(L, "%s must be called with a colon, as port:%s(...)", method, method);
    if (!port->p)
        pv_lua_raise(L, "%s: port '%s' was closed", method, port->name);
    return port;
}

/* The option `ip`: false for none, nil for the last free one of the subnet. */
static LJMP void port_take_ip(lua_State *L, struct lua_port *port)
{
    struct pv_err err;
    int type = lua_istable(L, 2) ? pv_lua_rawfield(L, 2, "ip") : LUA_TNIL;
    int rc;

    if (type == LUA_TBOOLEAN && !lua_toboolean(L, -1))
        return;
    if (type == LUA_TNIL) {
        rc = pv_subnet_next(port->net->subnet, true, port->name, &port->ip, &err);
    } else {
        if (type != LUA_TSTRING)
            pv_lua_raise(L, "port option 'ip' must be an address or false, got %s", pv_lua_describe(L, -1));
        rc = pv_ip_parse(&port->ip, pv_lua_check_cstring(L, -1, "port option 'ip'"), &err);
        if (rc < 0)
            pv_err_wrap(&err, "port option 'ip'");
        else
            rc = pv_subnet_take(port->net->subnet, &port->ip, port->name, &err);
    }
    if (rc < 0) {
        port->ip.n = 0;
        pv_lua_raise_err(L, &err);
    }
}

/* Ends the port and frees its address. */
static void port_close(struct lua_port *port)
{
    pv_port_free(port->p);
    port->p = NULL;
    if (port->ip.n)
        pv_subnet_release(port->net->subnet, &port->ip);
}

/* lan:port{mac=, ip=, name=} */
int pv_lua_net_port(lua_State *L)
{
    static const struct lua_opt opts[] = {
        {"mac", OPT_STRING}, {"ip", OPT_ANY}, {"name", OPT_STRING}, {NULL, 0}};
    struct tf_net *net = pv_lua_net_at(L, 1, "port");
    bool has = pv_lua_check_opts(L, 2, "port", opts);
    const char *name = has && pv_lua_rawfield(L, 2, "name") == LUA_TSTRING
                           ? pv_lua_check_cstring(L, -1, "port option 'name'")
                           : NULL;
    const char *text = has && pv_lua_rawfield(L, 2, "mac") == LUA_TSTRING
                           ? pv_lua_check_cstring(L, -1, "port option 'mac'")
                           : NULL;
    struct lua_port *port;
    struct pv_err err;
    uint8_t mac[6];
    int at;

    if (name && (!*name || strlen(name) > PV_NET_NAME_MAX))
        return pv_lua_raise(L, "port option 'name' must have 1 to %d bytes, got '%s'", PV_NET_NAME_MAX, name);
    if (pv_tf_net_mac(net, text, mac, &err) < 0)
        return pv_lua_raise_err(L, &err);
    port = lua_newuserdatauv(L, sizeof(*port), 0);
    at = lua_gettop(L);
    *port = (struct lua_port){.net = net};
    luaL_setmetatable(L, PORT_TYPE);
    if (name)
        snprintf(port->name, sizeof(port->name), "%s", name);
    else
        snprintf(port->name, sizeof(port->name), "port%u", ++net->n_ports);
    port_take_ip(L, port);
    port->p = pv_port_new(net->net, port->name, mac, &port->ip, &err);
    if (!port->p) {
        port_close(port);
        return pv_lua_raise_err(L, &err);
    }
    lua_pushvalue(L, at);
    return 1;
}

/* p:send(frame) */
static int port_send(lua_State *L)
{
    struct lua_port *port = check_port(L, "send");
    size_t n, max = port->net->mtu + PV_ETHER_MIN;
    const char *frame;

    if (lua_type(L, 2) != LUA_TSTRING)
        return pv_lua_raise(L, "send needs a frame, a string, got %s", pv_lua_describe(L, 2));
    frame = lua_tolstring(L, 2, &n);
    if (n < PV_ETHER_MIN || n > max)
        return pv_lua_raise(
            L, "a frame of %d bytes: network '%s' carries frames of %d to %d bytes (header and MTU)", (int)n,
            pv_net_name(port->net->net), PV_ETHER_MIN, (int)max);
    pv_port_send(port->p, frame, n);
    return 0;
}

static bool port_has_news(void *arg)
{
    const struct lua_port *port = arg;

    return !port->p || pv_port_has(port->p);
}

/* Pushes the next frame, or nil. */
static LJMP int port_push(lua_State *L, struct lua_port *port)
{
    size_t n;
    const uint8_t *frame = port->p ? pv_port_take(port->p, &n) : NULL;

    if (frame)
        lua_pushlstring(L, (const char *)frame, n);
    else
        lua_pushnil(L);
    return 1;
}

/* p:recv(timeout?) */
static int port_recv(lua_State *L)
{
    struct lua_port *port = check_port(L, "recv");
    struct pv_testfile *tf = pv_lua_tf(L);
    bool polls = lua_type(L, 2) == LUA_TNUMBER && lua_tonumber(L, 2) == 0;
    int64_t deadline = polls ? pv_now() : pv_deadline(pv_lua_check_time(L, 2, "recv", RECV_TIMEOUT));
    int64_t limit = pv_tf_limit(tf);
    struct pv_err err;
    int rc;

    if (port->served)
        return pv_lua_raise(
            L, "the frames of port '%s' go to the function of port:on; port:on(nil) ends that", port->name);
    pv_tf_call_begin(tf, NULL, "receiving on %s", port->name);
    rc = pv_loop_run(tf->loop, port_has_news, port, deadline < limit ? deadline : limit, &err);
    pv_tf_step_end(tf, rc >= 0);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    if (rc == 1)
        pv_lua_check_expired(L);
    check_port(L, "recv");
    return port_push(L, port);
}

struct port_served {
    struct lua_port *port;
    unsigned number;
};

static bool served_has_news(void *arg)
{
    const struct port_served *s = arg;

    return s->port->served != s->number || port_has_news(s->port);
}

/* The task of p:on: port, function. */
static int port_serve(lua_State *L)
{
    struct port_served s = {.port = lua_touserdata(L, 1)};
    struct pv_err err;

    s.number = s.port->served;
    while (s.port->served == s.number && s.port->p) {
        if (pv_loop_run(pv_lua_tf(L)->loop, served_has_news, &s, PV_FOREVER, &err) < 0) {
            if (s.port->served == s.number)
                s.port->served = 0; /* given up with its sub-test: the port is free for others */
            return pv_lua_raise_err(L, &err);
        }
        while (s.port->served == s.number && s.port->p && pv_port_has(s.port->p)) {
            lua_pushvalue(L, 2);
            port_push(L, s.port);
            lua_call(L, 1, 0);
        }
    }
    return 0;
}

/* p:on(fn) */
static int port_on(lua_State *L)
{
    static unsigned count;
    struct lua_port *port = check_port(L, "on");

    if (!lua_isfunction(L, 2) && !lua_isnil(L, 2))
        return pv_lua_raise(L, "on needs a function, which gets each frame, or nil, got %s",
                            lua_isnone(L, 2) ? "nothing" : pv_lua_describe(L, 2));
    port->served = lua_isnil(L, 2) ? 0 : ++count;
    if (!port->served)
        return 0;
    lua_settop(L, 2);
    lua_pushcfunction(L, port_serve);
    lua_insert(L, 1);
    pv_lua_task_start(L, 2)->service = true;
    return 0;
}

/* p:ip() */
static int port_ip(lua_State *L)
{
    const struct lua_port *port = check_port(L, "ip");
    char text[PV_IP_TEXT];

    if (port->ip.n)
        lua_pushstring(L, pv_ip_text(&port->ip, text));
    else
        lua_pushnil(L);
    return 1;
}

/* p:mac() */
static int port_mac(lua_State *L)
{
    const struct lua_port *port = check_port(L, "mac");
    char text[PV_MAC_TEXT];

    lua_pushstring(L, pv_mac_text(pv_net_end_mac(pv_port_end(port->p)), text));
    return 1;
}

/* p:dropped() */
static int port_dropped(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)pv_port_dropped(check_port(L, "dropped")->p));
    return 1;
}

/* p:close() */
static int port_close_method(lua_State *L)
{
    struct lua_port *port = luaL_testudata(L, 1, PORT_TYPE);

    if (!port)
        return pv_lua_raise(L, "close must be called with a colon, as port:close()");
    if (port->p)
        port_close(port);
    return 0;
}

static int port_tostring(lua_State *L)
{
    const struct lua_port *port = luaL_testudata(L, 1, PORT_TYPE);

    lua_pushfstring(L, "port '%s'%s", port ? port->name : "?", port && port->p ? "" : " (closed)");
    return 1;
}

void pv_lua_open_port(lua_State *L)
{
    static const luaL_Reg methods[] = {{"send", port_send},
                                       {"recv", port_recv},
                                       {"on", port_on},
                                       {"ip", port_ip},
                                       {"mac", port_mac},
                                       {"dropped", port_dropped},
                                       {"close", port_close_method},
                                       {NULL, NULL}};
    static const struct lua_type type = {.id = PORT_TYPE,
                                         .kind = "port",
                                         .own = methods,
                                         .tostring = port_tostring,
                                         .close = port_close_method};

    pv_lua_open_type(L, &type);
}
