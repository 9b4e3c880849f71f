/* SPDX-License-Identifier: MIT */
/*
 * JSON to Lua values, by jansson.
 *
 * jansson's integers are int64_t, and it refuses larger ones.  A guest's u64 may be larger, so integers from
 * 2^63 to 2^64-1 are replaced in the text by the negative number with the same 64 bits, which is Lua's own
 * form (0xffffffffffffffff == -1), before jansson reads it.  The scan only tells strings from the rest: where
 * the text is no JSON, jansson stops too.
 */
#include <jansson.h>
#include <string.h>

#include "lua/json.h"
#include "lua/tmp.h"
#include "util/mem.h"

struct json_call {
    struct pv_buf text;  /* with replaced integers; empty: jansson reads the caller's */
    struct pv_buf moved; /* size_t[]: positions in it from which on it is one byte longer */
    json_t *root;
};

static const char null_key; /* its address: registry key of provium.null */

static void json_fini(void *p)
{
    struct json_call *c = p;

    json_decref(c->root);
    pv_buf_free(&c->text);
    pv_buf_free(&c->moved);
    c->root = NULL;
}

/* ---- integers above 2^63-1 ---- */

/* True for 2^63 to 2^64-1 in plain digits. */
static bool number_is_large(const char *s, size_t n, uint64_t *v)
{
    *v = 0;
    if (n < 19 || n > 20 || s[0] == '0')
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(s[i] - '0');

        if (digit > 9 || *v > (UINT64_MAX - digit) / 10)
            return false;
        *v = *v * 10 + digit;
    }
    return *v > INT64_MAX;
}

/* From the byte behind a quote to the one behind the closing quote. */
static size_t skip_string(const char *s, size_t n, size_t i)
{
    for (; i < n && s[i] != '"'; i++)
        if (s[i] == '\\')
            i++;
    return i < n ? i + 1 : n;
}

static size_t number_length(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n && s[i] && strchr("0123456789+-.eE", s[i]))
        i++;
    return i;
}

/*
 * Makes c->text, with large integers replaced; it stays empty when there are none.  A replacement has 20
 * bytes: behind one of 19 the text moves (c->moved).
 */
static void replace_large(const char *s, size_t n, struct json_call *c)
{
    size_t i = 0, copied = 0, digits;
    uint64_t v;

    while (i < n) {
        if (s[i] == '"') {
            i = skip_string(s, n, i + 1);
            continue;
        }
        digits = number_length(s + i, n - i);
        if (number_is_large(s + i, digits, &v)) {
            pv_buf_add(&c->text, s + copied, i - copied);
            pv_buf_addf(&c->text, "%20lld", (long long)v);
            copied = i + digits;
            if (digits == 19)
                pv_buf_add(&c->moved, &c->text.len, sizeof(c->text.len));
        }
        i += digits ? digits : 1;
    }
    if (copied)
        pv_buf_add(&c->text, s + copied, n - copied);
}

/* Position in the caller's text of position `at` in the text that jansson read. */
static size_t original_position(const struct json_call *c, size_t at)
{
    size_t n = c->moved.len / sizeof(size_t), from, moved = 0;

    for (size_t i = 0; i < n; i++) {
        memcpy(&from, c->moved.data + i * sizeof(from), sizeof(from));
        moved += from <= at;
    }
    return at - moved;
}

/* ---- values ---- */

void pv_lua_push_null(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key);
}

bool pv_lua_is_null(lua_State *L, int idx)
{
    bool is;

    idx = lua_absindex(L, idx);
    pv_lua_push_null(L);
    is = lua_rawequal(L, idx, -1);
    lua_pop(L, 1);
    return is;
}

static LJMP void push_json_value(lua_State *L, json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;

    luaL_checkstack(L, 4, "JSON is nested too deep"); /* jansson has a limit of 2048 */
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        lua_createtable(L, 0, json_object_size(v) < 65536 ? (int)json_object_size(v) : 65536);
        json_object_foreach(v, key, item)
        {
            push_json_value(L, item);
            lua_setfield(L, -2, key);
        }
        return;
    case JSON_ARRAY:
        lua_createtable(L, json_array_size(v) < 65536 ? (int)json_array_size(v) : 65536, 0);
        json_array_foreach(v, i, item)
        {
            push_json_value(L, item);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        pv_lua_mark_array(L);
        return;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(v), json_string_length(v));
        return;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(v));
        return;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(v));
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(v));
        return;
    case JSON_NULL:
        pv_lua_push_null(L);
        return;
    }
}

/* Pushes the message: line and byte where jansson stopped, why, and the line. */
static LJMP void push_json_error(lua_State *L, const char *s, size_t n, size_t at, const char *why)
{
    size_t line = 1, start = 0, shown = 0;

    at = at < n ? at : n;
    for (size_t i = 0; i + 1 < at; i++) /* jansson has read the offending byte */
        if (s[i] == '\n') {
            line++;
            start = i + 1;
        }
    while (start + shown < n && shown < 120 && s[start + shown] != '\n')
        shown++;
    lua_pushfstring(L, "line %I, byte %I of it: %s; the line: %s", (LUAI_UACINT)line,
                    (LUAI_UACINT)(at > start ? at - start : 1), why, lua_pushlstring(L, s + start, shown));
}

bool pv_lua_push_json(lua_State *L, const char *s, size_t n)
{
    struct json_call *c = pv_lua_tmp(L, sizeof(*c), json_fini);
    int top = lua_gettop(L);
    json_error_t jerr;
    bool ok;

    replace_large(s, n, c);
    c->root = json_loadb(c->text.len ? c->text.data : s, c->text.len ? c->text.len : n,
                         JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &jerr);
    ok = c->root != NULL;
    if (ok)
        push_json_value(L, c->root);
    else
        push_json_error(L, s, n, original_position(c, jerr.position > 0 ? (size_t)jerr.position : 0),
                        jerr.text);
    json_fini(c); /* now: it may be large, and the collector late */
    lua_replace(L, top);
    lua_settop(L, top);
    return ok;
}

static int null_tostring(lua_State *L)
{
    lua_pushliteral(L, "null");
    return 1;
}

void pv_lua_open_json(lua_State *L)
{
    lua_newuserdatauv(L, 0, 0);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, null_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "null");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &null_key);
}
