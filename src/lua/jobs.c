/* SPDX-License-Identifier: MIT */
/* Jobs, that is commands in the background: background, job_wait, job_kill. */
#include <inttypes.h>
#include <stdio.h>

#include "lua/exec.h"
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/raise.h"
#include "lua/result.h"
#include "lua/tmp.h"
#include "util/err.h"
#include "util/parse.h"

static void job_state_fini(void *p)
{
    pv_job_state_fini(p);
}

/* vm:background(cmd, {env=, cwd=, timeout=, max_output=}?) */
int pv_lua_job_start(lua_State *L)
{
    static const struct lua_opt opts[] = {
        {"env", OPT_TABLE}, {"cwd", OPT_STRING}, {"timeout", OPT_TIME}, {"max_output", OPT_SIZE}, {NULL, 0}};
    struct lua_agent a = pv_lua_check_agent(L, "background");
    struct exec_call *c = pv_lua_exec_new(L, 2, "background", opts);
    struct pv_job job;
    struct pv_err err;
    int rc;

    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "starting '%.100s' in %s", pv_lua_exec_title(c), a.name);
    rc = pv_agent_job_start(a.a, &c->x, &job, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)job.id);
    lua_setfield(L, -2, "id");
    lua_pushinteger(L, job.pid);
    lua_setfield(L, -2, "pid");
    if (c->x.max_output) {
        lua_pushinteger(L, (lua_Integer)c->x.max_output);
        lua_setfield(L, -2, "max_output");
    }
    return 1;
}

/* The job at 2: the table that background returned, or its id. */
static LJMP uint64_t check_job(lua_State *L, const char *what)
{
    lua_Integer id;

    if (lua_istable(L, 2))
        pv_lua_rawfield(L, 2, "id");
    else
        lua_pushvalue(L, 2);
    if (!lua_isinteger(L, -1))
        pv_lua_raise(L, "%s needs a job: what vm:background(...) returned, or its id; got %s", what,
                     lua_gettop(L) < 3 ? "nothing" : pv_lua_describe(L, 2));
    id = lua_tointeger(L, -1);
    if (id < 0)
        pv_lua_raise(L, "%s: %I is no job's id", what, (LUAI_UACINT)id);
    lua_pop(L, 1);
    return (uint64_t)id;
}

/* The limit that background was called with; 0: the default, also for a job that is given by its id. */
static LJMP uint64_t job_max_output(lua_State *L)
{
    lua_Integer max;

    if (!lua_istable(L, 2))
        return 0;
    pv_lua_rawfield(L, 2, "max_output");
    max = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return max > 0 ? (uint64_t)max : 0;
}

/* The time at 3: seconds, a string such as "5s", or {timeout=}; 0: none. */
static LJMP int64_t check_job_wait(lua_State *L)
{
    struct pv_err err;
    int64_t ns = 0;
    int rc = 0;

    switch (lua_type(L, 3)) {
    case LUA_TNUMBER:
        rc = lua_tonumber(L, 3) == 0 ? 0 : pv_seconds_to_ns(lua_tonumber(L, 3), &ns, &err);
        break;
    case LUA_TSTRING:
        rc = pv_lua_time_text(L, 3, &ns, &err);
        break;
    default:
        ns = pv_lua_check_timeout(L, 3, "job_wait", 0);
    }
    if (rc < 0)
        pv_lua_raise(L, "job_wait: the time to wait: %s", err.text);
    return ns;
}

static LJMP int push_job_state(lua_State *L, struct pv_job_state *s, uint64_t job)
{
    char title[32];

    lua_createtable(L, 0, 4);
    lua_pushinteger(L, s->running ? -1 : s->exit_code);
    lua_setfield(L, -2, "exit_code");
    lua_pushlstring(L, s->out.data ? s->out.data : "", s->out.len);
    lua_setfield(L, -2, "stdout");
    lua_pushlstring(L, s->err.data ? s->err.data : "", s->err.len);
    lua_setfield(L, -2, "stderr");
    lua_pushboolean(L, s->running);
    lua_setfield(L, -2, "running");
    snprintf(title, sizeof(title), "job %" PRIu64, job);
    pv_lua_make_result(L, title);
    pv_job_state_fini(s); /* now: it may be large, and the collector late */
    return 1;
}

/* vm:job_wait(job, seconds?) */
int pv_lua_job_wait(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "job_wait");
    uint64_t job = check_job(L, "job_wait");
    int64_t wait;
    struct pv_job_state *s;
    struct pv_err err;
    int rc;

    lua_settop(L, 3);
    wait = check_job_wait(L);
    s = pv_lua_tmp(L, sizeof(*s), job_state_fini);
    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "waiting for job %" PRIu64 " in %s", job, a.name);
    rc = pv_agent_job_wait(a.a, job, wait, job_max_output(L), s, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    if (!s->running) {
        char title[32];

        snprintf(title, sizeof(title), "job %" PRIu64, job);
        pv_tf_command_note(&pv_lua_tf(L)->command, a.name, title, s->exit_code, false, &s->err);
    }
    return push_job_state(L, s, job);
}

/* vm:job_kill(job, {timeout=}?) */
int pv_lua_job_kill(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "job_kill");
    uint64_t job = check_job(L, "job_kill");
    int64_t timeout = pv_lua_check_timeout(L, 3, "job_kill", 0);
    struct pv_job_state *s = pv_lua_tmp(L, sizeof(*s), job_state_fini);
    struct pv_err err;
    int rc;

    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "killing job %" PRIu64 " in %s", job, a.name);
    rc = pv_agent_job_kill(a.a, job, timeout, job_max_output(L), s, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : push_job_state(L, s, job);
}
