/* SPDX-License-Identifier: MIT */
/*
 * ioctl and ioctl_buf, by the ioctl system call.  A command's number encodes how many bytes the kernel copies
 * and in which direction (_IOC_SIZE, _IOC_DIR of asm-generic/ioctl.h); old ones (TCGETS, SIOCGIFCONF) encode
 * nothing.  "Reads back" below is _IOC_READ: the kernel writes to the caller's memory.
 */
#include <linux/ioctl.h>
#include <string.h>

#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/syscall.h"

static bool ioctl_reads_back(uint32_t cmd)
{
    return _IOC_DIR(cmd) & _IOC_READ;
}

/*
 * Appends zeros to the string at idx up to the size that the command encodes: the kernel must not copy past
 * the buffer.
 */
static LJMP void pad_to_size(lua_State *L, int idx, uint32_t cmd)
{
    size_t size = _IOC_DIR(cmd) != _IOC_NONE ? _IOC_SIZE(cmd) : 0, n;
    const char *s = lua_tolstring(L, idx, &n);
    luaL_Buffer b;
    char *p;

    if (n >= size)
        return;
    p = luaL_buffinitsize(L, &b, size);
    memcpy(p, s, n);
    memset(p + n, 0, size - n);
    luaL_pushresultsize(&b, size);
    lua_replace(L, idx);
}

/* The descriptor at 2 and the command at 3; returns the command. */
static LJMP uint32_t check_ioctl(lua_State *L, const char *what, struct sys_call *c)
{
    if (!pv_lua_sys_number("ioctl", &c->c.nr))
        pv_lua_raise(L, "%s: this build does not know the number of the ioctl system call", what);
    c->c.args[0] = (uint64_t)pv_lua_sys_integer(L, 2, what, "the descriptor");
    c->c.args[1] = (uint64_t)pv_lua_sys_integer(L, 3, what, "the command");
    return (uint32_t)c->c.args[1];
}

/* vm:ioctl(fd, cmd, data?, {timeout=}?) */
int pv_lua_ioctl(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "ioctl");
    struct sys_call *c = pv_lua_sys_new(L);
    uint32_t cmd;

    lua_replace(L, 1);
    cmd = check_ioctl(L, "ioctl", c);
    c->c.timeout_ns = pv_lua_sys_timeout(L, 4, "ioctl");
    if (lua_gettop(L) > 4)
        pv_lua_raise(L, "ioctl takes a descriptor, a command, data and options; got %d arguments",
                     lua_gettop(L) - 1);
    lua_settop(L, 4);
    if (lua_isnil(L, 4) && ioctl_reads_back(cmd)) {
        lua_pushliteral(L, "");
        lua_replace(L, 4);
    }
    if (lua_type(L, 4) == LUA_TSTRING) {
        pad_to_size(L, 4, cmd);
        pv_lua_sys_buf(L, c, "ioctl", 2, 4);
    } else if (!lua_isnil(L, 4)) {
        c->c.args[2] = (uint64_t)pv_lua_sys_integer(L, 4, "ioctl", "data that is neither a string nor nil");
    }
    pv_lua_sys_do(L, a, c);
    if (ioctl_reads_back(cmd) && c->r.n_out)
        return pv_lua_sys_push(L, c, 0);
    lua_pushinteger(L, c->r.value);
    lua_pushnil(L);
    return 2;
}

/* vm:ioctl_buf(fd, cmd, struct, specs, {timeout=}?) */
int pv_lua_ioctl_buf(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "ioctl_buf");
    struct sys_call *c = pv_lua_sys_new(L);
    uint32_t cmd;
    int n;

    lua_replace(L, 1);
    cmd = check_ioctl(L, "ioctl_buf", c);
    if (lua_type(L, 4) != LUA_TSTRING)
        pv_lua_raise(L, "ioctl_buf: the struct must be a string, got %s",
                     lua_isnone(L, 4) ? "nothing" : pv_lua_describe(L, 4));
    pad_to_size(L, 4, cmd);
    pv_lua_sys_buf(L, c, "ioctl_buf", 2, 4);
    pv_lua_sys_specs(L, 5, "ioctl_buf", "specs", "buf_len", c);
    c->c.timeout_ns = pv_lua_sys_timeout(L, 6, "ioctl_buf");
    if (lua_gettop(L) > 5)
        pv_lua_raise(L,
                     "ioctl_buf takes a descriptor, a command, a struct, specs and options; got %d arguments",
                     lua_gettop(L) - 1);
    pv_lua_sys_do(L, a, c);
    n = pv_lua_sys_push(L, c, 0);
    /* a command that encodes nothing may read back too (SIOCGIFCONF) */
    if (!ioctl_reads_back(cmd) && (_IOC_DIR(cmd) != _IOC_NONE || _IOC_SIZE(cmd) != 0) && n > 1) {
        lua_pushnil(L);
        lua_replace(L, -n);
    }
    return n;
}
