/* SPDX-License-Identifier: MIT */
/* Files and trees: read_file, write_file, push, pull. */
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "util/err.h"
#include "wire/proto.h"

/* A guest must not fill the host's memory. */
static const size_t max_read = (size_t)4 << 30;

static void zerocopy_fini(void *p)
{
    pv_lua_zerocopy_free(p);
}

static int read_file_sink(void *arg, const void *data, size_t n)
{
    struct lua_zerocopy *l = arg;

    if (n > max_read - l->len)
        return -1;
    pv_lua_zerocopy_add(l, data, n);
    return 0;
}

/* vm:read_file(path, {timeout=}?) */
int pv_lua_read_file(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "read_file");
    const char *path = pv_lua_check_cstring(L, 2, "the path of read_file");
    int64_t timeout = pv_lua_check_timeout(L, 3, "read_file", 0);
    struct lua_zerocopy *l;
    struct pv_err err;
    int rc;

    l = pv_lua_tmp(L, sizeof(*l), zerocopy_fini);
    l->a = &pv_lua_of(L)->alloc;
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "reading '%.100s' in %s", path, a.name);
    rc = pv_agent_read_file_to(a.a, path, timeout, read_file_sink, l, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0 && l->len > max_read - PV_FRAME_MAX)
        return pv_lua_raise(L, "read_file '%s': it has more than 4 GiB; use vm:pull", path);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    pv_lua_zerocopy_push(L, l);
    return 1;
}

/* vm:write_file(path, data, {mode=, timeout=}?) */
int pv_lua_write_file(lua_State *L)
{
    static const struct lua_opt opts[] = {{"mode", OPT_MODE}, {"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_agent a = pv_lua_check_agent(L, "write_file");
    const char *path = pv_lua_check_cstring(L, 2, "the path of write_file"), *data;
    uint32_t mode = PV_MODE_KEEP;
    int64_t timeout = 0;
    struct pv_err err;
    size_t n;
    int rc;

    if (lua_type(L, 3) != LUA_TSTRING && lua_type(L, 3) != LUA_TNUMBER)
        pv_lua_raise(L, "the data of write_file must be a string, got %s",
                     lua_isnone(L, 3) ? "nothing" : pv_lua_describe(L, 3));
    data = lua_tolstring(L, 3, &n);
    if (pv_lua_check_opts(L, 4, "write_file", opts)) {
        mode = pv_lua_opt_mode(L, 4, "write_file", "mode", PV_MODE_KEEP);
        timeout = pv_lua_opt_time(L, 4, "write_file", "timeout", 0);
    }
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "writing '%.100s' in %s", path, a.name);
    rc = pv_agent_write_file(a.a, path, data, n, mode, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* vm:push(host, guest, {timeout=}?) */
int pv_lua_push_tree(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "push");
    const char *host = pv_lua_check_cstring(L, 2, "the host path of push");
    const char *guest = pv_lua_check_cstring(L, 3, "the guest path of push");
    char found[PATH_MAX];
    int64_t timeout = pv_lua_check_timeout(L, 4, "push", 0);
    struct pv_err err;
    int rc;

    pv_lua_find_host(L, host, "push", found);
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "pushing '%.100s' to %s", host, a.name);
    rc = pv_agent_push(a.a, found, guest, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* vm:pull(guest, host, {timeout=}?) */
int pv_lua_pull_tree(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "pull");
    const char *guest = pv_lua_check_cstring(L, 2, "the guest path of pull");
    const char *host = pv_lua_check_cstring(L, 3, "the host path of pull");
    int64_t timeout;
    struct pv_err err;
    int rc;

    if (!*host)
        pv_lua_raise(L, "the host path of pull is empty");
    timeout = pv_lua_check_timeout(L, 4, "pull", 0);
    pv_tf_wrote(pv_lua_tf(L), host);
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "pulling '%.100s' from %s", guest, a.name);
    rc = pv_agent_pull(a.a, guest, host, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}
