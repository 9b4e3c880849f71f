/* SPDX-License-Identifier: MIT */
/* provium.net: building and parsing frames (netframe.lua). */
#include <string.h>

#include "lua/modules.h"
#include "lua/raise.h"
#include "net/address.h"
#include "net/checksum.h"

#include "netframe.lua.h"

static int frame_raise(lua_State *L)
{
    return pv_lua_raise(L, "provium.net.%s", luaL_checkstring(L, 1));
}

/* The bytes of an address; nil: the text is none. */
static int frame_ip_bytes(lua_State *L)
{
    struct pv_ip ip;

    if (pv_ip_parse(&ip, luaL_checkstring(L, 1), NULL) < 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, (const char *)ip.addr, ip.n);
    return 1;
}

static int frame_ip_text(lua_State *L)
{
    struct pv_ip ip = {0};
    char text[PV_IP_TEXT];
    size_t n;
    const char *bytes = luaL_checklstring(L, 1, &n);

    luaL_argcheck(L, n == 4 || n == 16, 1, "4 or 16 bytes");
    ip.n = (unsigned)n;
    memcpy(ip.addr, bytes, n);
    lua_pushstring(L, pv_ip_text(&ip, text));
    return 1;
}

/* Frames may have group addresses, so this is no pv_mac_parse. */
static int frame_mac_bytes(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    unsigned char mac[6];

    if (pv_mac_scan(mac, text) < 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, (const char *)mac, sizeof(mac));
    return 1;
}

static int frame_mac_text(lua_State *L)
{
    char text[PV_MAC_TEXT];
    size_t n;
    const char *bytes = luaL_checklstring(L, 1, &n);

    luaL_argcheck(L, n == 6, 1, "6 bytes");
    lua_pushstring(L, pv_mac_text((const uint8_t *)bytes, text));
    return 1;
}

static int frame_sum(lua_State *L)
{
    size_t n;
    const char *bytes = luaL_checklstring(L, 1, &n);
    uint32_t sum = 0;

    for (size_t i = 0; i < n; i += 1 << 15)
        sum = pv_sum_add(sum, bytes + i, n - i < 1 << 15 ? n - i : 1 << 15);
    lua_pushinteger(L, pv_sum_end(sum));
    return 1;
}

void pv_lua_open_netframe(lua_State *L)
{
    static const lua_CFunction functions[] = {frame_raise,     frame_ip_bytes, frame_ip_text,
                                              frame_mac_bytes, frame_mac_text, frame_sum};

    pv_lua_load_own(L, pv_netframe_lua, sizeof(pv_netframe_lua));
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
        lua_pushcfunction(L, functions[i]);
    lua_call(L, sizeof(functions) / sizeof(functions[0]), 1);
}
