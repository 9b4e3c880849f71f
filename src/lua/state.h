/* SPDX-License-Identifier: MIT */
/*
 * The binding's own data of one Lua state, reached from every function and coroutine of it.
 *
 * A function marked LJMP may raise a Lua error, that is longjmp: no cleanup_* variable and no owned pointer
 * may be live across it.  A binding that may raise keeps its resources in a userdata made by pv_lua_tmp.
 */
#ifndef PV_LUA_STATE_H
#define PV_LUA_STATE_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdint.h>

#include "lua/zerocopy.h"
#include "childproto/result.h"
#include "testfile/testfile.h"

#define LJMP /* may raise */

/* An error that was raised with a class.  Lua's value is a string, which the registry keeps: raise.c. */
struct lua_raised {
    const char *text; /* of that string: its address is the error's identity */
    size_t len;
    size_t console; /* bytes at its end that quote a guest's console */
    enum pv_class cls;
    unsigned vm;      /* number of the VM whose death it tells, as pv_guest_number; 0: none */
    uint32_t test_id; /* the sub-test in which it was raised, or PV_NO_TEST */
};

enum { LUA_N_RAISED = 8 };

struct pv_lua {
    struct pv_testfile *tf;
    struct lua_zerocopy_alloc alloc;
    struct lua_raised raised[LUA_N_RAISED]; /* the last ones, a ring */
    unsigned n_raised;
    enum pv_class error_cls; /* of the error that pv_lua_msgh handled last */
    lua_CFunction test;      /* test(): its frame ends tracebacks */
    int64_t late_since;      /* when the hook first found the limit expired; 0: not yet */
    unsigned giving_up;      /* not 0: tasks are given up; 1 and how often the hook has raised that */
    struct lua_task *tasks;  /* that have not been settled, in the order of their start (task.h) */
    struct lua_task *task;   /* the running one; NULL: the script itself */
    unsigned n_tasks;        /* begun so far */
    /* Is told of a failure's text in its message handler, before anything unwinds; NULL: nobody. */
    void (*on_failure)(lua_State *L, const char *message);
    bool stopped; /* a prompt is open, at which errors do not stop the file once more */
    bool over;    /* the script has ended: no task begins any more */
};

static inline struct pv_lua *pv_lua_of(lua_State *L)
{
    return *(struct pv_lua **)lua_getextraspace(L);
}

static inline struct pv_testfile *pv_lua_tf(lua_State *L)
{
    return pv_lua_of(L)->tf;
}

#endif
