/* SPDX-License-Identifier: MIT */
/* Arguments and tables of options, checked strictly: nothing is silently ignored. */
#ifndef PV_LUA_OPTIONS_H
#define PV_LUA_OPTIONS_H

#include <limits.h>

#include "lua/state.h"

enum opt_type {
    OPT_STRING,
    OPT_INTEGER,
    OPT_BOOLEAN,
    OPT_TABLE,
    OPT_TIME,
    OPT_MODE,
    OPT_SIZE,
    OPT_USER,
    OPT_STDIN,
    OPT_ANY
};

struct lua_opt {
    const char *name; /* NULL ends the list */
    enum opt_type type;
};

/*
 * Checks that the value at idx is nil, absent, or a table with no keys but these, each of its type; false:
 * nil or absent.  `what` is the kind of option: "boot" gives "unknown boot option 'x'".
 */
LJMP bool pv_lua_check_opts(lua_State *L, int idx, const char *what, const struct lua_opt *opts);
/* The same for options of which there is only `timeout`: its value in ns, dflt without one. */
LJMP int64_t pv_lua_check_timeout(lua_State *L, int idx, const char *what, int64_t dflt);

/*
 * A positional time at idx, in ns, at least 1: nil or none (dflt), seconds, a string such as "5s", or a table
 * {timeout=}.
 */
LJMP int64_t pv_lua_check_time(lua_State *L, int idx, const char *what, int64_t dflt);

/* A string that is a time, at idx, in ns; -1 with err, also for one that holds a NUL byte. Does not raise. */
int pv_lua_time_text(lua_State *L, int idx, int64_t *ns, struct pv_err *err);

/* Below: the named field of a checked table; dflt when it is nil. Times are ns, at least 1. */
LJMP int64_t pv_lua_opt_time(lua_State *L, int idx, const char *what, const char *name, int64_t dflt);
/* "16M", or an integer of bytes; at least 1. */
LJMP uint64_t pv_lua_opt_size(lua_State *L, int idx, const char *what, const char *name, uint64_t dflt);
LJMP uint32_t pv_lua_opt_mode(lua_State *L, int idx, const char *what, const char *name, uint32_t dflt);
/* From min to max, or an error that says so. */
LJMP lua_Integer pv_lua_opt_integer(lua_State *L, int idx, const char *what, const char *name,
                                    lua_Integer min, lua_Integer max, lua_Integer dflt);
LJMP bool pv_lua_opt_bool(lua_State *L, int idx, const char *name, bool dflt);
/* The index of the field's string in `choices` (NULL-terminated), or an error that lists them. */
LJMP int pv_lua_opt_choice(lua_State *L, int idx, const char *what, const char *name,
                           const char *const *choices, int dflt);
/* Pushes a field of a table without its metatable, so that a pushed string is owned by the table. */
LJMP int pv_lua_rawfield(lua_State *L, int idx, const char *name);

/*
 * A host path by pv_tf_find, recorded as an input with all entries; an error beginning with `what` if none.
 */
LJMP void pv_lua_find_host(lua_State *L, const char *path, const char *what, char found[static PATH_MAX]);
/* Pushes a short rendering of a value for a message: string "two", table, nil. */
LJMP const char *pv_lua_describe(lua_State *L, int idx);
/* Permission bits at idx, as an option of type OPT_MODE has them; `arg` names the value in the error. */
LJMP uint32_t pv_lua_check_mode(lua_State *L, int idx, const char *arg);
/* A string without NUL bytes at idx, or an error that calls it `what`. */
LJMP const char *pv_lua_check_cstring(lua_State *L, int idx, const char *what);
/*
 * The number of elements of the list at idx; -1 when the table has other keys.
 */
LJMP lua_Integer pv_lua_list_len(lua_State *L, int idx);

#endif
