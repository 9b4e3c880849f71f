/* SPDX-License-Identifier: MIT */
/* vm:follow. */
#include "guest/follow.h"

#include <stdio.h>
#include <string.h>

#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/stream.h"
#include "util/err.h"
#include "wire/proto.h"

static bool follow_is_open(const struct lua_stream *s)
{
    return pv_follow_is_open(s->arg);
}

static void follow_why(const struct lua_stream *s, struct pv_err *err)
{
    pv_follow_why(s->arg, err);
}

static void follow_release(struct lua_stream *s)
{
    pv_follow_close(s->arg);
}

/* The option `from`: PV_FOLLOW_*; *offset for a number. */
static LJMP uint32_t check_from(lua_State *L, int idx, uint64_t *offset)
{
    static const char expected[] = "\"end\", \"start\" or an offset in bytes";
    const char *s;
    int type;

    if (!lua_istable(L, idx))
        return PV_FOLLOW_END;
    type = pv_lua_rawfield(L, idx, "from");
    if (type == LUA_TNIL)
        return PV_FOLLOW_END;
    if (type == LUA_TNUMBER && lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0) {
        *offset = (uint64_t)lua_tointeger(L, -1);
        return PV_FOLLOW_OFFSET;
    }
    s = type == LUA_TSTRING ? lua_tostring(L, -1) : "";
    if (strcmp(s, "start") != 0 && strcmp(s, "end") != 0)
        pv_lua_raise(L, "follow option 'from' must be %s, got %s", expected, pv_lua_describe(L, -1));
    return *s == 's' ? PV_FOLLOW_START : PV_FOLLOW_END;
}

/* vm:follow(path, {from="end"|"start"|offset}?) */
int pv_lua_follow(lua_State *L)
{
    static const struct lua_opt opts[] = {{"from", OPT_ANY}, {NULL, 0}};
    static const struct lua_stream_source source = {
        .is_open = follow_is_open, .why = follow_why, .release = follow_release};
    struct lua_agent a = pv_lua_check_agent(L, "follow");
    const char *path = pv_lua_check_cstring(L, 2, "the path of follow");
    char name[LUA_STREAM_NAME_MAX], opened[LUA_WHERE_MAX];
    struct tf_guest *vm = pv_lua_vm_of(L, 1);
    uint64_t offset = 0;
    uint32_t from;
    struct lua_stream *s;
    struct pv_follow *f;
    struct pv_err err;

    pv_lua_check_opts(L, 3, "follow", opts);
    from = check_from(L, 3, &offset);
    pv_lua_place(L, opened);
    s = pv_lua_new_stream(L, LUA_STREAM_TYPE);
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "following '%.100s' in %s", path, a.name);
    f = pv_follow_open(a.a, path, from, offset, opened, &err);
    pv_tf_step_end(pv_lua_tf(L), f != NULL);
    if (!f)
        return pv_lua_raise_err(L, &err);
    snprintf(name, sizeof(name), "'%.90s' of %.90s", path, vm->name);
    pv_lua_stream_open(s, &source, vm, pv_follow_spool(f), name);
    s->arg = f;
    s->forget = true;
    return 1;
}
