/* SPDX-License-Identifier: MIT */
/* provium.network and its object; NICs as options and as methods of VMs. */
#include <string.h>

#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/network.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "testfile/netreport.h"
#include "testfile/nets.h"
#include "util/err.h"

/* provium.network(name, {subnet=, seed=, mtu=, hosts=}?) */
int pv_lua_network(lua_State *L)
{
    static const struct lua_opt opts[] = {{"subnet", OPT_STRING},
                                          {"seed", OPT_INTEGER},
                                          {"mtu", OPT_INTEGER},
                                          {"hosts", OPT_BOOLEAN},
                                          {NULL, 0}};
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const char *name = pv_lua_check_cstring(L, 1, "the network's name"), *subnet = NULL;
    struct lua_network *h;
    uint64_t seed = 0;
    unsigned mtu = TF_NET_MTU;
    bool hosts = false;
    struct pv_err err;

    lua_settop(L, 2);
    if (!*name || strlen(name) > PV_NET_NAME_MAX || name[strspn(name, letters)] || strchr("-_.", name[0]))
        pv_lua_raise(L, "a network's name has 1 to %d letters, digits, '-', '_' and '.'; got '%s'",
                     PV_NET_NAME_MAX, name);
    if (pv_lua_check_opts(L, 2, "network", opts)) {
        if (pv_lua_rawfield(L, 2, "subnet") == LUA_TSTRING)
            subnet = pv_lua_check_cstring(L, -1, "network option 'subnet'");
        seed = (uint64_t)pv_lua_opt_integer(L, 2, "network", "seed", 0, LUA_MAXINTEGER, 0);
        hosts = pv_lua_rawfield(L, 2, "hosts") == LUA_TBOOLEAN && lua_toboolean(L, -1);
        mtu =
            (unsigned)pv_lua_opt_integer(L, 2, "network", "mtu", TF_NET_MTU_MIN, TF_NET_MTU_MAX, TF_NET_MTU);
    }
    pv_lua_tf(L)->touched = true;
    h = lua_newuserdatauv(L, sizeof(*h), 0);
    h->net = pv_tf_net_new(pv_lua_tf(L), name, subnet, seed, mtu, &err);
    if (!h->net)
        return pv_lua_raise_err(L, &err);
    h->net->hosts = hosts;
    luaL_setmetatable(L, LUA_NETWORK_TYPE);
    return 1;
}

/* ---- NICs ---- */

/* A NIC as the test has written it; the strings are Lua's. */
struct nic_want {
    struct tf_net *net;
    struct tf_net_want place;
    char name[PV_NIC_NAME_MAX + 1];
    unsigned mtu;
};

static LJMP void nic_read_name(lua_State *L, struct nic_want *w)
{
    const char *name = pv_lua_check_cstring(L, -1, "NIC option 'name'");

    if (!*name || strlen(name) > PV_NIC_NAME_MAX || strpbrk(name, "/: \t\n") || name[0] == '.')
        pv_lua_raise(L, "NIC option 'name' must have 1 to %d bytes without '/', ':' and blanks, got '%s'",
                     PV_NIC_NAME_MAX, name);
    memcpy(w->name, name, strlen(name) + 1);
}

/* Options of a NIC: the network, or the table {net=, ...}, at idx; opts: that of vm:plug, which has no net, or 0. */
static LJMP void nic_read(lua_State *L, int idx, int opts, struct nic_want *w)
{
    static const struct lua_opt in_list[] = {{"net", OPT_ANY},     {"ip", OPT_ANY},      {"mac", OPT_STRING},
                                             {"mtu", OPT_INTEGER}, {"name", OPT_STRING}, {NULL, 0}};
    static const struct lua_opt of_plug[] = {{"ip", OPT_ANY},       {"mac", OPT_STRING},
                                             {"mtu", OPT_INTEGER},  {"name", OPT_STRING},
                                             {"timeout", OPT_TIME}, {NULL, 0}};
    const struct lua_opt *known = opts ? of_plug : in_list;
    int top = lua_gettop(L), type;

    *w = (struct nic_want){.mtu = 0};
    if (lua_istable(L, idx) && !opts) {
        pv_lua_check_opts(L, idx, "NIC", known);
        pv_lua_rawfield(L, idx, "net");
        w->net = pv_lua_net_at(L, -1, "option 'net' of a NIC");
        opts = idx;
    } else {
        w->net = pv_lua_net_at(L, idx, "a NIC");
    }
    if (opts && pv_lua_check_opts(L, opts, "NIC", known)) {
        type = pv_lua_rawfield(L, opts, "ip");
        w->place.no_ip = type == LUA_TBOOLEAN && !lua_toboolean(L, -1);
        if (type != LUA_TNIL && !w->place.no_ip && type != LUA_TSTRING)
            pv_lua_raise(L, "NIC option 'ip' must be an address or false, got %s", pv_lua_describe(L, -1));
        w->place.ip = type == LUA_TSTRING ? pv_lua_check_cstring(L, -1, "NIC option 'ip'") : NULL;
        if (pv_lua_rawfield(L, opts, "mac") == LUA_TSTRING)
            w->place.mac = pv_lua_check_cstring(L, -1, "NIC option 'mac'");
        w->mtu = (unsigned)pv_lua_opt_integer(L, opts, "NIC", "mtu", TF_NET_MTU_MIN, (lua_Integer)w->net->mtu,
                                              w->net->mtu);
        if (pv_lua_rawfield(L, opts, "name") == LUA_TSTRING)
            nic_read_name(L, w);
    }
    lua_settop(L, top);
}

/* Errors if a NIC is to have the name of another one of the VM (g may be NULL), or of those before it in the list. */
static LJMP void nic_check_name(lua_State *L, const struct pv_guest *g, const struct nic_want *wants,
                                size_t i)
{
    const char *name = wants[i].name;
    bool taken = strcmp(name, "lo") == 0;

    if (!*name)
        return;
    for (size_t j = 0; j < i; j++)
        taken = taken || strcmp(wants[j].name, name) == 0;
    for (size_t j = 0; g && j < PV_VM_NICS_MAX; j++)
        taken = taken || (pv_guest_nics(g)[j].hw.mtu && strcmp(pv_guest_nics(g)[j].name, name) == 0);
    if (taken)
        pv_lua_raise(L, "NIC option 'name': the VM has an interface called '%s' already", name);
}

static int nic_add(const struct pv_guest *g, const struct nic_want *w, struct pv_guest_nic *nic,
                   struct pv_err *err)
{
    *nic = (struct pv_guest_nic){.mtu = w->mtu};
    memcpy(nic->name, w->name, sizeof(nic->name));
    return pv_tf_net_add(w->net, g, &w->place, nic, err) ? 0 : -1;
}

void pv_lua_leave_nets(struct pv_guest_nic *nics, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pv_tf_net_leave(pv_tf_net_end_of(nics[i].wire));
}

size_t pv_lua_read_nets(lua_State *L, const struct pv_guest *g,
                        struct pv_guest_nic nics[static PV_VM_NICS_MAX])
{
    struct nic_want wants[PV_VM_NICS_MAX];
    lua_Integer n = pv_lua_list_len(L, -1);
    struct pv_err err;

    if (n < 0)
        pv_lua_raise(
            L, "option 'nets' must be a list of networks or NICs: nets = {lan, {net = lan2, ip = false}}");
    if (n > PV_VM_NICS_MAX)
        pv_lua_raise(L, "option 'nets' has %d entries; a VM has at most %d NICs", (int)n, PV_VM_NICS_MAX);
    for (lua_Integer i = 0; i < n; i++) {
        lua_rawgeti(L, -1, i + 1);
        nic_read(L, lua_gettop(L), 0, &wants[i]);
        nic_check_name(L, NULL, wants, (size_t)i);
        lua_pop(L, 1);
    }
    for (lua_Integer i = 0; i < n; i++)
        if (nic_add(g, &wants[i], &nics[i], &err) < 0) {
            pv_lua_leave_nets(nics, (size_t)i);
            pv_lua_raise_err(L, &err);
        }
    return (size_t)n;
}

/* vm:plug(lan, opts?) */
int pv_lua_vm_plug(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "plug");
    struct pv_guest_nic nic;
    struct nic_want want;
    int64_t timeout;
    struct pv_err err;
    int rc;

    lua_settop(L, 3);
    nic_read(L, 2, 3, &want);
    nic_check_name(L, g->g, &want, 0);
    timeout = lua_isnil(L, 3) ? 0 : pv_lua_opt_time(L, 3, "NIC", "timeout", 0);
    if (nic_add(g->g, &want, &nic, &err) < 0)
        return pv_lua_raise_err(L, &err);
    pv_tf_call_begin(pv_lua_tf(L), g->name, "plugging a NIC into %s", g->name);
    rc = pv_guest_plug(g->g, &nic, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), rc >= 0);
    pv_tf_nets_settle(pv_lua_tf(L), g->g);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

struct tf_net_end *pv_lua_check_nic(lua_State *L, const char *method, unsigned *slot)
{
    struct tf_guest *g = pv_lua_check_vm(L, method);
    struct tf_net *net = pv_lua_net_at(L, 2, method);
    struct tf_net_end *e = pv_tf_net_end_on(g->g, net, slot);

    if (!e)
        pv_lua_raise(L, "%s: %s has no NIC on network '%s' (vm:boot{nets = {...}}, vm:plug)", method, g->name,
                     pv_net_name(net->net));
    return e;
}

/* vm:unplug(lan, timeout?) */
int pv_lua_vm_unplug(lua_State *L)
{
    unsigned slot;
    struct tf_net_end *e = pv_lua_check_nic(L, "unplug", &slot);
    struct tf_guest *g = pv_lua_check_vm(L, "unplug");
    int64_t timeout = pv_lua_check_time(L, 3, "unplug", 0);
    struct pv_err err;
    int rc;

    pv_tf_call_begin(pv_lua_tf(L), g->name, "unplugging a NIC of %s", g->name);
    rc = pv_guest_unplug(g->g, slot, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    pv_tf_net_leave(e);
    return 0;
}

/* vm:ip(lan) */
int pv_lua_vm_ip(lua_State *L)
{
    struct tf_net_end *e = pv_lua_check_nic(L, "ip", NULL);
    char text[PV_IP_TEXT];

    if (e->ip.n)
        lua_pushstring(L, pv_ip_text(&e->ip, text));
    else
        lua_pushnil(L);
    return 1;
}

/* vm:mac(lan) */
int pv_lua_vm_mac(lua_State *L)
{
    char text[PV_MAC_TEXT];

    lua_pushstring(L, pv_mac_text(pv_lua_check_nic(L, "mac", NULL)->mac, text));
    return 1;
}

/* ---- partitions, statistics ---- */

struct pv_net_end *pv_lua_net_end_at(lua_State *L, int idx, const struct tf_net *net, const char *method)
{
    struct tf_guest *g = pv_lua_vm_at(L, lua_absindex(L, idx));
    struct pv_net_end *port = pv_lua_port_end_at(L, lua_absindex(L, idx));
    struct tf_net_end *e = g ? pv_tf_net_end_on(g->g, net, NULL) : NULL;

    if (!g && !port)
        port = pv_lua_uplink_end_at(L, idx);
    if (!g && !port)
        port = pv_lua_router_end_at(L, lua_absindex(L, idx), net, method);
    if (!g && !port)
        pv_lua_raise(L, "%s needs VMs, ports, routers or uplinks, got %s", method, pv_lua_describe(L, idx));
    if (port && pv_net_of(port) != net->net)
        pv_lua_raise(L, "%s: '%s' is on network '%s', not on '%s'", method, pv_net_end_name(port),
                     pv_net_name(pv_net_of(port)), pv_net_name(net->net));
    if (g && !e)
        pv_lua_raise(L, "%s: %s has no NIC on network '%s'", method, g->name, pv_net_name(net->net));
    if (g && !e->end)
        pv_lua_raise(L, "%s: %s has ended, and its NIC has left network '%s'", method, g->name,
                     pv_net_name(net->net));
    return port ? port : e->end;
}

struct pv_net_end *pv_lua_opt_net_end(lua_State *L, int idx, const struct tf_net *net, const char *method,
                                      const char *name)
{
    if (pv_lua_rawfield(L, idx, name) == LUA_TNIL)
        return NULL;
    lua_pushfstring(L, "%s option '%s'", method, name);
    return pv_lua_net_end_at(L, -2, net, lua_tostring(L, -1));
}

/* Calls fn for (a, b) both ways, or {from=, to=} one way. */
static LJMP void each_direction(lua_State *L, const char *method,
                                void (*fn)(struct tf_net *net, struct pv_net_end *from,
                                           struct pv_net_end *to))
{
    static const struct lua_opt opts[] = {{"from", OPT_ANY}, {"to", OPT_ANY}, {NULL, 0}};
    struct tf_net *net = pv_lua_net_at(L, 1, method);
    struct pv_net_end *from, *to;
    bool both = !lua_istable(L, 2) || pv_lua_uplink_end_at(L, 2);

    if (lua_gettop(L) > (both ? 3 : 2))
        pv_lua_raise(L, "%s takes two ends, or one table {from = a, to = b}; got %d arguments", method,
                     lua_gettop(L) - 1);
    if (!both) {
        pv_lua_check_opts(L, 2, method, opts);
        from = pv_lua_opt_net_end(L, 2, net, method, "from");
        to = pv_lua_opt_net_end(L, 2, net, method, "to");
        if (!from || !to)
            pv_lua_raise(L, "%s needs both options 'from' and 'to': {from = a, to = b}", method);
    } else {
        from = pv_lua_net_end_at(L, 2, net, method);
        to = pv_lua_net_end_at(L, 3, net, method);
    }
    if (from == to)
        pv_lua_raise(L, "%s needs two different VMs", method);
    fn(net, from, to);
    if (both)
        fn(net, to, from);
}

/* lan:partition(a, b), lan:partition{from=, to=} */
static int network_partition(lua_State *L)
{
    each_direction(L, "partition", pv_tf_net_partition);
    return 0;
}

/* lan:heal(), or with the arguments of partition or isolate */
static int network_heal(lua_State *L)
{
    struct tf_net *net = pv_lua_net_at(L, 1, "heal");

    if (lua_isnoneornil(L, 2)) {
        pv_tf_net_heal_all(net);
    } else if ((!lua_istable(L, 2) || pv_lua_uplink_end_at(L, 2)) && lua_isnoneornil(L, 3)) {
        struct pv_net_end *end = pv_lua_net_end_at(L, 2, net, "heal");

        pv_tf_net_heal(net, end, NULL);
        pv_tf_net_heal(net, NULL, end);
    } else {
        each_direction(L, "heal", pv_tf_net_heal);
    }
    return 0;
}

/* lan:isolate(a) */
static int network_isolate(lua_State *L)
{
    struct tf_net *net = pv_lua_net_at(L, 1, "isolate");
    struct pv_net_end *end = pv_lua_net_end_at(L, 2, net, "isolate");

    if (lua_gettop(L) > 2)
        pv_lua_raise(L, "isolate takes one VM, port, router or uplink, got %d: call it for each",
                     lua_gettop(L) - 1);
    pv_tf_net_partition(net, end, NULL);
    pv_tf_net_partition(net, NULL, end);
    return 0;
}

static void push_stats(void *arg, const char *from, const char *to, const struct pv_net_stats *s)
{
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = {{"sent", s->sent},           {"delivered", s->delivered},     {"lost", s->lost},
                  {"dropped", s->dropped},     {"partitioned", s->partitioned}, {"duplicated", s->duplicated},
                  {"reordered", s->reordered}, {"corrupted", s->corrupted}};
    lua_State *L = arg;

    lua_createtable(L, 0, 10);
    lua_pushstring(L, from);
    lua_setfield(L, -2, "from");
    lua_pushstring(L, to);
    lua_setfield(L, -2, "to");
    for (size_t i = 0; i < PV_ARRAY_LEN(counts); i++) {
        lua_pushinteger(L, (lua_Integer)counts[i].n);
        lua_setfield(L, -2, counts[i].name);
    }
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* lan:stats() */
static int network_stats(lua_State *L)
{
    struct tf_net *net = pv_lua_net_at(L, 1, "stats");

    lua_newtable(L);
    pv_net_each(net->net, push_stats, L);
    return 1;
}

static int network_tostring(lua_State *L)
{
    struct tf_net *net = pv_lua_net_at(L, 1, "tostring");

    lua_pushfstring(L, "network %s (%s)", pv_net_name(net->net), pv_subnet_text(net->subnet));
    return 1;
}

void pv_lua_open_network(lua_State *L)
{
    static const luaL_Reg methods[] = {{"partition", network_partition}, {"heal", network_heal},
                                       {"isolate", network_isolate},     {"impair", pv_lua_net_impair},
                                       {"clear", pv_lua_net_clear},      {"stats", network_stats},
                                       {"port", pv_lua_net_port},        {"capture", pv_lua_net_capture},
                                       {"uplink", pv_lua_net_uplink},    {NULL, NULL}};
    static const struct lua_type type = {
        .id = LUA_NETWORK_TYPE, .kind = "network", .own = methods, .tostring = network_tostring};

    pv_lua_open_type(L, &type);
}
