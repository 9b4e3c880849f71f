/* SPDX-License-Identifier: MIT */
/* Memory of the agent process: alloc, free, read_mem, write_mem. */
#include "guest/memory.h"

#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/syscall.h"
#include "lua/tmp.h"
#include "util/err.h"

/* A guest must not fill the host's memory, nor a test by mistake. */
#define READ_MAX (INT64_C(1) << 30)

static void buf_fini(void *p)
{
    pv_buf_free(p);
}

static LJMP void end_step(lua_State *L, int rc, struct pv_err *err)
{
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0)
        pv_lua_raise_err(L, err);
}

/* vm:alloc(size, {shared=false, timeout=}?) */
int pv_lua_alloc(lua_State *L)
{
    static const struct lua_opt opts[] = {{"shared", OPT_BOOLEAN}, {"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_agent a = pv_lua_check_agent(L, "alloc");
    lua_Integer size = pv_lua_sys_integer(L, 2, "alloc", "the size");
    bool given = pv_lua_check_opts(L, 3, "alloc", opts);
    bool shared = given && pv_lua_opt_bool(L, 3, "shared", false);
    int64_t timeout = given ? pv_lua_opt_time(L, 3, "alloc", "timeout", 0) : 0;
    uint64_t address = 0;
    struct pv_err err;

    if (size < 1)
        pv_lua_raise(L, "alloc: the size must be at least 1, got %I", (LUAI_UACINT)size);
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "allocating memory in %s", a.name);
    end_step(L, pv_agent_mem_alloc(a.a, (uint64_t)size, shared, timeout, &address, &err), &err);
    lua_pushinteger(L, (lua_Integer)address);
    return 1;
}

/* vm:free(address, {timeout=}?) */
int pv_lua_free(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "free");
    lua_Integer address = pv_lua_sys_integer(L, 2, "free", "the address");
    int64_t timeout = pv_lua_check_timeout(L, 3, "free", 0);
    struct pv_err err;

    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "freeing memory in %s", a.name);
    end_step(L, pv_agent_mem_free(a.a, (uint64_t)address, timeout, &err), &err);
    return 0;
}

/* vm:read_mem(address, n, {timeout=}?) */
int pv_lua_read_mem(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "read_mem");
    lua_Integer address = pv_lua_sys_integer(L, 2, "read_mem", "the address");
    lua_Integer n = pv_lua_sys_integer(L, 3, "read_mem", "the number of bytes");
    int64_t timeout = pv_lua_check_timeout(L, 4, "read_mem", 0);
    struct pv_buf *out;
    struct pv_err err;

    if (n < 0 || n > READ_MAX)
        pv_lua_raise(L, "read_mem: the number of bytes must be 0 to %I, got %I", (LUAI_UACINT)READ_MAX,
                     (LUAI_UACINT)n);
    out = pv_lua_tmp(L, sizeof(*out), buf_fini);
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "reading memory in %s", a.name);
    end_step(L, pv_agent_mem_read(a.a, (uint64_t)address, (size_t)n, timeout, out, &err), &err);
    lua_pushlstring(L, out->data ? out->data : "", out->len);
    pv_buf_free(out); /* now: it may be large, and the collector late */
    return 1;
}

/* vm:write_mem(address, data, {timeout=}?) */
int pv_lua_write_mem(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "write_mem");
    lua_Integer address = pv_lua_sys_integer(L, 2, "write_mem", "the address");
    int64_t timeout = pv_lua_check_timeout(L, 4, "write_mem", 0);
    struct pv_err err;
    const char *data;
    size_t n;

    if (lua_type(L, 3) != LUA_TSTRING)
        pv_lua_raise(L, "the data of write_mem must be a string, got %s",
                     lua_isnone(L, 3) ? "nothing" : pv_lua_describe(L, 3));
    data = lua_tolstring(L, 3, &n);
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "writing memory in %s", a.name);
    end_step(L, pv_agent_mem_write(a.a, (uint64_t)address, data, n, timeout, &err), &err);
    return 0;
}
