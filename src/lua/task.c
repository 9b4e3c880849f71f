/* SPDX-License-Identifier: MIT */
#include "lua/task.h"

#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "lua/handle.h"
#include "lua/limit.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/skip.h"
#include "lua/trace.h"
#include "testfile/limit.h"
#include "util/clock.h"
#include "util/err.h"

#define TASK_TYPE "provium.task"
/* For tasks that are given up: longer than a call takes to be cancelled in the guest. */
#define GIVE_UP_LIMIT (5 * PV_NSEC_PER_SEC)

enum { TASKS_MAX = 1000, SHOWN_MAX = 5 };

static const char
    anchor_key; /* its address: registry key of the table that keeps tasks from being collected */

/* ---- a task's own stack ---- */

/* The handler of a task's errors: that of the file, and the line that began the task. */
static int task_msgh(lua_State *L)
{
    const struct lua_task *t = pv_lua_of(L)->task;

    pv_lua_msgh(L);
    if (!pv_lua_is_skip(L, -1))
        lua_pushfstring(L, "%s" LUA_TASK_MARK "%s", lua_tostring(L, -1), t->begun);
    return 1;
}

/* Exchanges the variables that the running script or task has for itself. */
static void task_swap(void *arg)
{
    struct lua_task *t = arg;
    struct pv_lua *pl = t->pl;
    enum pv_class cls = pl->error_cls;
    struct lua_task *running = pl->task;

    pl->error_cls = t->error_cls;
    t->error_cls = cls;
    pl->task = t->running;
    t->running = running;
    pv_tf_context_swap(pl->tf, &t->context);
}

/* On the thread's stack: the handler, the function, its arguments. */
static void task_run(void *arg)
{
    static uint64_t ends;
    struct lua_task *t = arg;
    int rc;

    t->pl->tf->pool.tasks++;
    rc = lua_pcall(t->co, lua_gettop(t->co) - 2, LUA_MULTRET, 1);
    lua_remove(t->co, 1);
    t->cls = rc == LUA_ERRRUN ? t->pl->error_cls : PV_CLASS_LUA;
    t->state = rc == LUA_OK ? LUA_TASK_RETURNED : pv_lua_is_skip(t->co, -1) ? LUA_TASK_LEFT : LUA_TASK_FAILED;
    t->ended = ++ends;
    t->pl->tf->pool.tasks--;
    pv_result_step_end(t->pl->tf->env->result, t->step, rc == LUA_OK || t->state == LUA_TASK_LEFT);
}

/* ---- the list ---- */

static LJMP void task_anchor(lua_State *L, struct lua_task *t, int idx)
{
    idx = lua_absindex(L, idx);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &anchor_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &anchor_key);
    }
    lua_pushvalue(L, idx);
    lua_rawsetp(L, -2, t);
    lua_pop(L, 1);
}

static void task_link(struct lua_task *t)
{
    struct lua_task **at = &t->pl->tasks;

    while (*at)
        at = &(*at)->next;
    *at = t;
    t->listed = true;
    pv_tf_context_add(t->pl->tf, &t->context);
}

/* Frees the C stack of a task that has ended. */
static void task_reap(struct lua_task *t)
{
    if (t->t && t->state != LUA_TASK_RUNS && pv_task_done(t->t)) {
        pv_task_free(t->t);
        t->t = NULL;
    }
}

/* Takes an ended task off the list; from then on its handles alone keep it. */
static LJMP void task_forget(lua_State *L, struct lua_task *t)
{
    struct lua_task **at = &t->pl->tasks;

    task_reap(t);
    if (!t->listed || t->t)
        return;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    t->listed = false;
    pv_tf_context_remove(t->pl->tf, &t->context);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &anchor_key);
    lua_pushnil(L);
    lua_rawsetp(L, -2, t);
    lua_pop(L, 1);
}

/* Forgets tasks whose ends need no more attention. Returns the number that is left. */
static LJMP size_t tasks_prune(lua_State *L)
{
    struct lua_task *next;
    size_t n = 0;

    for (struct lua_task *t = pv_lua_of(L)->tasks; t; t = next) {
        next = t->next;
        if (t->state == LUA_TASK_RETURNED || t->state == LUA_TASK_LEFT || t->asked)
            task_forget(L, t);
        n += t->listed;
    }
    pv_lua_tf(L)->guest_env.tasks = n > 0;
    return n;
}

static int task_gc(lua_State *L)
{
    struct lua_task *t = lua_touserdata(L, 1);

    if (t->t)
        pv_task_free(t->t);
    t->t = NULL;
    return 0;
}

/* The end of a `local t <close>` does not end the task, which belongs to the sub-test. */
static int task_close(lua_State *L)
{
    (void)L;
    return 0;
}

static int task_tostring(lua_State *L)
{
    const struct lua_task *t = pv_lua_check_task(L, 1, "tostring");

    lua_pushfstring(L, "task %d (begun at %s)", (int)t->number, t->begun);
    return 1;
}

struct lua_task *pv_lua_check_task(lua_State *L, int idx, const char *method)
{
    struct lua_task *t = luaL_testudata(L, idx, TASK_TYPE);

    if (!t || !t->co)
        pv_lua_raise(L, "task.%s(...) got %s where the task belongs; call it with a colon: task:%s(...)",
                     method, lua_isnone(L, idx) ? "nothing" : pv_lua_describe(L, idx), method);
    return t;
}

/* ---- start ---- */

/* Where the call of the running function is: the nearest line of a script. */
static void task_set_begun(lua_State *L, struct lua_task *t)
{
    lua_Debug ar;
    int level = 0;

    if (pv_lua_script_frame(L, &level, &ar))
        snprintf(t->begun, sizeof(t->begun), "%.240s:%d", ar.source[0] == '@' ? ar.source + 1 : ar.short_src,
                 ar.currentline);
    else
        strcpy(t->begun, "(no script)");
}

struct lua_task *pv_lua_task_start(lua_State *L, int nargs)
{
    struct pv_lua *pl = pv_lua_of(L);
    struct pv_testfile *tf = pl->tf;
    int fn = lua_gettop(L) - nargs;
    struct pv_err err;
    struct lua_task *t;
    char text[300];

    tf->touched = true;
    if (pl->over)
        pv_lua_raise(L, "a task cannot begin: the script has ended");
    if (tasks_prune(L) >= TASKS_MAX)
        pv_lua_raise(L, "a task cannot begin: %d run already", TASKS_MAX);
    luaL_checkstack(L, 6, NULL);
    t = lua_newuserdatauv(L, sizeof(*t), 1);
    memset(t, 0, sizeof(*t));
    luaL_setmetatable(L, TASK_TYPE);
    t->pl = pl;
    t->running = t;
    t->co = lua_newthread(L);
    pv_lua_limit_note_thread(L);
    lua_setiuservalue(L, -2, 1);
    lua_insert(L, fn);
    luaL_checkstack(t->co, nargs + LUA_MINSTACK, NULL);
    lua_pushcfunction(t->co, task_msgh);
    lua_xmove(L, t->co, nargs + 1);
    t->number = ++pl->n_tasks;
    t->test_id = pl->task ? pl->task->test_id : pv_tf_test_id(&tf->tests);
    task_set_begun(L, t);
    snprintf(t->context.scope.track, sizeof(t->context.scope.track), "task %u", t->number);
    task_anchor(L, t, -1);
    task_link(t);
    tf->guest_env.tasks = true;
    snprintf(text, sizeof(text), "begun at %s", t->begun);
    t->step = pv_result_step_begin(tf->env->result, t->context.scope.track, PV_STEP_CALL, text);
    t->t = pv_task_start_swapping(tf->loop, task_run, task_swap, t, &err);
    if (!t->t) {
        t->state = LUA_TASK_LEFT;
        task_forget(L, t);
        pv_lua_raise_err(L, &err);
    }
    return t;
}

/* ---- waiting ---- */

struct tasks_wait {
    struct lua_task *const *tasks;
    size_t n;
};

static bool tasks_have_ended(void *arg)
{
    const struct tasks_wait *w = arg;

    for (size_t i = 0; i < w->n; i++)
        if (w->tasks[i]->state == LUA_TASK_RUNS)
            return false;
    return true;
}

/* True when `from` waits for `to`, by itself or through other tasks. */
static bool task_waits_for(struct lua_task *from, const struct lua_task *to)
{
    if (from == to)
        return true;
    if (from->seen || from->state != LUA_TASK_RUNS)
        return false;
    from->seen = true;
    for (size_t i = 0; i < from->n_waits; i++)
        if (task_waits_for(from->waits[i], to))
            return true;
    return false;
}

/* for_ever: the wait has no timeout. */
static LJMP void check_circle(lua_State *L, struct lua_task *const *tasks, size_t n, bool for_ever)
{
    struct pv_lua *pl = pv_lua_of(L);
    const struct lua_task *self = pl->task;

    for (struct lua_task *t = pl->tasks; t; t = t->next)
        t->seen = false;
    for (size_t i = 0; i < n; i++) {
        if (tasks[i] == self)
            pv_lua_raise(L, "task %d (begun at %s) cannot wait for itself", (int)self->number, self->begun);
        if (self && for_ever && task_waits_for(tasks[i], self))
            pv_lua_raise(
                L,
                "task %d (begun at %s) would wait for ever: task %d (begun at %s), which it is to wait "
                "for, waits for it",
                (int)self->number, self->begun, (int)tasks[i]->number, tasks[i]->begun);
    }
}

void pv_lua_tasks_await(lua_State *L, struct lua_task *const *tasks, size_t n, int64_t deadline,
                        const char *what)
{
    struct pv_lua *pl = pv_lua_of(L);
    struct tasks_wait w = {tasks, n};
    struct lua_task *self = pl->task;
    struct pv_testfile *tf = pl->tf;
    int64_t limit = pv_tf_limit(tf);
    struct pv_err err;
    int rc;

    check_circle(L, tasks, n, deadline == PV_FOREVER);
    pv_tf_step_begin(tf, NULL, PV_STEP_WAIT, "%s", what);
    tf->pool.stalled += deadline == PV_FOREVER;
    if (self && deadline == PV_FOREVER) {
        self->waits = tasks;
        self->n_waits = n;
    }
    rc = pv_loop_run(tf->loop, tasks_have_ended, &w, deadline < limit ? deadline : limit, &err);
    if (self)
        self->n_waits = 0;
    tf->pool.stalled -= deadline == PV_FOREVER;
    pv_tf_step_end(tf, rc == 0);
    if (rc < 0)
        pv_lua_raise_err(L, &err);
    if (rc > 0)
        pv_lua_check_expired(L);
}

int pv_lua_task_result(lua_State *L, struct lua_task *t)
{
    int n = t->state == LUA_TASK_RETURNED ? lua_gettop(t->co) : 1, base = lua_gettop(t->co) - n;

    luaL_checkstack(L, n + 1, "too many results of a task");
    luaL_checkstack(t->co, n + 1, NULL);
    for (int i = 1; i <= n; i++)
        lua_pushvalue(t->co, base + i);
    lua_xmove(t->co, L, n);
    t->asked = true;
    if (t->state == LUA_TASK_RETURNED)
        return n;
    return t->state == LUA_TASK_LEFT ? lua_error(L) : pv_lua_raise_again(L, t->cls);
}

/* ---- the end of a sub-test or of the file ---- */

void pv_lua_tasks_give_up(lua_State *L, bool (*which)(const struct lua_task *t, const void *arg),
                          const void *arg)
{
    struct pv_lua *pl = pv_lua_of(L);
    struct lua_task *given[TASKS_MAX];
    struct tasks_wait w = {.tasks = given};

    for (struct lua_task *t = pl->tasks; t; t = t->next) {
        if (t->state != LUA_TASK_RUNS || t == pl->task || !which(t, arg))
            continue;
        t->asked = true;
        pv_task_cancel(t->t);
        given[w.n++] = t;
    }
    if (!w.n)
        return;
    pv_lua_limit_give_up(L, true);
    pv_loop_run(pl->tf->loop, tasks_have_ended, &w, pv_deadline(GIVE_UP_LIMIT), NULL);
    for (size_t i = 0; i < w.n; i++) {
        pv_task_free(given[i]->t);
        given[i]->t = NULL;
    }
    pv_lua_limit_give_up(L, false);
}

static bool task_is_of_test(const struct lua_task *t, const void *arg)
{
    return t->test_id == *(const uint32_t *)arg;
}

/* "begun at a.lua:3 had not ended ...", with what it did. */
static LJMP void push_given_up(lua_State *L, const struct lua_task *t, bool file)
{
    const char *doing = t->context.timeline.doing;

    lua_pushfstring(L, "the task begun at %s had not ended with the %s and was given up%s%s%s", t->begun,
                    file ? "file" : "test", doing[0] ? " (it was " : "", doing, doing[0] ? ")" : "");
}

void pv_lua_tasks_settle(lua_State *L, uint32_t test_id, struct lua_calls *c)
{
    bool report = !c->failed;
    struct lua_task *next;
    int shown = 0, more = 0;

    luaL_checkstack(L, 4, NULL);
    for (struct lua_task *t = pv_lua_of(L)->tasks; t && report; t = t->next) {
        if (!task_is_of_test(t, &test_id) || t->asked ||
            !(t->state == LUA_TASK_FAILED || (t->state == LUA_TASK_RUNS && !t->service)))
            continue;
        if (shown++ >= SHOWN_MAX) {
            more++;
            continue;
        }
        if (t->state == LUA_TASK_RUNS)
            push_given_up(L, t, test_id == PV_NO_TEST);
        else
            lua_pushfstring(L, "%s\nnobody waited for this task", lua_tostring(t->co, -1));
        pv_lua_calls_fail(L, c, t->state == LUA_TASK_RUNS ? PV_CLASS_LUA : t->cls, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    if (more) {
        lua_pushfstring(L, "and %d more tasks", more);
        pv_lua_calls_fail(L, c, c->cls, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    pv_lua_tasks_give_up(L, task_is_of_test, &test_id);
    for (struct lua_task *t = pv_lua_of(L)->tasks; t; t = next) {
        next = t->next;
        if (task_is_of_test(t, &test_id)) {
            t->asked = true;
            task_forget(L, t);
        }
    }
    tasks_prune(L);
    if (test_id == PV_NO_TEST)
        pv_lua_of(L)->over = true;
}

void pv_lua_open_task(lua_State *L)
{
    static const luaL_Reg methods[] = {{"wait", pv_lua_task_wait}, {"done", pv_lua_task_done}, {NULL, NULL}};
    static const struct lua_type type = {.id = TASK_TYPE,
                                         .kind = "task",
                                         .own = methods,
                                         .tostring = task_tostring,
                                         .close = task_close,
                                         .gc = task_gc};

    pv_lua_open_type(L, &type);
}
