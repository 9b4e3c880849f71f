/* SPDX-License-Identifier: MIT */
/*
 * provium.pack and provium.unpack: little-endian integers.  A u64 above 2^63-1 is the Lua integer with the
 * same 64 bits, in both directions.
 */
#include <string.h>

#include "lua/options.h"
#include "lua/provium.h"
#include "lua/raise.h"
#include "util/mem.h"

struct field_type {
    const char *name;
    unsigned bytes;
    bool is_signed;
};

static const struct field_type types[] = {{"u8", 1, false},  {"i8", 1, true},   {"u16", 2, false},
                                          {"i16", 2, true},  {"u32", 4, false}, {"i32", 4, true},
                                          {"u64", 8, false}, {"i64", 8, true}};

/* A walk over a format. */
struct fields {
    const char *s; /* the rest */
    int n;         /* number of the current field, from 1 */
};

/* The next field's type, or NULL at the end. */
static LJMP const struct field_type *next_field(lua_State *L, struct fields *f)
{
    static const char white[] = " \t\r\n";
    size_t n;

    f->s += strspn(f->s, white);
    n = strcspn(f->s, white);
    if (n == 0)
        return NULL;
    f->n++;
    for (size_t i = 0; i < PV_ARRAY_LEN(types); i++)
        if (strlen(types[i].name) == n && !memcmp(types[i].name, f->s, n)) {
            f->s += n;
            return &types[i];
        }
    pv_lua_raise(L, "field %d: '%s' is no type; expected u8, i8, u16, i16, u32, i32, u64 or i64", f->n,
                 lua_pushlstring(L, f->s, n > 40 ? 40 : n));
    return NULL;
}

static LJMP void raise_out_of_range(lua_State *L, const struct fields *f, const struct field_type *t, int idx)
{
    unsigned bits = 8 * t->bytes;
    const char *got = luaL_tolstring(L, idx, NULL);

    if (bits == 64 && !t->is_signed)
        pv_lua_raise(L, "field %d (u64): %s is out of range 0..18446744073709551615", f->n, got);
    if (t->is_signed)
        pv_lua_raise(L, "field %d (%s): %s is out of range %I..%I", f->n, t->name, got,
                     (LUAI_UACINT)(-1 - (INT64_MAX >> (64 - bits))), (LUAI_UACINT)(INT64_MAX >> (64 - bits)));
    pv_lua_raise(L, "field %d (%s): %s is out of range 0..%I", f->n, t->name, got,
                 (LUAI_UACINT)((UINT64_C(1) << bits) - 1));
}

/* The value at idx as the 64 bits to store. */
static LJMP uint64_t check_field(lua_State *L, const struct fields *f, const struct field_type *t, int idx)
{
    lua_Integer v;
    int is_int;

    if (lua_type(L, idx) != LUA_TNUMBER)
        pv_lua_raise(L, "field %d (%s): expected an integer, got %s", f->n, t->name, pv_lua_describe(L, idx));
    v = lua_tointegerx(L, idx, &is_int);
    if (!is_int) {
        lua_Number x = lua_tonumber(L, idx);

        if (x >= 0x1p63 && x < 0x1p64 && t->bytes == 8 && !t->is_signed)
            return (uint64_t)x; /* floats of this size are integers */
        /* cppcheck-suppress incorrectLogicOperator ; it cannot read hexadecimal floats */
        if (x >= 0x1p63 || x < -0x1p63)
            raise_out_of_range(L, f, t, idx);
        pv_lua_raise(L, "field %d (%s): %s is no integer", f->n, t->name, luaL_tolstring(L, idx, NULL));
    }
    if (t->bytes < 8) {
        lua_Integer top = (lua_Integer)(UINT64_MAX >> (64 - 8 * t->bytes) >> t->is_signed);

        if (v > top || v < (t->is_signed ? -1 - top : 0))
            raise_out_of_range(L, f, t, idx);
    } else if (!t->is_signed && lua_isinteger(L, idx) == 0 && v < 0) {
        raise_out_of_range(L, f, t, idx); /* unlike an integer, a negative float is no large value */
    }
    return (uint64_t)v;
}

/* provium.pack(format, value...) */
int pv_lua_pack(lua_State *L)
{
    struct fields f = {pv_lua_check_cstring(L, 1, "the format of provium.pack"), 0};
    int top = lua_gettop(L);
    const struct field_type *t;
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    while ((t = next_field(L, &f))) {
        uint64_t v;
        unsigned char bytes[8];

        if (f.n + 1 > top)
            pv_lua_raise(L, "field %d (%s): there is no value for it (%d given)", f.n, t->name, top - 1);
        v = check_field(L, &f, t, f.n + 1);
        for (unsigned i = 0; i < t->bytes; i++)
            bytes[i] = (unsigned char)(v >> (8 * i));
        luaL_addlstring(&b, (const char *)bytes, t->bytes);
    }
    if (top - 1 > f.n)
        pv_lua_raise(L, "the format of provium.pack has %d fields, but %d values were given", f.n, top - 1);
    luaL_pushresult(&b);
    return 1;
}

/* provium.unpack(format, data) */
int pv_lua_unpack(lua_State *L)
{
    struct fields f = {pv_lua_check_cstring(L, 1, "the format of provium.unpack"), 0};
    const struct field_type *t;
    const unsigned char *data;
    size_t len, at = 0;

    if (lua_type(L, 2) != LUA_TSTRING)
        pv_lua_raise(L, "the data of provium.unpack must be a string, got %s",
                     lua_isnone(L, 2) ? "nothing" : pv_lua_describe(L, 2));
    data = (const unsigned char *)lua_tolstring(L, 2, &len);
    while ((t = next_field(L, &f))) {
        uint64_t v = 0;

        if (len - at < t->bytes)
            pv_lua_raise(L, "field %d (%s) needs bytes %I to %I, but the data has %I", f.n, t->name,
                         (LUAI_UACINT)at + 1, (LUAI_UACINT)at + t->bytes, (LUAI_UACINT)len);
        for (unsigned i = 0; i < t->bytes; i++)
            v |= (uint64_t)data[at + i] << (8 * i);
        if (t->is_signed && t->bytes < 8 && v >> (8 * t->bytes - 1))
            v |= UINT64_MAX << (8 * t->bytes);
        at += t->bytes;
        luaL_checkstack(L, 1, "too many fields");
        lua_pushinteger(L, (lua_Integer)v);
    }
    return f.n;
}
