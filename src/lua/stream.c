/* SPDX-License-Identifier: MIT */
/*
 * A search for a text goes on where the one before it ended.  A Lua pattern has to be matched anew when bytes
 * have come, so it sees at most the last PATTERN_WINDOW unread bytes, and on a stream that floods it is
 * matched once per PATTERN_PAUSE or per sixteenth of the window: the cost is linear in the bytes that come.
 */
#include "lua/stream.h"

#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "lua/handle.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "testfile/limit.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/text.h"

#define DEFAULT_TIMEOUT (10 * PV_NSEC_PER_SEC)
#define PATTERN_PAUSE (20 * PV_NSEC_PER_MSEC)

enum { PATTERN_WINDOW = 256 * 1024, READ_MAX = 1 << 20, SHOWN_LINES = 5, SHOWN_TEXT = 200 };

static const char find_key; /* its address: registry key of string.find */

/* ---- the userdata ---- */

struct lua_stream *pv_lua_new_stream(lua_State *L, const char *id)
{
    struct lua_stream *s = lua_newuserdatauv(L, sizeof(*s), 1); /* 1: what the source must keep */

    *s = (struct lua_stream){0};
    luaL_setmetatable(L, id);
    return s;
}

void pv_lua_stream_open(struct lua_stream *s, const struct lua_stream_source *src, struct tf_guest *vm,
                        struct pv_spool *spool, const char *name)
{
    s->r = (struct pv_reader){.spool = pv_spool_ref(spool)};
    s->src = src;
    s->vm = vm;
    if (vm)
        vm->n_holds++;
    snprintf(s->name, sizeof(s->name), "%s", name);
}

static void stream_close(struct lua_stream *s)
{
    if (!s->r.spool)
        return;
    if (s->src->release)
        s->src->release(s);
    if (s->vm)
        s->vm->n_holds--;
    s->vm = NULL;
    pv_reader_close(&s->r);
}

static struct lua_stream *stream_at(lua_State *L, int idx)
{
    static const char *const types[] = {LUA_STREAM_TYPE, LUA_CONSOLE_TYPE};
    struct lua_stream *s = NULL;

    for (size_t i = 0; !s && i < PV_ARRAY_LEN(types); i++)
        s = luaL_testudata(L, idx, types[i]);
    return s;
}

static LJMP void check_open(lua_State *L, const struct lua_stream *s, const char *method)
{
    if (!s->r.spool)
        pv_lua_raise(L, "%s: the stream of %s was closed", method, *s->name ? s->name : "nothing");
}

struct lua_stream *pv_lua_check_stream(lua_State *L, const char *method)
{
    struct lua_stream *s = stream_at(L, 1);

    if (!s)
        pv_lua_raise(L, "s.%s(...) got %s where the stream belongs; call it with a colon: s:%s(...)", method,
                     lua_isnone(L, 1) ? "nothing" : pv_lua_describe(L, 1), method);
    check_open(L, s, method);
    return s;
}

int pv_lua_stream_close(lua_State *L)
{
    struct lua_stream *s = stream_at(L, 1);

    if (s)
        stream_close(s);
    return 0;
}

int pv_lua_stream_tostring(lua_State *L)
{
    const struct lua_stream *s = stream_at(L, 1);

    if (s->r.spool)
        lua_pushfstring(L, "stream of %s: %I bytes unread", s->name, (LUAI_UACINT)pv_reader_left(&s->r));
    else
        lua_pushfstring(L, "stream of %s: closed", s->name);
    return 1;
}

/* ---- waiting ---- */

/* One call that reads a stream. */
struct stream_call {
    struct lua_stream *s;
    const char *method;
    char wanted[SHOWN_TEXT * 4 + 8]; /* for messages: "'login: '"; "more bytes" */
    int64_t timeout, deadline;
    uint64_t seen; /* bytes up to here did not do */
    bool late;     /* the deadline has passed, and the bytes that had come by then are searched */
    bool stepped;  /* it has an open step of the timeline */
};

enum wake { WAKE_BYTES, WAKE_END, WAKE_TIMEOUT };

static bool call_has_news(void *arg)
{
    const struct stream_call *c = arg;

    return !c->s->r.spool || pv_spool_end(c->s->r.spool) > c->seen || !c->s->src->is_open(c->s);
}

static struct stream_call call_begin(struct lua_stream *s, const char *method, const char *wanted,
                                     int64_t timeout)
{
    struct stream_call c = {
        .s = s, .method = method, .timeout = timeout, .deadline = pv_deadline(timeout), .seen = s->r.pos};

    snprintf(c.wanted, sizeof(c.wanted), "%s", wanted);
    return c;
}

/* The text as it is shown: clean, cut, quoted. */
static void call_set_wanted(struct stream_call *c, const char *text, size_t n)
{
    cleanup_buf struct pv_buf clean = {0};

    pv_text_clean(&clean, text, pv_text_clip(text, n, SHOWN_TEXT), NULL);
    snprintf(c->wanted, sizeof(c->wanted), n > SHOWN_TEXT ? "'%s...'" : "'%s'", clean.data ? clean.data : "");
}

static LJMP void call_step(lua_State *L, struct stream_call *c)
{
    if (!c->stepped)
        pv_tf_call_begin(pv_lua_tf(L), c->s->vm ? c->s->vm->name : NULL, "waiting for %.100s on %.100s",
                         c->wanted, c->s->name);
    c->stepped = true;
}

static void call_leave(lua_State *L, struct stream_call *c, bool ok)
{
    if (c->stepped)
        pv_tf_step_end(pv_lua_tf(L), ok);
    c->stepped = false;
}

/*
 * Runs the loop until the stream has bytes behind c->seen, its end, or `until`.  A stream that floods has bytes
 * at every deadline: they are searched once more.
 */
static LJMP enum wake call_wait(lua_State *L, struct stream_call *c, int64_t until)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    int64_t limit = pv_tf_limit(tf), now;
    struct pv_err err;
    int rc;

    if (c->late)
        return WAKE_TIMEOUT;
    if (c->deadline < until)
        until = c->deadline;
    rc = pv_loop_run(tf->loop, call_has_news, c, until < limit ? until : limit, &err);
    now = pv_now();
    if (rc < 0 || !c->s->r.spool || now >= limit) {
        call_leave(L, c, false);
        if (rc < 0)
            pv_lua_raise_err(L, &err);
        check_open(L, c->s, c->method);
        pv_lua_raise_expired(L);
    }
    c->late = now >= c->deadline;
    if (pv_spool_end(c->s->r.spool) > c->seen)
        return WAKE_BYTES;
    return c->s->src->is_open(c->s) ? WAKE_TIMEOUT : WAKE_END;
}

void pv_lua_add_lines(const struct pv_spool *spool, const char *what, struct pv_err *err)
{
    cleanup_buf struct pv_buf tail = {0};

    pv_spool_tail(spool, SHOWN_LINES, &tail);
    if (tail.len)
        pv_err_append(err, "; the last %d lines of %s:%s", SHOWN_LINES, what, tail.data);
    else
        pv_err_append(err, "; nothing has come from %s", what);
}

/* The deadline has passed. */
static LJMP int raise_timeout(lua_State *L, const struct stream_call *c)
{
    struct pv_err err;

    pv_err_set(&err, PV_E_TIMEOUT, "%s: %s did not come within %.3g s", c->method, c->wanted,
               (double)c->timeout / PV_NSEC_PER_SEC);
    pv_lua_add_lines(c->s->r.spool, c->s->name, &err);
    return pv_lua_raise_err(L, &err);
}

/* The stream has ended without the text. */
static LJMP int raise_end(lua_State *L, const struct stream_call *c)
{
    struct pv_err err, why = PV_ERR_INIT;

    c->s->src->why(c->s, &why);
    pv_err_set(&err, why.cls == PV_E_NONE ? PV_E_GUEST : why.cls, "%s: %s ended before %s came%s%s",
               c->method, c->s->name, c->wanted, why.text[0] ? ": " : "", why.text);
    err.died = why.died;
    err.vm = why.vm;
    pv_lua_add_lines(c->s->r.spool, c->s->name, &err);
    return pv_lua_raise_err(L, &err);
}

/* ---- pushing bytes ---- */

/* Pushes the unread bytes up to `upto`, with a mark for lost ones, and moves behind them. */
static LJMP void push_upto(lua_State *L, struct lua_stream *s, uint64_t upto)
{
    char mark[PV_SPOOL_MARK_MAX];
    struct pv_reader r = s->r; /* moves when nothing can be raised any more */
    size_t n_mark = pv_reader_skip_lost(&r, mark), n = (size_t)(upto - r.pos);
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, n_mark + n + 1);

    memcpy(to, mark, n_mark);
    pv_spool_copy(r.spool, r.pos, to + n_mark, n);
    luaL_pushresultsize(&b, n_mark + n);
    s->r.pos = upto;
    if (s->forget)
        pv_spool_forget(r.spool, upto);
}

void pv_lua_push_spool(lua_State *L, struct pv_spool *spool)
{
    struct lua_stream all = {.r = {.spool = spool}};

    push_upto(L, &all, pv_spool_end(spool));
}

/* ---- searches ---- */

enum { SEARCH_AGAIN = 0 };

/*
 * Waits until `search` finds something: it returns the number of values that it pushed, or SEARCH_AGAIN and
 * sets c->seen.  At the stream's end: 0.
 */
static LJMP int call_search(lua_State *L, struct stream_call *c,
                            int (*search)(lua_State *L, struct stream_call *c))
{
    enum wake w = WAKE_BYTES;
    int n = search(L, c);

    while (n == SEARCH_AGAIN && w == WAKE_BYTES) {
        call_step(L, c);
        w = call_wait(L, c, PV_FOREVER);
        if (w == WAKE_BYTES)
            n = search(L, c);
    }
    call_leave(L, c, w == WAKE_BYTES);
    return w == WAKE_TIMEOUT ? raise_timeout(L, c) : n;
}

/* Any bytes. */
static int search_bytes(lua_State *L, struct stream_call *c)
{
    uint64_t left = pv_reader_left(&c->s->r);
    uint64_t from = pv_spool_end(c->s->r.spool) - left;

    if (!left) {
        c->seen = from;
        return SEARCH_AGAIN;
    }
    push_upto(L, c->s, from + (left < READ_MAX ? left : READ_MAX));
    return 1;
}

/* The text at stack index 2: pushes it and all in front of it. */
static int search_text(lua_State *L, struct stream_call *c)
{
    struct lua_stream *s = c->s;
    size_t n;
    const char *text = lua_tolstring(L, 2, &n);
    uint64_t from = c->seen > s->r.pos + (n - 1) ? c->seen - (n - 1) : s->r.pos;
    uint64_t upto = pv_spool_find(s->r.spool, from, text, n);

    if (!upto) {
        c->seen = pv_spool_end(s->r.spool);
        return SEARCH_AGAIN;
    }
    push_upto(L, s, upto);
    return 1;
}

/* Matches the pattern at stack index 2 against the window: pushes the match and its captures. */
static int search_pattern(lua_State *L, struct stream_call *c)
{
    struct lua_stream *s = c->s;
    uint64_t end = pv_spool_end(s->r.spool), left = pv_reader_left(&s->r);
    size_t n = left < PATTERN_WINDOW ? (size_t)left : PATTERN_WINDOW;
    int top = lua_gettop(L);
    lua_Integer first, last;
    luaL_Buffer b;

    pv_spool_copy(s->r.spool, end - n, luaL_buffinitsize(L, &b, n), n);
    luaL_pushresultsize(&b, n);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &find_key);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, 2);
    lua_call(L, 2, LUA_MULTRET);
    if (lua_isnil(L, top + 2)) {
        lua_settop(L, top);
        c->seen = end;
        return SEARCH_AGAIN;
    }
    first = lua_tointeger(L, top + 2);
    last = lua_tointeger(L, top + 3);
    lua_pushlstring(L, lua_tostring(L, top + 1) + first - 1, (size_t)(last - first + 1));
    lua_replace(L, top + 3);
    s->r.pos = end - n + (uint64_t)last;
    return lua_gettop(L) - (top + 2);
}

/* The same at a bounded rate, while bytes flood in. */
static int search_pattern_paced(lua_State *L, struct stream_call *c)
{
    uint64_t before = c->seen, left = pv_reader_left(&c->s->r);
    uint64_t step = (left < PATTERN_WINDOW ? left : PATTERN_WINDOW) / 16;
    int64_t until = pv_deadline(PATTERN_PAUSE);

    while (before > c->s->r.pos && pv_spool_end(c->s->r.spool) - before < step) {
        c->seen = pv_spool_end(c->s->r.spool);
        if (call_wait(L, c, until) != WAKE_BYTES)
            break;
    }
    return search_pattern(L, c);
}

/* ---- methods ---- */

/* s:read(timeout?) */
static int stream_read(lua_State *L)
{
    struct lua_stream *s = pv_lua_check_stream(L, "read");
    struct stream_call c =
        call_begin(s, "read", "more bytes", pv_lua_check_time(L, 2, "read", DEFAULT_TIMEOUT));

    if (!call_search(L, &c, search_bytes))
        lua_pushnil(L);
    return 1;
}

/* s:read_line(timeout?) */
static int stream_read_line(lua_State *L)
{
    struct lua_stream *s = pv_lua_check_stream(L, "read_line");
    struct stream_call c =
        call_begin(s, "read_line", "a line", pv_lua_check_time(L, 2, "read_line", DEFAULT_TIMEOUT));
    size_t n;

    lua_settop(L, 1);
    lua_pushliteral(L, "\n");
    if (call_search(L, &c, search_text)) {
        lua_tolstring(L, -1, &n);
        lua_pushlstring(L, lua_tostring(L, -1), n - 1);
        return 1;
    }
    if (!search_bytes(L, &c)) /* a last line without a newline */
        lua_pushnil(L);
    return 1;
}

/* The text or pattern at 2. */
static LJMP const char *check_text(lua_State *L, const char *method, size_t *n)
{
    const char *text;

    if (lua_type(L, 2) != LUA_TSTRING)
        pv_lua_raise(L, "%s needs a text, got %s", method,
                     lua_isnone(L, 2) ? "nothing" : pv_lua_describe(L, 2));
    text = lua_tolstring(L, 2, n);
    if (!*n)
        pv_lua_raise(L, "the text of %s is empty", method);
    return text;
}

/* s:read_until(text, timeout?) */
static int stream_read_until(lua_State *L)
{
    struct lua_stream *s = pv_lua_check_stream(L, "read_until");
    size_t n;
    const char *text = check_text(L, "read_until", &n);
    struct stream_call c =
        call_begin(s, "read_until", "", pv_lua_check_time(L, 3, "read_until", DEFAULT_TIMEOUT));

    call_set_wanted(&c, text, n);
    return call_search(L, &c, search_text) ? 1 : raise_end(L, &c);
}

/* The arguments of expect behind the text, in any order: a time, options. */
static LJMP void check_expect(lua_State *L, int64_t *timeout, bool *pattern)
{
    static const struct lua_opt opts[] = {{"pattern", OPT_BOOLEAN}, {"timeout", OPT_TIME}, {NULL, 0}};

    for (int idx = 3; idx <= 4; idx++) {
        if (!lua_istable(L, idx)) {
            *timeout = pv_lua_check_time(L, idx, "expect", *timeout);
            continue;
        }
        pv_lua_check_opts(L, idx, "expect", opts);
        *timeout = pv_lua_opt_time(L, idx, "expect", "timeout", *timeout);
        *pattern = pv_lua_opt_bool(L, idx, "pattern", *pattern);
    }
}

/* s:expect(text, timeout?, {pattern=, timeout=}?) */
static int stream_expect(lua_State *L)
{
    struct lua_stream *s = pv_lua_check_stream(L, "expect");
    int64_t timeout = DEFAULT_TIMEOUT;
    bool pattern = false;
    size_t n;
    const char *text = check_text(L, "expect", &n);
    struct stream_call c;
    int results;

    check_expect(L, &timeout, &pattern);
    c = call_begin(s, "expect", "", timeout);
    call_set_wanted(&c, text, n);
    lua_settop(L, 2);
    luaL_checkstack(L, LUA_MINSTACK + 40, NULL); /* a pattern has up to 32 captures */
    results = call_search(L, &c, pattern ? search_pattern_paced : search_text);
    if (!results)
        return raise_end(L, &c);
    if (!pattern)
        lua_pushvalue(L, 2);
    return results;
}

/* Waits until nothing has come for `quiet`; false: bytes still came at the deadline. */
static LJMP bool drain_wait(lua_State *L, struct stream_call *c, int64_t quiet)
{
    for (;;) {
        int64_t until = pv_deadline(quiet);
        enum wake w;

        c->seen = pv_spool_end(c->s->r.spool);
        w = call_wait(L, c, until);
        if (w != WAKE_BYTES)
            return w == WAKE_END || pv_now() >= until;
        if (c->late)
            return false;
    }
}

/* s:drain(quiet?, {timeout=}?) */
static int stream_drain(lua_State *L)
{
    struct lua_stream *s = pv_lua_check_stream(L, "drain");
    static const struct lua_opt opts[] = {{"quiet", OPT_TIME}, {"timeout", OPT_TIME}, {NULL, 0}};
    int64_t quiet = 0, timeout = DEFAULT_TIMEOUT;
    int idx = lua_istable(L, 2) ? 2 : 3;
    struct stream_call c;
    bool calm = true;

    if (idx == 3)
        quiet = pv_lua_check_time(L, 2, "drain", 0);
    if (pv_lua_check_opts(L, idx, "drain", opts)) {
        quiet = pv_lua_opt_time(L, idx, "drain", "quiet", quiet);
        timeout = pv_lua_opt_time(L, idx, "drain", "timeout", quiet > timeout / 2 ? quiet * 2 : timeout);
    } else if (quiet > timeout / 2) {
        timeout = quiet * 2;
    }
    c = call_begin(s, "drain", "silence", timeout);
    c.seen = UINT64_MAX - 1; /* one round of the loop, whatever comes */
    if (s->src->is_open(s))
        call_wait(L, &c, pv_now());
    c.late = false;
    if (quiet) {
        call_step(L, &c);
        calm = drain_wait(L, &c, quiet);
        call_leave(L, &c, calm);
    }
    if (!calm)
        return raise_timeout(L, &c);
    push_upto(L, s, pv_spool_end(s->r.spool));
    return 1;
}

/* s:eof() */
static int stream_eof(lua_State *L)
{
    struct lua_stream *s = pv_lua_check_stream(L, "eof");
    struct stream_call c = call_begin(s, "eof", "", 1);

    c.seen = UINT64_MAX - 1;
    if (s->src->is_open(s))
        call_wait(L, &c, pv_now());
    lua_pushboolean(L, !pv_reader_left(&s->r) && !s->src->is_open(s));
    return 1;
}

/* s:close() */
static int stream_close_method(lua_State *L)
{
    if (!stream_at(L, 1))
        pv_lua_check_stream(L, "close"); /* raises */
    return pv_lua_stream_close(L);
}

const luaL_Reg pv_lua_stream_methods[] = {{"read", stream_read},
                                          {"read_line", stream_read_line},
                                          {"read_until", stream_read_until},
                                          {"expect", stream_expect},
                                          {"drain", stream_drain},
                                          {"eof", stream_eof},
                                          {"close", stream_close_method},
                                          {NULL, NULL}};

void pv_lua_open_stream(lua_State *L)
{
    static const struct lua_type type = {.id = LUA_STREAM_TYPE,
                                         .kind = "stream",
                                         .own = pv_lua_stream_methods,
                                         .tostring = pv_lua_stream_tostring,
                                         .close = pv_lua_stream_close,
                                         .gc = pv_lua_stream_close};

    pv_lua_open_type(L, &type);
    lua_getglobal(L, LUA_STRLIBNAME);
    lua_getfield(L, -1, "find");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &find_key);
    lua_pop(L, 1);
}
