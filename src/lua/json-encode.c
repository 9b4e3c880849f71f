/* SPDX-License-Identifier: MIT */
/*
 * provium.json: encode, decode and array.  A table is an array when all its keys are 1 to n and there is at least
 * one, or when it has the metatable that json.array and the decoder give; else it is an object, with its keys
 * sorted, so that equal tables give equal texts.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/json.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "util/mem.h"

enum { DEPTH_MAX = 1000, PATH_TEXT_MAX = 200 };

static const char array_key; /* its address: registry key of the metatable of arrays */

/* ---- the text ---- */

struct encoding {
    struct pv_buf text;
    const void *above[DEPTH_MAX]; /* the tables that hold the value */
    int depth;
    struct pv_buf path; /* of the value, for messages: ".list[3].name" */
};

static void encoding_fini(void *p)
{
    struct encoding *e = p;

    pv_buf_free(&e->text);
    pv_buf_free(&e->path);
}

/* Raises "provium.json.encode: WHY", with the place of the value in it. */
static LJMP int encode_fail(lua_State *L, struct encoding *e, const char *why)
{
    const char *path = e->path.len ? e->path.data : "";

    if (!*path)
        return pv_lua_raise(L, "provium.json.encode: the value %s", why);
    return pv_lua_raise(L, "provium.json.encode: the value at %s%s %s",
                        lua_pushlstring(L, path, strnlen(path, PATH_TEXT_MAX)),
                        e->path.len > PATH_TEXT_MAX ? "..." : "", why);
}

/* Bytes of the UTF-8 sequence at s; 0: it is none. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

    if (!len || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

/* False when it is no UTF-8, as JSON needs it. */
static bool encode_string(struct pv_buf *b, const char *s, size_t n)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";

    pv_buf_addc(b, '"');
    for (size_t i = 0, len; i < n; i += len) {
        const char *short_form = s[i] ? strchr(plain, s[i]) : NULL;

        len = utf8_length((const unsigned char *)s + i, n - i);
        if (!len)
            return false;
        if (short_form)
            pv_buf_addf(b, "\\%c", letters[short_form - plain]);
        else if ((unsigned char)s[i] < 0x20)
            pv_buf_addf(b, "\\u%04x", (unsigned)s[i]);
        else
            pv_buf_add(b, s + i, len);
    }
    pv_buf_addc(b, '"');
    return true;
}

/* The shortest text that gives the same float again, with a '.' or an exponent, so that it stays a float. */
static void encode_float(struct pv_buf *b, double v)
{
    char text[40];

    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    pv_buf_adds(b, text);
    if (!strpbrk(text, ".eE"))
        pv_buf_adds(b, ".0");
}

static LJMP void encode_number(lua_State *L, struct encoding *e, int idx)
{
    if (lua_isinteger(L, idx))
        pv_buf_addf(&e->text, "%lld", (long long)lua_tointeger(L, idx));
    else if (isfinite(lua_tonumber(L, idx)))
        encode_float(&e->text, lua_tonumber(L, idx));
    else
        encode_fail(L, e,
                    isnan(lua_tonumber(L, idx)) ? "is NaN, which JSON has not"
                                                : "is infinite, which JSON has not");
}

/* ---- tables ---- */

static LJMP void encode_value(lua_State *L, struct encoding *e, int idx);

static bool is_marked_array(lua_State *L, int idx)
{
    bool is;

    if (!lua_getmetatable(L, idx))
        return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is;
}

static LJMP void encode_array(lua_State *L, struct encoding *e, int idx, lua_Integer n)
{
    size_t path = e->path.len;

    pv_buf_addc(&e->text, '[');
    for (lua_Integer i = 1; i <= n; i++) {
        if (i > 1)
            pv_buf_addc(&e->text, ',');
        pv_buf_addf(&e->path, "[%lld]", (long long)i);
        lua_rawgeti(L, idx, i);
        encode_value(L, e, lua_gettop(L));
        lua_pop(L, 1);
        e->path.len = path;
        e->path.data[path] = '\0';
    }
    pv_buf_addc(&e->text, ']');
}

static int key_cmp(lua_State *L, int list, lua_Integer a, lua_Integer b)
{
    size_t an, bn;
    const char *as, *bs;
    int c;

    lua_rawgeti(L, list, a);
    lua_rawgeti(L, list, b);
    as = lua_tolstring(L, -2, &an);
    bs = lua_tolstring(L, -1, &bn);
    c = memcmp(as, bs, an < bn ? an : bn);
    lua_pop(L, 2); /* the list holds the strings */
    return c ? c : (an > bn) - (an < bn);
}

static void key_swap(lua_State *L, int list, lua_Integer a, lua_Integer b)
{
    lua_rawgeti(L, list, a);
    lua_rawgeti(L, list, b);
    lua_rawseti(L, list, a);
    lua_rawseti(L, list, b);
}

/* Moves element i of a heap of n down to its place. */
static void key_sift(lua_State *L, int list, lua_Integer i, lua_Integer n)
{
    for (lua_Integer child; (child = 2 * i) <= n; i = child) {
        if (child < n && key_cmp(L, list, child, child + 1) < 0)
            child++;
        if (key_cmp(L, list, i, child) >= 0)
            return;
        key_swap(L, list, i, child);
    }
}

/* Sorts the list of n strings in place, without calling functions that a script may have replaced. */
static void sort_keys(lua_State *L, int list, lua_Integer n)
{
    for (lua_Integer i = n / 2; i >= 1; i--)
        key_sift(L, list, i, n);
    for (lua_Integer i = n; i > 1; i--) {
        key_swap(L, list, 1, i);
        key_sift(L, list, 1, i - 1);
    }
}

/* Pushes a list of the table's keys and returns their number. */
static LJMP lua_Integer push_keys(lua_State *L, struct encoding *e, int idx)
{
    lua_Integer n = 0;

    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            encode_fail(L, e,
                        lua_pushfstring(L,
                                        "is a table with %s as a key; an object has strings, an array 1 to n",
                                        pv_lua_describe(L, -1)));
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, ++n);
    }
    return n;
}

static LJMP void encode_object(lua_State *L, struct encoding *e, int idx)
{
    lua_Integer n = push_keys(L, e, idx);
    int list = lua_gettop(L);
    size_t path = e->path.len;

    sort_keys(L, list, n);
    pv_buf_addc(&e->text, '{');
    for (lua_Integer i = 1; i <= n; i++) {
        const char *key;
        size_t len;

        lua_rawgeti(L, list, i);
        key = lua_tolstring(L, -1, &len);
        if (i > 1)
            pv_buf_addc(&e->text, ',');
        if (!encode_string(&e->text, key, len))
            encode_fail(L, e, "has a key that is no UTF-8");
        pv_buf_addc(&e->text, ':');
        pv_buf_addf(&e->path, ".%s", key);
        lua_pushvalue(L, -1);
        lua_rawget(L, idx);
        encode_value(L, e, lua_gettop(L));
        lua_pop(L, 2);
        e->path.len = path;
        e->path.data[path] = '\0';
    }
    pv_buf_addc(&e->text, '}');
    lua_pop(L, 1);
}

static LJMP void encode_table(lua_State *L, struct encoding *e, int idx)
{
    const void *self = lua_topointer(L, idx);
    lua_Integer n = pv_lua_list_len(L, idx);
    bool marked = is_marked_array(L, idx);

    luaL_checkstack(L, 16, "a value for JSON is nested too deep");
    for (int i = 0; i < e->depth; i++)
        if (e->above[i] == self)
            encode_fail(L, e, "is a table that holds itself");
    if (e->depth == DEPTH_MAX)
        encode_fail(L, e, "is nested deeper than 1000 tables");
    if (marked && n < 0)
        encode_fail(L, e, "is marked as an array, but has other keys than 1 to n");
    e->above[e->depth++] = self;
    if (marked || n > 0)
        encode_array(L, e, idx, n);
    else
        encode_object(L, e, idx);
    e->depth--;
}

/* The value at idx, an absolute index. */
static LJMP void encode_value(lua_State *L, struct encoding *e, int idx)
{
    size_t n;
    const char *s;

    switch (lua_type(L, idx)) {
    case LUA_TBOOLEAN:
        pv_buf_adds(&e->text, lua_toboolean(L, idx) ? "true" : "false");
        return;
    case LUA_TNUMBER:
        encode_number(L, e, idx);
        return;
    case LUA_TSTRING:
        s = lua_tolstring(L, idx, &n);
        if (!encode_string(&e->text, s, n))
            encode_fail(L, e, "is a string that is no UTF-8");
        return;
    case LUA_TTABLE:
        encode_table(L, e, idx);
        return;
    default:
        break;
    }
    if (pv_lua_is_null(L, idx))
        pv_buf_adds(&e->text, "null");
    else
        encode_fail(L, e,
                    lua_pushfstring(L, "is %s, which JSON has not%s", luaL_typename(L, idx),
                                    lua_isnil(L, idx) ? " (provium.null is JSON's null)" : ""));
}

/* ---- functions ---- */

/* provium.json.encode(value) */
static int json_encode(lua_State *L)
{
    struct encoding *e;

    if (lua_gettop(L) != 1)
        pv_lua_raise(L, "provium.json.encode takes one value, got %d", lua_gettop(L));
    e = pv_lua_tmp(L, sizeof(*e), encoding_fini);
    encode_value(L, e, 1);
    lua_pushlstring(L, e->text.data, e->text.len);
    encoding_fini(e); /* now: it may be large, and the collector late */
    return 1;
}

/* provium.json.decode(text) */
static int json_decode(lua_State *L)
{
    size_t n;
    const char *s;

    if (lua_type(L, 1) != LUA_TSTRING || lua_gettop(L) != 1)
        pv_lua_raise(L, "provium.json.decode takes one string, got %s", pv_lua_describe(L, 1));
    s = lua_tolstring(L, 1, &n);
    if (!pv_lua_push_json(L, s, n))
        pv_lua_raise(L, "provium.json.decode: %s", lua_tostring(L, -1));
    return 1;
}

void pv_lua_mark_array(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
    lua_setmetatable(L, -2);
}

/* provium.json.array(table): the table itself, which the encoder then takes for an array. */
static int json_array(lua_State *L)
{
    if (!lua_istable(L, 1) || lua_gettop(L) != 1)
        pv_lua_raise(L, "provium.json.array takes one table, got %s", pv_lua_describe(L, 1));
    if (pv_lua_list_len(L, 1) < 0)
        pv_lua_raise(L, "provium.json.array: the table has other keys than 1 to n");
    if (lua_getmetatable(L, 1) && !is_marked_array(L, 1))
        pv_lua_raise(L, "provium.json.array: the table has a metatable already");
    lua_settop(L, 1);
    pv_lua_mark_array(L);
    return 1;
}

void pv_lua_push_json_table(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"encode", json_encode}, {"decode", json_decode}, {"array", json_array}, {NULL, NULL}};

    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
    luaL_newlib(L, functions);
}
