/* SPDX-License-Identifier: MIT */
/* Captures of networks: pcapng into a file of the host, or a stream. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/handle.h"
#include "lua/network.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/stream.h"
#include "net/capture-file.h"
#include "net/network.h"
#include "testfile/nets.h"
#include "util/err.h"
#include "util/mem.h"

#define CAPTURE_TYPE "provium.capture"

struct lua_capture {
    struct pv_capture_file *file; /* NULL: to the spool, or closed */
    struct pv_net_capture *c;     /* to the spool; NULL once closed */
    struct pv_spool *spool;
    char *name;
};

static void capture_write(void *arg, const void *data, size_t n)
{
    struct lua_capture *c = arg;

    pv_spool_add(c->spool, data, n);
}

/* Ends the capture; a file is flushed and closed. */
static int capture_end(struct lua_capture *c, struct pv_err *err)
{
    struct pv_capture_file *file = c->file;

    pv_net_capture_stop(c->c);
    c->c = NULL;
    c->file = NULL;
    return file ? pv_capture_file_close(file, err) : 0;
}

static int capture_gc(lua_State *L)
{
    struct lua_capture *c = lua_touserdata(L, 1);

    capture_end(c, NULL);
    pv_spool_unref(c->spool);
    c->spool = NULL;
    free(c->name);
    c->name = NULL;
    return 0;
}

static LJMP struct lua_capture *check_capture(lua_State *L, const char *method)
{
    struct lua_capture *c = luaL_testudata(L, 1, CAPTURE_TYPE);

    if (!c)
        pv_lua_raise(L, "%s must be called with a colon, as capture:%s()", method, method);
    return c;
}

/* lan:capture(path?) */
int pv_lua_net_capture(lua_State *L)
{
    struct tf_net *net = pv_lua_net_at(L, 1, "capture");
    const char *path = lua_isnoneornil(L, 2) ? NULL : pv_lua_check_cstring(L, 2, "the path of capture");
    struct lua_capture *c = lua_newuserdatauv(L, sizeof(*c), 0);
    struct pv_err err;

    memset(c, 0, sizeof(*c));
    luaL_setmetatable(L, CAPTURE_TYPE);
    c->name = pv_xstrdup(path ? path : pv_net_name(net->net));
    if (path) {
        c->file = pv_capture_file_open(net->net, path, PV_CAPTURE_FILE_MAX, &err);
        if (!c->file)
            return pv_lua_raise_err(L, &err);
        pv_tf_wrote(pv_lua_tf(L), path);
    } else {
        c->spool = pv_spool_new(pv_lua_tf(L)->guest_env.host.log_dir, 0, 0);
        c->c = pv_net_capture_start(net->net, capture_write, c);
    }
    return 1;
}

/* capture:close() */
static int capture_close(lua_State *L)
{
    struct pv_err err;

    if (capture_end(check_capture(L, "close"), &err) < 0)
        return pv_lua_raise_err(L, &err);
    return 0;
}

static bool capture_is_open(const struct lua_stream *s)
{
    return ((const struct lua_capture *)s->arg)->c != NULL;
}

static void capture_why(const struct lua_stream *s, struct pv_err *err)
{
    (void)s;
    (void)err;
}

/* capture:stream() */
static int capture_stream(lua_State *L)
{
    static const struct lua_stream_source source = {.is_open = capture_is_open, .why = capture_why};
    struct lua_capture *c = check_capture(L, "stream");
    char name[LUA_STREAM_NAME_MAX];
    struct lua_stream *s;

    if (!c->spool)
        return pv_lua_raise(L, "the capture goes to the file '%s'; one without a path has a stream", c->name);
    s = pv_lua_new_stream(L, LUA_STREAM_TYPE);
    snprintf(name, sizeof(name), "the capture of network '%.60s'", c->name);
    pv_lua_stream_open(s, &source, NULL, c->spool, name);
    s->arg = c;
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

static int capture_tostring(lua_State *L)
{
    const struct lua_capture *c = luaL_testudata(L, 1, CAPTURE_TYPE);

    lua_pushfstring(L, "capture of '%s'%s", c && c->name ? c->name : "?",
                    c && (c->c || c->file) ? "" : " (closed)");
    return 1;
}

void pv_lua_open_capture(lua_State *L)
{
    static const luaL_Reg methods[] = {{"close", capture_close}, {"stream", capture_stream}, {NULL, NULL}};
    static const struct lua_type type = {.id = CAPTURE_TYPE,
                                         .kind = "capture",
                                         .own = methods,
                                         .tostring = capture_tostring,
                                         .close = capture_close,
                                         .gc = capture_gc};

    pv_lua_open_type(L, &type);
}
