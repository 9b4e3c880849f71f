/* SPDX-License-Identifier: MIT */
/* test()'s options, and which sub-tests --tag, --no-tag and --slow-tests let run. */
#include <string.h>

#include "lua/internal.h"
#include "util/mem.h"

static const struct pv_strv none;

static const struct pv_strv *tags_of(const struct pv_lua *pl)
{
    return pl->env->tags ? pl->env->tags : &none;
}

static const struct pv_strv *no_tags_of(const struct pv_lua *pl)
{
    return pl->env->no_tags ? pl->env->no_tags : &none;
}

static bool holds(const struct pv_strv *list, const char *tag)
{
    for (size_t i = 0; i < list->n; i++)
        if (!strcmp(list->v[i], tag))
            return true;
    return false;
}

static void look_at_tag(const struct pv_lua *pl, const char *tag, struct lua_test_opts *o)
{
    o->wanted = o->wanted || holds(tags_of(pl), tag);
    o->unwanted = o->unwanted || holds(no_tags_of(pl), tag);
}

/* The list of tags at the top of the stack. */
static LJMP void take_tags(lua_State *L, struct lua_test_opts *o)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1), keys = 0;

    lua_pushnil(L);
    for (; lua_next(L, -2); keys++)
        lua_pop(L, 1);
    if (keys != n)
        pv_lua_raise(L, "test option 'tags' must be a list of strings, such as {\"net\", \"ipv6\"}");
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        if (!*pv_lua_check_cstring(L, -1, "a tag of a test"))
            pv_lua_raise(L, "a tag of a test is empty");
        look_at_tag(pv_lua_of(L), lua_tostring(L, -1), o);
        lua_pop(L, 1);
    }
}

void pv_lua_test_opts(lua_State *L, int idx, struct lua_test_opts *o)
{
    static const struct lua_opt opts[] = {
        {"tags", OPT_TABLE}, {"timeout", OPT_TIME}, {"slow", OPT_BOOLEAN}, {NULL, 0}};

    *o = (struct lua_test_opts){0};
    if (!pv_lua_check_opts(L, idx, "test", opts))
        return;
    o->timeout_ns = pv_lua_opt_time(L, idx, "test", "timeout", 0);
    o->slow = pv_lua_opt_bool(L, idx, "slow", false);
    if (pv_lua_rawfield(L, idx, "tags") == LUA_TTABLE)
        take_tags(L, o);
    lua_pop(L, 1);
    if (o->slow)
        look_at_tag(pv_lua_of(L), "slow", o);
}

bool pv_lua_test_selected(const struct pv_lua *pl, const struct lua_test_opts *o)
{
    /* a sub-test of one that runs has what that one has */
    return !o->unwanted && (o->wanted || pl->n_open > 0 || tags_of(pl)->n == 0);
}

bool pv_lua_slow_tests(const struct pv_lua *pl)
{
    return pl->env->slow_tests || holds(tags_of(pl), "slow");
}

char *pv_lua_none_selected(const struct pv_lua *pl)
{
    struct pv_buf b = {0};

    if (pl->n_deselected == 1)
        pv_buf_adds(&b, "its one test is not selected by");
    else
        pv_buf_addf(&b, "none of its %zu tests is selected by", pl->n_deselected);
    for (size_t i = 0; i < tags_of(pl)->n; i++)
        pv_buf_addf(&b, " --tag %s", tags_of(pl)->v[i]);
    for (size_t i = 0; i < no_tags_of(pl)->n; i++)
        pv_buf_addf(&b, " --no-tag %s", no_tags_of(pl)->v[i]);
    return b.data;
}
