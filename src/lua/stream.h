/* SPDX-License-Identifier: MIT */
/*
 * Streams: userdata that read a spool (util/spool.h) and wait for more of it.  Each stream has a position of
 * its own; bytes behind a match or a line stay for the next call.  Consoles are streams with methods of their
 * own.
 */
#ifndef PV_LUA_STREAM_H
#define PV_LUA_STREAM_H

#include "lua/state.h"
#include "util/spool.h"

struct lua_stream;
struct pv_err;
struct tf_guest;

enum { LUA_STREAM_NAME_MAX = 200 };

/* The producer of a stream's bytes. */
struct lua_stream_source {
    /* Whether more bytes may come. */
    bool (*is_open)(const struct lua_stream *s);
    /* For a stream that is not open: the reason.  Leaves *err alone when the end is what one expects. */
    void (*why)(const struct lua_stream *s, struct pv_err *err);
    /* At its close; NULL: nothing. */
    void (*release)(struct lua_stream *s);
};

struct lua_stream {
    struct pv_reader r; /* closed: every method is an error */
    const struct lua_stream_source *src;
    struct tf_guest *vm;            /* held while the stream is open; NULL: no VM's, or closed */
    void *arg;                      /* the source's */
    bool raw;                       /* of a console */
    bool forget;                    /* bytes that were read are not kept */
    char name[LUA_STREAM_NAME_MAX]; /* for messages: "the console of vm1" */
};

/* Pushes a closed stream of this type; the caller fills it in with pv_lua_stream_open. */
LJMP struct lua_stream *pv_lua_new_stream(lua_State *L, const char *id);
/* spool: the stream takes a reference.  vm NULL: a stream of no VM. */
void pv_lua_stream_open(struct lua_stream *s, const struct lua_stream_source *src, struct tf_guest *vm,
                        struct pv_spool *spool, const char *name);
/* The open stream of any type at 1, or an error. */
LJMP struct lua_stream *pv_lua_check_stream(lua_State *L, const char *method);

/* Pushes all bytes that a spool keeps, behind a mark if it has lost some. */
LJMP void pv_lua_push_spool(lua_State *L, struct pv_spool *spool);
/* Adds the last lines of a spool to a message, as those of `what`. */
void pv_lua_add_lines(const struct pv_spool *spool, const char *what, struct pv_err *err);

/* Reading: methods of every type of stream. */
extern const luaL_Reg pv_lua_stream_methods[];

/* For struct lua_type. */
int pv_lua_stream_tostring(lua_State *L);
int pv_lua_stream_close(lua_State *L);

LJMP void pv_lua_open_stream(lua_State *L);
LJMP void pv_lua_open_console(lua_State *L);

#define LUA_STREAM_TYPE "provium.stream"
#define LUA_CONSOLE_TYPE "provium.console"

#endif
