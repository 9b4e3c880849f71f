/* SPDX-License-Identifier: MIT */
/* Captures of networks: pcapng into a file of the host, or a stream. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/handle.h"
#include "lua/network.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/stream.h"
#include "net/network.h"
#include "testfile/nets.h"
#include "util/err.h"
#include "util/mem.h"

#define CAPTURE_TYPE "provium.capture"
/* Bytes of a capture file, beyond which frames are left out and close() says so. */
#define FILE_MAX ((uint64_t)1 << 30)

struct lua_capture {
    struct pv_net_capture *c; /* NULL once closed */
    FILE *file;               /* NULL: to the spool */
    int error;                /* errno of the first write that failed; EFBIG: FILE_MAX was reached */
    uint64_t size;            /* of the file */
    struct pv_spool *spool;
    char *name;
};

static void capture_write(void *arg, const void *data, size_t n)
{
    struct lua_capture *c = arg;

    if (!c->file)
        pv_spool_add(c->spool, data, n);
    else if (!c->error && c->size + n > FILE_MAX)
        c->error = EFBIG;
    else if (!c->error && fwrite(data, 1, n, c->file) != n)
        c->error = errno;
    c->size += n;
}

/* Ends the capture; a file is flushed and closed. */
static int capture_end(struct lua_capture *c, struct pv_err *err)
{
    if (!c->c)
        return 0;
    pv_net_capture_stop(c->c);
    c->c = NULL;
    if (c->file && fclose(c->file) != 0 && !c->error)
        c->error = errno;
    c->file = NULL;
    if (c->error == EFBIG)
        return pv_err_set(
            err, PV_E_HOST,
            "the capture '%s' ends too early: it has reached 1 GiB, and later frames are not in it", c->name);
    return c->error ? pv_err_sys(err, c->error, "cannot write the capture '%s'", c->name) : 0;
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

/* A regular file, new or empty.  A FIFO would block until somebody reads it. */
static FILE *capture_open(const char *path, struct pv_err *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    struct stat st;
    FILE *file;

    if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        pv_err_set(err, PV_E_USAGE,
                   "cannot write the capture '%s': it is no regular file; capture() without a "
                   "path has a stream",
                   path);
        return NULL;
    }
    file = fd < 0 || ftruncate(fd, 0) < 0 ? NULL : fdopen(fd, "wb");
    if (file)
        pv_steal_fd(&fd);
    else
        pv_err_set(err, PV_E_USAGE, "cannot write the capture '%s': %s", path,
                   errno == ENXIO ? "it is a FIFO or a socket, no regular file" : strerror(errno));
    return file;
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
        c->file = capture_open(path, &err);
        if (!c->file)
            return pv_lua_raise_err(L, &err);
        pv_tf_wrote(pv_lua_tf(L), path);
    } else {
        c->spool = pv_spool_new(pv_lua_tf(L)->guest_env.host.log_dir, 0, 0);
    }
    c->c = pv_net_capture_start(net->net, capture_write, c);
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

    lua_pushfstring(L, "capture of '%s'%s", c && c->name ? c->name : "?", c && c->c ? "" : " (closed)");
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
