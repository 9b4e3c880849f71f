/* SPDX-License-Identifier: MIT */
/* Commands in the background: background, job_wait, job_kill. */
#include "lua/exec.h"
#include "util/err.h"
#include "util/parse.h"

static void state_fini(void *p)
{
    pv_job_state_fini(p);
}

/* vm:background(cmd, {env=, cwd=, timeout=}?) */
int pv_lua_vm_background(lua_State *L)
{
    static const struct lua_opt opts[] = {
        {"env", OPT_TABLE}, {"cwd", OPT_STRING}, {"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_guest *g = pv_lua_check_vm(L, "background");
    struct exec_call *c = pv_lua_exec_new(L, 2, "background", opts);
    struct pv_job job;
    struct pv_err err;
    int rc;

    pv_lua_begin(L, g, "starting '%.100s' in %s", pv_lua_exec_title(c), g->name);
    rc = pv_agent_job_start(pv_lua_agent(g), &c->x, &job, &err);
    pv_lua_end(L, rc == 0);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, job.id);
    lua_setfield(L, -2, "id");
    lua_pushinteger(L, job.pid);
    lua_setfield(L, -2, "pid");
    return 1;
}

/* What background returned, or its id. */
static LJMP uint32_t check_job(lua_State *L, const char *what)
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
    if (id < 0 || id > UINT32_MAX)
        pv_lua_raise(L, "%s: %I is no job's id", what, (LUAI_UACINT)id);
    lua_pop(L, 1);
    return (uint32_t)id;
}

/* Seconds, a time such as "5s", or {timeout=}; 0 when there is none. */
static LJMP int64_t check_wait(lua_State *L)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};
    struct pv_err err;
    int64_t ns = 0;
    int rc = 0;

    switch (lua_type(L, 3)) {
    case LUA_TNUMBER:
        rc = lua_tonumber(L, 3) == 0 ? 0 : pv_seconds_to_ns(lua_tonumber(L, 3), &ns, &err);
        break;
    case LUA_TSTRING:
        rc = pv_parse_time(lua_tostring(L, 3), &ns, &err);
        break;
    default:
        if (pv_lua_check_opts(L, 3, "job_wait", opts))
            ns = pv_lua_opt_time(L, 3, "job_wait", "timeout", 0);
    }
    if (rc < 0)
        pv_lua_raise(L, "job_wait: the time to wait: %s", err.text);
    return ns;
}

static LJMP int push_state(lua_State *L, struct pv_job_state *s)
{
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, s->running ? -1 : s->exit_code);
    lua_setfield(L, -2, "exit_code");
    lua_pushlstring(L, s->out.data ? s->out.data : "", s->out.len);
    lua_setfield(L, -2, "stdout");
    lua_pushlstring(L, s->err.data ? s->err.data : "", s->err.len);
    lua_setfield(L, -2, "stderr");
    lua_pushboolean(L, s->running);
    lua_setfield(L, -2, "running");
    pv_job_state_fini(s); /* now: it may be large; twice is fine */
    return 1;
}

/* vm:job_wait(job, seconds?) */
int pv_lua_vm_job_wait(lua_State *L)
{
    struct lua_guest *g = pv_lua_check_vm(L, "job_wait");
    uint32_t job = check_job(L, "job_wait");
    int64_t wait;
    struct pv_job_state *s;
    struct pv_err err;
    int rc;

    lua_settop(L, 3);
    wait = check_wait(L);
    s = pv_lua_tmp(L, sizeof(*s), state_fini);
    pv_lua_begin(L, g, "waiting for job %u in %s", (unsigned)job, g->name);
    rc = pv_agent_job_wait(pv_lua_agent(g), job, wait, s, &err);
    pv_lua_end(L, rc == 0);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    if (!s->running) {
        char title[32];

        snprintf(title, sizeof(title), "job %u", (unsigned)job);
        pv_lua_note_command(pv_lua_of(L), g->name, title, s->exit_code, false, &s->err);
    }
    return push_state(L, s);
}

/* vm:job_kill(job, {timeout=}?) */
int pv_lua_vm_job_kill(lua_State *L)
{
    struct lua_guest *g = pv_lua_check_vm(L, "job_kill");
    uint32_t job = check_job(L, "job_kill");
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};
    int64_t timeout =
        pv_lua_check_opts(L, 3, "job_kill", opts) ? pv_lua_opt_time(L, 3, "job_kill", "timeout", 0) : 0;
    struct pv_job_state *s = pv_lua_tmp(L, sizeof(*s), state_fini);
    struct pv_err err;
    int rc;

    pv_lua_begin(L, g, "killing job %u in %s", (unsigned)job, g->name);
    rc = pv_agent_job_kill(pv_lua_agent(g), job, timeout, s, &err);
    pv_lua_end(L, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : push_state(L, s);
}
