/* SPDX-License-Identifier: MIT */
/* mount_vfs, dmesg. */
#include <string.h>

#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "util/err.h"
#include "util/mem.h"

static void buf_fini(void *p)
{
    pv_buf_free(p);
}

int pv_lua_mount_vfs(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "mount_vfs");
    int64_t timeout = pv_lua_check_timeout(L, 2, "mount_vfs", 0);
    struct pv_err err;
    int rc;

    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "mounting proc, sysfs and others in %s", a.name);
    rc = pv_agent_mount_vfs(a.a, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* Pushes the lines of text that contain the pattern. */
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
int pv_lua_dmesg(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "dmesg");
    const char *pattern = NULL;
    int64_t timeout;
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
    timeout = pv_lua_check_timeout(L, 3, "dmesg", 0);
    buf = pv_lua_tmp(L, sizeof(*buf), buf_fini);
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "reading the kernel log of %s", a.name);
    rc = pv_agent_dmesg(a.a, timeout, buf, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    if (pattern && buf->len)
        push_lines(L, buf, pattern, n);
    else
        lua_pushlstring(L, buf->data ? buf->data : "", buf->len);
    pv_buf_free(buf);
    return 1;
}
