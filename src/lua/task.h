/* SPDX-License-Identifier: MIT */
/*
 * Tasks of a script: a Lua thread that runs on a task of the loop, so that every binding that waits lets the
 * others go on.  A task belongs to the innermost sub-test in which it was begun, else to the file.
 *
 *     t = pv_lua_task_start(L, nargs);        // pushes it; it has run until its first wait
 *     return pv_lua_task_result(L, t);        // pushes its results, or raises its error
 */
#ifndef PV_LUA_TASK_H
#define PV_LUA_TASK_H

#include "lua/hooks.h"
#include "lua/state.h"
#include "testfile/context.h"

enum lua_task_state { LUA_TASK_RUNS, LUA_TASK_RETURNED, LUA_TASK_FAILED, LUA_TASK_LEFT /* skip, todo */ };

/* A userdata; its user value is the thread, on whose stack the results or the error stay. */
/* reason: a coroutine's identity, its end, its waits and the variables exchanged at each switch */
struct lua_task {
    struct pv_lua *pl;
    lua_State *co;
    struct pv_task *t; /* NULL once freed */
    unsigned number;
    uint32_t test_id; /* of the sub-test that it belongs to, or PV_NO_TEST */
    char begun[256];  /* "FILE:LINE" that began it */
    enum lua_task_state state;
    enum pv_class cls; /* of its error */
    uint64_t ended;    /* number of its end among those of all tasks */
    bool asked;        /* its error has been raised to somebody, or is of no interest any more */
    bool listed;       /* in pl->tasks */
    bool service;      /* serves until its sub-test, or the file, ends: it may be given up then */
    uint32_t step;     /* of the timeline */
    /* The tasks that it waits for without a timeout. */
    struct lua_task *const *waits;
    size_t n_waits;
    bool seen;               /* by the search for a circle */
    enum pv_class error_cls; /* exchanged with pl's, like the next one */
    struct lua_task *running;
    struct tf_context context;
    struct lua_task *next;
};

/* The function and nargs arguments on top of the stack are taken; pushes the task. */
LJMP struct lua_task *pv_lua_task_start(lua_State *L, int nargs);
/* The task at idx, or an error that says how `method` is called. */
LJMP struct lua_task *pv_lua_check_task(lua_State *L, int idx, const char *method);
/*
 * Waits until all n have ended or the deadline (PV_FOREVER: none) has passed.  Raises at once when the caller is
 * one of them, or would wait for ever in a circle; raises the sub-test's expired limit.  `what` is the phase.
 */
LJMP void pv_lua_tasks_await(lua_State *L, struct lua_task *const *tasks, size_t n, int64_t deadline,
                             const char *what);
/* An ended task: pushes what it returned and returns the number, or raises its error. */
LJMP int pv_lua_task_result(lua_State *L, struct lua_task *t);
/* Ends tasks that run, with the calls that they are in.  Their errors are of no interest any more. */
LJMP void pv_lua_tasks_give_up(lua_State *L, bool (*which)(const struct lua_task *t, const void *arg),
                               const void *arg);
/*
 * The sub-test, or the file (PV_NO_TEST), has ended: gives up its tasks that run.  Adds failures to c, if there
 * are none: tasks that were given up, and errors that nobody waited for.
 */
LJMP void pv_lua_tasks_settle(lua_State *L, uint32_t test_id, struct lua_calls *c);
/* Registers the type. */
LJMP void pv_lua_open_task(lua_State *L);

int pv_lua_async(lua_State *L); /* provium.async, all: async.c */
int pv_lua_all(lua_State *L);
int pv_lua_task_wait(lua_State *L);
int pv_lua_task_done(lua_State *L);

#endif
