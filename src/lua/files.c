/* SPDX-License-Identifier: MIT */
/* Files and trees: read_file, write_file, push, pull. */
#include <string.h>

#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "util/err.h"
#include "util/parse.h"
#include "wire/proto.h"

struct read_file {
    struct lua_zerocopy l;
    uint64_t max;
    bool over; /* the file is larger */
};

#define MAX_OFFSET (INT64_C(1) << 62)

static void read_file_fini(void *p)
{
    pv_lua_zerocopy_free(&((struct read_file *)p)->l);
}

static int read_file_sink(void *arg, const void *data, size_t n)
{
    struct read_file *r = arg;

    if (n > r->max - r->l.len) {
        r->over = true;
        return -1;
    }
    pv_lua_zerocopy_add(&r->l, data, n);
    return 0;
}

/* vm:read_file(path, {offset=, length=, timeout=, max_size=}?) */
int pv_lua_read_file(lua_State *L)
{
    static const struct lua_opt opts[] = {{"offset", OPT_INTEGER},
                                          {"length", OPT_INTEGER},
                                          {"timeout", OPT_TIME},
                                          {"max_size", OPT_SIZE},
                                          {NULL, 0}};
    struct lua_agent a = pv_lua_check_agent(L, "read_file");
    const char *path = pv_lua_check_cstring(L, 2, "the path of read_file");
    struct pv_file_part part = {.path = path, .length = PV_READ_ALL};
    uint64_t max = PV_MAX_FILE;
    int64_t timeout = 0;
    struct read_file *r;
    struct pv_err err;
    char size[32];
    int rc;

    if (pv_lua_check_opts(L, 3, "read_file", opts)) {
        part.offset = (uint64_t)pv_lua_opt_integer(L, 3, "read_file", "offset", 0, MAX_OFFSET, 0);
        part.length = (uint64_t)pv_lua_opt_integer(L, 3, "read_file", "length", 0, INT64_MAX, -1);
        timeout = pv_lua_opt_time(L, 3, "read_file", "timeout", 0);
        max = pv_lua_opt_size(L, 3, "read_file", "max_size", max);
    }
    r = pv_lua_tmp(L, sizeof(*r), read_file_fini);
    r->l.a = &pv_lua_of(L)->alloc;
    r->max = max;
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "reading '%.100s' in %s", path, a.name);
    rc = pv_agent_read_part_to(a.a, &part, timeout, read_file_sink, r, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0 && r->over)
        return pv_lua_raise(L,
                            "read_file '%s': the file has more than max_size, which is %s here: raise it, or "
                            "use vm:pull",
                            path, pv_format_size(max, size));
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    pv_lua_zerocopy_push(L, &r->l);
    return 1;
}

/* vm:write_file(path, data, {mode=, append=, timeout=}?) */
int pv_lua_write_file(lua_State *L)
{
    static const struct lua_opt opts[] = {
        {"mode", OPT_MODE}, {"append", OPT_BOOLEAN}, {"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_agent a = pv_lua_check_agent(L, "write_file");
    const char *path = pv_lua_check_cstring(L, 2, "the path of write_file"), *data;
    uint32_t mode = PV_MODE_KEEP, flags = 0;
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
        flags = pv_lua_opt_bool(L, 4, "append", false) ? PV_WRITE_APPEND : 0;
        timeout = pv_lua_opt_time(L, 4, "write_file", "timeout", 0);
    }
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "writing '%.100s' in %s", path, a.name);
    rc = pv_agent_write_file(a.a, path, data, n, mode, flags, timeout, &err);
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

static void pull_result_fini(void *p)
{
    pv_pull_result_fini(p);
}

static LJMP int push_pull_result(lua_State *L, const struct pv_pull_result *r)
{
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)r->entries);
    lua_setfield(L, -2, "entries");
    lua_pushinteger(L, (lua_Integer)r->size);
    lua_setfield(L, -2, "size");
    lua_pushinteger(L, (lua_Integer)r->skipped_in_all);
    lua_setfield(L, -2, "n_skipped");
    lua_createtable(L, (int)r->n_skipped, 0);
    for (size_t i = 0; i < r->n_skipped; i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, r->skipped[i].path);
        lua_setfield(L, -2, "path");
        lua_pushstring(L, r->skipped[i].type);
        lua_setfield(L, -2, "type");
        if (r->skipped[i].errnum) {
            lua_pushstring(L, strerror(r->skipped[i].errnum));
            lua_setfield(L, -2, "error");
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "skipped");
    return 1;
}

/* vm:pull(guest, host, {timeout=, max_size=, max_entries=, strict=}?) */
int pv_lua_pull_tree(lua_State *L)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME},
                                          {"max_size", OPT_SIZE},
                                          {"max_entries", OPT_INTEGER},
                                          {"strict", OPT_BOOLEAN},
                                          {NULL, 0}};
    struct lua_agent a = pv_lua_check_agent(L, "pull");
    const char *guest = pv_lua_check_cstring(L, 2, "the guest path of pull");
    const char *host = pv_lua_check_cstring(L, 3, "the host path of pull");
    struct pv_pull o = {0};
    struct pv_pull_result *r;
    struct pv_err err;
    int rc;

    if (!*host)
        pv_lua_raise(L, "the host path of pull is empty");
    if (pv_lua_check_opts(L, 4, "pull", opts)) {
        o.timeout_ns = pv_lua_opt_time(L, 4, "pull", "timeout", 0);
        o.max_size = pv_lua_opt_size(L, 4, "pull", "max_size", 0);
        o.strict = pv_lua_opt_bool(L, 4, "strict", false);
        if (pv_lua_rawfield(L, 4, "max_entries") != LUA_TNIL && lua_tointeger(L, -1) < 1)
            pv_lua_raise(L, "pull option 'max_entries' must be at least 1, got %s", pv_lua_describe(L, -1));
        o.max_entries = (uint64_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    r = pv_lua_tmp(L, sizeof(*r), pull_result_fini);
    pv_tf_wrote(pv_lua_tf(L), host);
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "pulling '%.100s' from %s", guest, a.name);
    rc = pv_agent_pull(a.a, guest, host, &o, r, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : push_pull_result(L, r);
}
