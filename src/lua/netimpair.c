/* SPDX-License-Identifier: MIT */
/* lan:impair and lan:clear. */
#include <stdlib.h>
#include <string.h>

#include "lua/network.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "net/network.h"
#include "testfile/netreport.h"
#include "testfile/nets.h"
#include "util/mem.h"

enum { QUEUE_MAX = 1000000 };

static const struct lua_opt impair_opts[] = {{"from", OPT_ANY},
                                             {"to", OPT_ANY},
                                             {"latency", OPT_TIME},
                                             {"jitter", OPT_TIME},
                                             {"loss", OPT_ANY},
                                             {"duplicate", OPT_ANY},
                                             {"reorder", OPT_ANY},
                                             {"corrupt", OPT_ANY},
                                             {"rate", OPT_ANY},
                                             {"queue", OPT_INTEGER},
                                             {NULL, 0}};

static LJMP double opt_chance(lua_State *L, const char *name)
{
    double p = 0;

    if (pv_lua_rawfield(L, 2, name) != LUA_TNIL) {
        p = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        if (!(p >= 0 && p <= 1))
            pv_lua_raise(L, "impair option '%s' must be a chance from 0 to 1, got %s", name,
                         pv_lua_describe(L, -1));
    }
    lua_pop(L, 1);
    return p;
}

/* Bits a second: an integer, or "10mbit" in powers of 1000. */
static LJMP uint64_t opt_rate(lua_State *L)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}};
    int type = pv_lua_rawfield(L, 2, "rate");
    double rate = 0;
    char *end;

    if (type == LUA_TNIL)
        return 0;
    if (type == LUA_TNUMBER) {
        rate = lua_tonumber(L, -1);
    } else if (type == LUA_TSTRING) {
        const char *text = lua_tostring(L, -1), *unit = text + strspn(text, "0123456789.");
        double n = strtod(text, &end);

        for (size_t i = 0; i < PV_ARRAY_LEN(units); i++)
            if (end == unit && strcmp(unit, units[i].name) == 0) /* no exponent, no hexadecimal */
                rate = n * units[i].factor;
    }
    if (!(rate >= 1 && rate <= 1e12))
        pv_lua_raise(L,
                     "impair option 'rate' must be bits a second, such as \"10mbit\" or \"64kbit\", got %s",
                     pv_lua_describe(L, -1));
    return (uint64_t)rate;
}

/* The ends in the fields from and to of the table at 2; NULL: any. */
static LJMP void opt_ends(lua_State *L, const struct tf_net *net, const char *method,
                          struct pv_net_end **from, struct pv_net_end **to)
{
    *from = pv_lua_opt_net_end(L, 2, net, method, "from");
    *to = pv_lua_opt_net_end(L, 2, net, method, "to");
    if (*from && *from == *to)
        pv_lua_raise(L, "%s options 'from' and 'to' are both %s: no frame goes that way", method,
                     pv_net_end_name(*from));
}

/* lan:impair{from=, to=, latency=, ...} */
int pv_lua_net_impair(lua_State *L)
{
    struct tf_net *net = pv_lua_net_at(L, 1, "impair");
    struct pv_impair i = {.latency = 0};
    struct pv_net_end *from, *to;

    lua_settop(L, 2);
    if (!lua_istable(L, 2))
        return pv_lua_raise(L, "impair needs a table such as {loss=0.01, latency=\"50ms\"}, got %s",
                            pv_lua_describe(L, 2));
    pv_lua_check_opts(L, 2, "impair", impair_opts);
    i.latency = pv_lua_opt_time(L, 2, "impair", "latency", 0);
    i.jitter = pv_lua_opt_time(L, 2, "impair", "jitter", 0);
    i.loss = opt_chance(L, "loss");
    i.duplicate = opt_chance(L, "duplicate");
    i.reorder = opt_chance(L, "reorder");
    i.corrupt = opt_chance(L, "corrupt");
    i.rate = opt_rate(L);
    i.queue = (unsigned)pv_lua_opt_integer(L, 2, "impair", "queue", 1, QUEUE_MAX, 0);
    opt_ends(L, net, "impair", &from, &to);
    pv_tf_net_impair(net, from, to, &i);
    return 0;
}

/* lan:clear(), or with the table of impair */
int pv_lua_net_clear(lua_State *L)
{
    struct tf_net *net = pv_lua_net_at(L, 1, "clear");
    struct pv_net_end *from, *to;

    lua_settop(L, 2);
    if (!pv_lua_check_opts(L, 2, "clear", impair_opts)) {
        pv_tf_net_clear_all(net);
        return 0;
    }
    opt_ends(L, net, "clear", &from, &to);
    pv_tf_net_clear(net, from, to);
    return 0;
}
