/* SPDX-License-Identifier: MIT */
/* The type console, and vm:console, which makes one. */
#include "guest/console.h"

#include <stdio.h>
#include <string.h>

#include "guest/guest.h"
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/stream.h"
#include "util/clock.h"
#include "util/err.h"

#define WRITE_TIMEOUT (10 * PV_NSEC_PER_SEC)

static bool console_is_open(const struct lua_stream *s)
{
    return pv_guest_console_open(s->vm->g);
}

static void console_why(const struct lua_stream *s, struct pv_err *err)
{
    pv_guest_console_why(s->vm->g, err);
}

/* vm:console({raw=false}?) */
int pv_lua_vm_console(lua_State *L)
{
    static const struct lua_opt opts[] = {{"raw", OPT_BOOLEAN}, {NULL, 0}};
    static const struct lua_stream_source source = {.is_open = console_is_open, .why = console_why};
    struct tf_guest *g = pv_lua_check_vm(L, "console");
    bool raw = pv_lua_check_opts(L, 2, "console", opts) && pv_lua_opt_bool(L, 2, "raw", false);
    struct lua_stream *s = pv_lua_new_stream(L, LUA_CONSOLE_TYPE);
    char name[LUA_STREAM_NAME_MAX];

    snprintf(name, sizeof(name), "the console of %s", g->name);
    pv_lua_stream_open(s, &source, g, pv_guest_console(g->g, raw), name);
    s->raw = raw;
    return 1;
}

static LJMP struct lua_stream *check_console(lua_State *L, const char *method)
{
    if (!luaL_testudata(L, 1, LUA_CONSOLE_TYPE))
        pv_lua_raise(L, "c.%s(...) got %s where the console belongs; call it with a colon: c:%s(...)", method,
                     lua_isnone(L, 1) ? "nothing" : pv_lua_describe(L, 1), method);
    return pv_lua_check_stream(L, method);
}

/* c:log() */
static int console_log(lua_State *L)
{
    const struct lua_stream *s = check_console(L, "log");

    pv_guest_settle_findings(s->vm->g); /* reads the console as far as QEMU has written it */
    pv_lua_push_spool(L, s->r.spool);
    return 1;
}

/* c:write(data, timeout?) */
static int console_write(lua_State *L)
{
    const struct lua_stream *s = check_console(L, "write");
    struct pv_testfile *tf = pv_lua_tf(L);
    int64_t timeout = pv_lua_check_time(L, 3, "write", WRITE_TIMEOUT);
    struct pv_err err;
    const char *data;
    size_t n;
    int rc;

    if (lua_type(L, 2) != LUA_TSTRING && lua_type(L, 2) != LUA_TNUMBER)
        pv_lua_raise(L, "the data of write must be a string, got %s",
                     lua_isnone(L, 2) ? "nothing" : pv_lua_describe(L, 2));
    data = lua_tolstring(L, 2, &n);
    pv_tf_call_begin(tf, s->vm->name, "writing to %s", s->name);
    rc = pv_guest_console_write(s->vm->g, data, n, timeout, &err);
    pv_tf_step_end(tf, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

static const luaL_Reg console_methods[] = {{"log", console_log}, {"write", console_write}, {NULL, NULL}};

void pv_lua_open_console(lua_State *L)
{
    static const struct lua_type type = {.id = LUA_CONSOLE_TYPE,
                                         .kind = "console",
                                         .own = console_methods,
                                         .shared = pv_lua_stream_methods,
                                         .tostring = pv_lua_stream_tostring,
                                         .close = pv_lua_stream_close,
                                         .gc = pv_lua_stream_close};

    pv_lua_open_type(L, &type);
}
