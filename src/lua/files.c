/* SPDX-License-Identifier: MIT */
/* Files and trees: read_file, write_file, push, pull. */
#include "lua/vm.h"
#include "lua/watch.h"
#include "util/err.h"
#include "wire/proto.h"

/* More than this is taken for a guest that wants to fill the host's memory. */
static const size_t max_file = (size_t)4 << 30;

static void landing_fini(void *p)
{
    pv_lua_landing_free(p);
}

static int to_landing(void *arg, const void *data, size_t n)
{
    struct lua_landing *l = arg;

    if (n > max_file - l->len)
        return -1;
    pv_lua_landing_add(l, data, n);
    return 0;
}

int pv_lua_vm_read_file(lua_State *L)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_guest *g = pv_lua_check_vm(L, "read_file");
    const char *path = pv_lua_check_cstring(L, 2, "the path of read_file");
    int64_t timeout = 0;
    struct lua_landing *l;
    struct pv_err err;
    int rc;

    if (pv_lua_check_opts(L, 3, "read_file", opts))
        timeout = pv_lua_opt_time(L, 3, "read_file", "timeout", 0);
    l = pv_lua_tmp(L, sizeof(*l), landing_fini);
    l->a = &pv_lua_of(L)->landing;
    pv_lua_begin(L, g, "reading '%.100s' in %s", path, g->name);
    rc = pv_agent_read_file_to(pv_lua_agent(g), path, timeout, to_landing, l, &err);
    pv_lua_end(L, rc == 0);
    if (rc < 0 && l->len > max_file - PV_FRAME_MAX)
        return pv_lua_raise(L, "read_file '%s': it has more than 4 GiB; use vm:pull", path);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    pv_lua_landing_push(L, l);
    return 1;
}

int pv_lua_vm_write_file(lua_State *L)
{
    static const struct lua_opt opts[] = {{"mode", OPT_MODE}, {"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_guest *g = pv_lua_check_vm(L, "write_file");
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
    pv_lua_begin(L, g, "writing '%.100s' in %s", path, g->name);
    rc = pv_agent_write_file(pv_lua_agent(g), path, data, n, mode, timeout, &err);
    pv_lua_end(L, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

static const struct lua_opt tree_opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};

/* vm:push(host, guest, {timeout=}?) */
int pv_lua_vm_push(lua_State *L)
{
    struct lua_guest *g = pv_lua_check_vm(L, "push");
    const char *host = pv_lua_check_cstring(L, 2, "the host path of push");
    const char *guest = pv_lua_check_cstring(L, 3, "the guest path of push");
    char found[PATH_MAX];
    int64_t timeout = 0;
    struct pv_err err;
    int rc;

    if (pv_lua_check_opts(L, 4, "push", tree_opts))
        timeout = pv_lua_opt_time(L, 4, "push", "timeout", 0);
    pv_lua_find_host(L, host, "push", found);
    pv_lua_begin(L, g, "pushing '%.100s' to %s", host, g->name);
    rc = pv_agent_push(pv_lua_agent(g), found, guest, timeout, &err);
    pv_lua_end(L, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* vm:pull(guest, host, {timeout=}?) */
int pv_lua_vm_pull(lua_State *L)
{
    struct lua_guest *g = pv_lua_check_vm(L, "pull");
    const char *guest = pv_lua_check_cstring(L, 2, "the guest path of pull");
    const char *host = pv_lua_check_cstring(L, 3, "the host path of pull");
    int64_t timeout = 0;
    struct pv_err err;
    int rc;

    if (!*host)
        pv_lua_raise(L, "the host path of pull is empty");
    if (pv_lua_check_opts(L, 4, "pull", tree_opts))
        timeout = pv_lua_opt_time(L, 4, "pull", "timeout", 0);
    pv_lua_wrote(pv_lua_of(L), host);
    pv_lua_begin(L, g, "pulling '%.100s' from %s", guest, g->name);
    rc = pv_agent_pull(pv_lua_agent(g), guest, host, timeout, &err);
    pv_lua_end(L, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}
