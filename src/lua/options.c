/* SPDX-License-Identifier: MIT */
#include "lua/options.h"

#include <stdlib.h>
#include <string.h>

#include "lua/raise.h"
#include "testfile/hostpath.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/parse.h"

static const char *const type_names[] = {
    [OPT_STRING] = "a string",
    [OPT_INTEGER] = "an integer",
    [OPT_BOOLEAN] = "true or false",
    [OPT_TABLE] = "a table",
    [OPT_TIME] = "seconds or a string such as \"5s\"",
    [OPT_USER] = "a user's name or number",
    [OPT_STDIN] = "true or a string",
    [OPT_ANY] = "any value",
    [OPT_MODE] = "permission bits, best as a string such as \"0644\"",
    [OPT_SIZE] = "a size such as \"64M\", or a number of bytes",
};

const char *pv_lua_describe(lua_State *L, int idx)
{
    idx = lua_absindex(L, idx);
    switch (lua_type(L, idx)) {
    case LUA_TSTRING: {
        size_t n;
        const char *s = lua_tolstring(L, idx, &n);

        return lua_pushfstring(L, n > 40 ? "string \"%s...\"" : "string \"%s\"",
                               n > 40 ? lua_pushlstring(L, s, 40) : s);
    }
    case LUA_TNUMBER:
    case LUA_TBOOLEAN:
        return lua_pushfstring(L, "%s %s", luaL_typename(L, idx), luaL_tolstring(L, idx, NULL));
    default:
        return lua_pushstring(L, luaL_typename(L, idx));
    }
}

/* Whether the string at idx is this word: C stops at a NUL byte, a Lua string goes on behind it. */
static bool text_is(lua_State *L, int idx, const char *word)
{
    size_t n;
    const char *s = lua_tolstring(L, idx, &n);

    return n == strlen(word) && memcmp(s, word, n) == 0;
}

static bool opt_type_fits(lua_State *L, int idx, enum opt_type type)
{
    int t = lua_type(L, idx), is_int;

    switch (type) {
    case OPT_STRING:
        return t == LUA_TSTRING;
    case OPT_INTEGER:
        if (t != LUA_TNUMBER)
            return false;
        lua_tointegerx(L, idx, &is_int);
        return is_int;
    case OPT_BOOLEAN:
        return t == LUA_TBOOLEAN;
    case OPT_USER:
        return t == LUA_TSTRING || (lua_isinteger(L, idx) && lua_tointeger(L, idx) >= 0);
    case OPT_STDIN:
        return t == LUA_TSTRING || t == LUA_TBOOLEAN;
    case OPT_ANY:
        return true;
    case OPT_TABLE:
        return t == LUA_TTABLE;
    case OPT_TIME:
    case OPT_MODE:
    case OPT_SIZE:
        return t == LUA_TNUMBER || t == LUA_TSTRING;
    }
    return false;
}

/* The key at idx is no option. */
static LJMP void raise_unknown_option(lua_State *L, int idx, const char *what, const struct lua_opt *opts)
{
    const char *names[32], *near = NULL, *name;
    size_t n = 0;
    luaL_Buffer b;

    for (; n < PV_ARRAY_LEN(names) - 1 && opts[n].name; n++)
        names[n] = opts[n].name;
    names[n] = NULL;
    if (lua_type(L, idx) != LUA_TSTRING) {
        pv_lua_raise(L, "%s options are a table of names and values; it has a %s as a key", what,
                     luaL_typename(L, idx));
        return;
    }
    name = lua_tostring(L, idx);
    if (!text_is(L, idx, name))
        pv_lua_raise(L, "unknown %s option: its name holds a NUL byte behind '%s'", what, name);
    near = pv_nearest(name, names);
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < n; i++) {
        if (i)
            luaL_addstring(&b, ", ");
        luaL_addstring(&b, names[i]);
    }
    luaL_pushresult(&b);
    if (near)
        pv_lua_raise(L, "unknown %s option '%s' (did you mean '%s'?); known: %s", what, name, near,
                     lua_tostring(L, -1));
    pv_lua_raise(L, "unknown %s option '%s'; known: %s", what, name, lua_tostring(L, -1));
}

bool pv_lua_check_opts(lua_State *L, int idx, const char *what, const struct lua_opt *opts)
{
    idx = lua_absindex(L, idx);
    if (lua_isnoneornil(L, idx))
        return false;
    if (!lua_istable(L, idx))
        pv_lua_raise(L, "%s options must be a table, got %s", what, pv_lua_describe(L, idx));
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const struct lua_opt *o = opts;
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;

        while (o->name && (!name || !text_is(L, -2, o->name)))
            o++;
        if (!o->name)
            raise_unknown_option(L, -2, what, opts);
        if (!opt_type_fits(L, -1, o->type))
            pv_lua_raise(L, "%s option '%s' must be %s, got %s", what, name, type_names[o->type],
                         pv_lua_describe(L, -1));
        lua_pop(L, 1);
    }
    return true;
}

int64_t pv_lua_check_timeout(lua_State *L, int idx, const char *what, int64_t dflt)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};

    return pv_lua_check_opts(L, idx, what, opts) ? pv_lua_opt_time(L, idx, what, "timeout", dflt) : dflt;
}

int pv_lua_time_text(lua_State *L, int idx, int64_t *ns, struct pv_err *err)
{
    const char *s = lua_tostring(L, idx);

    if (!text_is(L, idx, s))
        return pv_err_set(err, PV_E_USAGE, "the time holds a NUL byte behind '%.64s'", s);
    return pv_parse_time(s, ns, err);
}

int64_t pv_lua_check_time(lua_State *L, int idx, const char *what, int64_t dflt)
{
    struct pv_err err;
    int64_t ns = 0;
    int rc = 0;

    switch (lua_type(L, idx)) {
    case LUA_TNUMBER:
        rc = pv_seconds_to_ns(lua_tonumber(L, idx), &ns, &err);
        break;
    case LUA_TSTRING:
        rc = pv_lua_time_text(L, idx, &ns, &err);
        break;
    case LUA_TNONE:
    case LUA_TNIL:
    case LUA_TTABLE:
        return pv_lua_check_timeout(L, idx, what, dflt);
    default:
        pv_lua_raise(L, "the timeout of %s must be %s, got %s", what, type_names[OPT_TIME],
                     pv_lua_describe(L, idx));
    }
    if (rc < 0)
        pv_lua_raise(L, "the timeout of %s: %s", what, err.text);
    return ns ? ns : 1;
}

int64_t pv_lua_opt_time(lua_State *L, int idx, const char *what, const char *name, int64_t dflt)
{
    struct pv_err err;
    int64_t ns = dflt;
    int rc = 0;

    if (pv_lua_rawfield(L, idx, name) == LUA_TNUMBER)
        rc = pv_seconds_to_ns(lua_tonumber(L, -1), &ns, &err);
    else if (lua_type(L, -1) == LUA_TSTRING)
        rc = pv_lua_time_text(L, -1, &ns, &err);
    if (rc < 0)
        pv_lua_raise(L, "%s option '%s': %s", what, name, err.text);
    if (ns == 0 && !lua_isnil(L, -1))
        ns = 1; /* 0 would be "no timeout" to the callee; in a script it is "at once" */
    lua_pop(L, 1);
    return ns;
}

bool pv_lua_opt_bool(lua_State *L, int idx, const char *name, bool dflt)
{
    bool v = pv_lua_rawfield(L, idx, name) == LUA_TNIL ? dflt : lua_toboolean(L, -1);

    lua_pop(L, 1);
    return v;
}

/* Raises: the value is none of the choices. */
static LJMP int choice_raise(lua_State *L, const char *what, const char *name, const char *value,
                             const char *const *choices)
{
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    for (size_t i = 0; choices[i]; i++) {
        if (i)
            luaL_addstring(&b, choices[i + 1] ? ", " : " or ");
        luaL_addchar(&b, '"');
        luaL_addstring(&b, choices[i]);
        luaL_addchar(&b, '"');
    }
    luaL_pushresult(&b);
    return pv_lua_raise(L, "%s option '%s' is '%s'; expected %s", what, name, value, lua_tostring(L, -1));
}

int pv_lua_opt_choice(lua_State *L, int idx, const char *what, const char *name, const char *const *choices,
                      int dflt)
{
    if (pv_lua_rawfield(L, idx, name) == LUA_TSTRING) {
        const char *value = lua_tostring(L, -1);

        for (dflt = 0; choices[dflt] && !text_is(L, -1, choices[dflt]); dflt++)
            ;
        if (!choices[dflt])
            choice_raise(L, what, name, value, choices);
    }
    lua_pop(L, 1);
    return dflt;
}

uint64_t pv_lua_opt_size(lua_State *L, int idx, const char *what, const char *name, uint64_t dflt)
{
    uint64_t size = dflt;
    struct pv_err err;

    switch (pv_lua_rawfield(L, idx, name)) {
    case LUA_TNUMBER:
        if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1)
            pv_lua_raise(L, "%s option '%s' must be %s, got %s", what, name, type_names[OPT_SIZE],
                         pv_lua_describe(L, -1));
        size = (uint64_t)lua_tointeger(L, -1);
        break;
    case LUA_TSTRING:
        lua_pushfstring(L, "%s option '%s'", what, name);
        if (pv_parse_size(pv_lua_check_cstring(L, -2, lua_tostring(L, -1)), &size, &err) < 0)
            pv_lua_raise(L, "%s option '%s': %s", what, name, err.text);
        lua_pop(L, 1);
        break;
    default:
        break;
    }
    lua_pop(L, 1);
    return size;
}

lua_Integer pv_lua_opt_integer(lua_State *L, int idx, const char *what, const char *name, lua_Integer min,
                               lua_Integer max, lua_Integer dflt)
{
    lua_Integer v = dflt;

    if (pv_lua_rawfield(L, idx, name) != LUA_TNIL) {
        v = lua_tointeger(L, -1);
        if (v < min || v > max)
            pv_lua_raise(L, "%s option '%s' must be from %I to %I, got %I", what, name, (LUAI_UACINT)min,
                         (LUAI_UACINT)max, (LUAI_UACINT)v);
    }
    lua_pop(L, 1);
    return v;
}

uint32_t pv_lua_check_mode(lua_State *L, int idx, const char *arg)
{
    /* usual modes whose octal digits were written as a decimal number */
    static const int slips[] = {400, 444, 500, 555, 600, 640, 644, 660,
                                664, 666, 700, 750, 755, 770, 775, 777};
    lua_Integer mode = -1;

    if (lua_type(L, idx) == LUA_TNUMBER) {
        int is_int;

        mode = lua_tointegerx(L, idx, &is_int);
        if (!is_int)
            mode = -1;
        for (size_t i = 0; i < PV_ARRAY_LEN(slips); i++)
            if (mode == slips[i])
                pv_lua_raise(L, "%s: %d is a decimal number here; write \"0%d\" (octal, as a string)", arg,
                             slips[i], slips[i]);
    } else if (lua_type(L, idx) == LUA_TSTRING) {
        size_t n;
        const char *s = lua_tolstring(L, idx, &n);

        if (n > 0 && n <= 5 && strspn(s, "01234567") == n)
            mode = (lua_Integer)strtoul(s, NULL, 8);
    }
    if (mode < 0 || mode > 07777)
        pv_lua_raise(L, "%s must be %s, got %s", arg, type_names[OPT_MODE],
                     lua_isnone(L, idx) ? "nothing" : pv_lua_describe(L, idx));
    return (uint32_t)mode;
}

uint32_t pv_lua_opt_mode(lua_State *L, int idx, const char *what, const char *name, uint32_t dflt)
{
    uint32_t mode = dflt;

    if (pv_lua_rawfield(L, idx, name) != LUA_TNIL) {
        const char *arg = lua_pushfstring(L, "%s option '%s'", what, name);

        mode = pv_lua_check_mode(L, -2, arg);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return mode;
}

const char *pv_lua_check_cstring(lua_State *L, int idx, const char *what)
{
    size_t n;
    const char *s;

    if (lua_type(L, idx) != LUA_TSTRING)
        pv_lua_raise(L, "%s must be a string, got %s", what, pv_lua_describe(L, idx));
    s = lua_tolstring(L, idx, &n);
    if (strlen(s) != n)
        pv_lua_raise(L, "%s holds a NUL byte", what);
    return s;
}

int pv_lua_rawfield(lua_State *L, int idx, const char *name)
{
    idx = lua_absindex(L, idx);
    lua_pushstring(L, name);
    return lua_rawget(L, idx);
}

void pv_lua_find_host(lua_State *L, const char *path, const char *what, char found[static PATH_MAX])
{
    struct pv_testfile *tf = pv_lua_tf(L);
    const struct pv_config *config = tf->env->config;

    if (!*path)
        pv_lua_raise(L, "%s: the path on the host is empty; expected a file or a directory", what);
    if (!pv_tf_find(tf, path, found)) {
        if (path[0] == '/')
            pv_lua_raise(L, "%s: '%s' does not exist on the host", what, path);
        pv_lua_raise(L,
                     "%s: '%s' does not exist on the host (looked in the working directory, the project root "
                     "%s and the test's directory %s)",
                     what, path, config && config->dir ? config->dir : "-", tf->dir);
    }
    pv_tf_reads_tree(tf, found);
}

lua_Integer pv_lua_list_len(lua_State *L, int idx)
{
    lua_Integer n, keys = 0;

    idx = lua_absindex(L, idx);
    n = (lua_Integer)lua_rawlen(L, idx);
    lua_pushnil(L);
    for (; lua_next(L, idx); keys++)
        lua_pop(L, 1);
    return keys == n ? n : -1;
}
