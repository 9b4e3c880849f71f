/* SPDX-License-Identifier: MIT */
/* The guest's system as a whole: mount_vfs, dmesg. */
#include <string.h>

#include "lua/vm.h"
#include "util/err.h"

static void buf_fini(void *p)
{
    pv_buf_free(p);
}

int pv_lua_vm_mount_vfs(lua_State *L)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_guest *g = pv_lua_check_vm(L, "mount_vfs");
    int64_t timeout = 0;
    struct pv_err err;
    int rc;

    if (pv_lua_check_opts(L, 2, "mount_vfs", opts))
        timeout = pv_lua_opt_time(L, 2, "mount_vfs", "timeout", 0);
    pv_lua_begin(L, g, "mounting proc, sysfs and others in %s", g->name);
    rc = pv_agent_mount_vfs(pv_lua_agent(g), timeout, &err);
    pv_lua_end(L, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* The lines of text that hold the pattern, as a string. */
static LJMP void push_lines(lua_State *L, const struct pv_buf *text, const char *pattern, size_t n)
{
    const char *s = text->data, *end = s + text->len;
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    while (s < end) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        size_t len = nl ? (size_t)(nl - s) + 1 : (size_t)(end - s);

        if (memmem(s, len, pattern, n))
            luaL_addlstring(&b, s, len);
        s += len;
    }
    luaL_pushresult(&b);
}

/* vm:dmesg(pattern?, {timeout=}?) */
int pv_lua_vm_dmesg(lua_State *L)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_guest *g = pv_lua_check_vm(L, "dmesg");
    const char *pattern = NULL;
    int64_t timeout = 0;
    struct pv_buf *buf;
    struct pv_err err;
    size_t n = 0;
    int rc;

    if (lua_istable(L, 2) && lua_isnoneornil(L, 3)) {
        lua_settop(L, 2);
        lua_pushnil(L);
        lua_insert(L, 2);
    }
    lua_settop(L, 3);
    if (!lua_isnil(L, 2)) {
        pattern = pv_lua_check_cstring(L, 2, "what dmesg looks for");
        n = strlen(pattern);
    }
    if (pv_lua_check_opts(L, 3, "dmesg", opts))
        timeout = pv_lua_opt_time(L, 3, "dmesg", "timeout", 0);
    buf = pv_lua_tmp(L, sizeof(*buf), buf_fini);
    pv_lua_begin(L, g, "reading the kernel log of %s", g->name);
    rc = pv_agent_dmesg(pv_lua_agent(g), timeout, buf, &err);
    pv_lua_end(L, rc == 0);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    if (pattern && buf->len)
        push_lines(L, buf, pattern, n);
    else
        lua_pushlstring(L, buf->data ? buf->data : "", buf->len);
    pv_buf_free(buf);
    return 1;
}
