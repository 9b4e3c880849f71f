/* SPDX-License-Identifier: MIT */
/* wait_until and provium.sleep.  The loop runs meanwhile, so consoles are drained and deaths noticed. */
#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/provium.h"
#include "lua/raise.h"
#include "testfile/error.h"
#include "testfile/limit.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/parse.h"

struct wait_call {
    struct lua_agent a;
    int64_t started, deadline, interval;
    bool was_running;
};

/* True once a VM that was running has died; one that the function shuts down or kills has not. */
static bool wait_has_died(void *arg)
{
    const struct wait_call *w = arg;

    return w->was_running && pv_lua_agent_state(&w->a) == PV_GUEST_DEAD;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Stack indices: 1 is the VM or worker, MEMORY + 1 the function's result. */
enum { FN = 2, OPTIONS, DESC, MEMORY };

static LJMP void wait_sleep_until(lua_State *L, struct wait_call *w, int64_t deadline)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    char what[200];
    struct pv_err err;
    int rc;

    snprintf(what, sizeof(what), "waiting for %s", lua_tostring(L, DESC));
    pv_tf_phase(tf, what);
    rc = pv_loop_run(tf->loop, wait_has_died, w, earlier(deadline, pv_tf_limit(tf)), &err);
    pv_tf_phase(tf, "");
    if (rc < 0)
        pv_lua_raise_err(L, &err);
    pv_tf_limit_note(tf, what);
    pv_lua_check_expired(L);
}

/* Makes any request, because its error says how the guest died. */
static LJMP int raise_wait_death(lua_State *L, struct wait_call *w)
{
    static const char asked[] = "cannot ping: "; /* no word of the test's */
    struct pv_err err;

    if (pv_agent_ping(w->a.a, "", 0, 0, &err) == 0)
        return 0;
    if (!strncmp(err.text, asked, sizeof(asked) - 1))
        memmove(err.text, err.text + sizeof(asked) - 1, strlen(err.text) - sizeof(asked) + 2);
    pv_err_wrap(&err, "while waiting for %s", lua_tostring(L, DESC));
    return pv_lua_raise_err(L, &err);
}

static int wait_step(lua_State *L, int status, lua_KContext context)
{
    struct wait_call *w = lua_touserdata(L, MEMORY);
    char took[32];

    (void)context;
    for (;;) {
        if (status != LUA_OK) { /* the function has returned, at once or after a yield */
            int64_t now = pv_now();

            if (lua_toboolean(L, -1))
                return 1;
            if (wait_has_died(w))
                raise_wait_death(L, w);
            if (now >= w->deadline)
                break;
            wait_sleep_until(L, w, w->deadline - now < w->interval ? w->deadline : now + w->interval);
        }
        lua_settop(L, MEMORY);
        lua_pushvalue(L, FN);
        lua_callk(L, 0, 1, 0, wait_step);
        status = LUA_YIELD;
    }
    snprintf(took, sizeof(took), "%.1f", (double)(pv_now() - w->started) / PV_NSEC_PER_SEC);
    return pv_lua_raise_as(L, PV_CLASS_TIMEOUT, "waited %s s for %s, which did not come true", took,
                           lua_tostring(L, DESC));
}

/* vm:wait_until(fn, {timeout=10, interval=0.5, desc="condition"}?) */
int pv_lua_wait_until(lua_State *L)
{
    static const struct lua_opt opts[] = {
        {"timeout", OPT_TIME}, {"interval", OPT_TIME}, {"desc", OPT_STRING}, {NULL, 0}};
    struct lua_agent a = pv_lua_check_agent(L, "wait_until");
    int64_t timeout = 10 * PV_NSEC_PER_SEC, interval = PV_NSEC_PER_SEC / 2;
    struct wait_call *w;

    if (!lua_isfunction(L, FN))
        pv_lua_raise(L, "wait_until needs a function, got %s",
                     lua_isnone(L, FN) ? "nothing" : pv_lua_describe(L, FN));
    lua_settop(L, OPTIONS);
    lua_pushliteral(L, "condition");
    if (pv_lua_check_opts(L, OPTIONS, "wait_until", opts)) {
        timeout = pv_lua_opt_time(L, OPTIONS, "wait_until", "timeout", timeout);
        interval = pv_lua_opt_time(L, OPTIONS, "wait_until", "interval", interval);
        if (pv_lua_rawfield(L, OPTIONS, "desc") == LUA_TSTRING)
            lua_copy(L, -1, DESC);
    }
    lua_settop(L, DESC);
    w = lua_newuserdatauv(L, sizeof(*w), 0);
    *w = (struct wait_call){.a = a,
                            .started = pv_now(),
                            .deadline = pv_deadline(timeout),
                            .interval = interval,
                            .was_running = pv_lua_agent_state(&a) == PV_GUEST_RUNNING};
    return wait_step(L, LUA_OK, 0);
}

/* provium.sleep(time) */
int pv_lua_sleep(lua_State *L)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    struct pv_err err;
    char what[48];
    uint32_t step;
    int64_t ns = 0;
    int rc;

    if (lua_type(L, 1) == LUA_TNUMBER)
        rc = pv_seconds_to_ns(lua_tonumber(L, 1), &ns, &err);
    else
        rc = pv_parse_time(pv_lua_check_cstring(L, 1, "the time for provium.sleep"), &ns, &err);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    snprintf(what, sizeof(what), "sleeping for %.3g s", (double)ns / PV_NSEC_PER_SEC);
    pv_tf_phase(tf, what);
    step = pv_tf_step_send(tf, NULL, PV_STEP_CALL, "sleeping");
    rc = pv_loop_run(tf->loop, NULL, NULL, earlier(pv_deadline(ns), pv_tf_limit(tf)), &err);
    pv_result_step_end(tf->env->result, step, rc >= 0);
    pv_tf_phase(tf, "");
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    pv_tf_limit_note(tf, what);
    pv_lua_check_expired(L);
    return 0;
}
