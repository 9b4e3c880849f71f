/* SPDX-License-Identifier: MIT */
/* Fault rules: d:fail, d:delay, d:hang, and the type rule. */
#include "disk/rule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest/disks.h"
#include "loop/loop.h"
#include "lua/disk.h"
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/syscall.h"
#include "lua/task.h"
#include "testfile/rules.h"
#include "util/clock.h"
#include "util/err.h"

#define RULE_TYPE "provium.rule"
#define WAIT_TIMEOUT (10 * PV_NSEC_PER_SEC)

/* User value 1 is the function on_hit; with one, the registry keeps the rule. */
struct lua_rule {
    struct pv_disk_rule *r; /* NULL: not made */
    struct tf_guest *vm;    /* held while r is set */
    lua_State *main;        /* of on_hit; NULL: there is none */
};

static LJMP struct lua_rule *rule_new(lua_State *L, struct tf_guest *vm)
{
    struct lua_rule *h = lua_newuserdatauv(L, sizeof(*h), 1);

    *h = (struct lua_rule){.vm = vm};
    vm->n_holds++;
    luaL_setmetatable(L, RULE_TYPE);
    return h;
}

/* ---- on_hit ---- */

static int hit_start(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, lua_touserdata(L, 1));
    lua_getiuservalue(L, -1, 1);
    lua_insert(L, -2);
    pv_lua_task_start(L, 1);
    return 0;
}

/* From the loop: the function runs as a task, so that it may wait. */
static void rule_hit(struct pv_disk_rule *r, void *arg)
{
    struct lua_rule *h = arg;
    lua_State *L = h->main;

    if (!lua_checkstack(L, 8))
        return;
    lua_pushcfunction(L, hit_start);
    lua_pushlightuserdata(L, h);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        struct pv_testfile *tf = pv_lua_tf(L);

        lua_pushfstring(L, "on_hit of the rule '%s' could not be started: %s", pv_disk_rule_text(r),
                        lua_tostring(L, -1) ? lua_tostring(L, -1) : "?");
        pv_result_note(tf->env->result, pv_tf_test_id(&tf->tests), lua_tostring(L, -1));
        lua_pop(L, 2);
    }
}

static LJMP void rule_set_on_hit(lua_State *L, int idx, struct lua_rule *h, struct pv_disk_fail *f)
{
    if (pv_lua_rawfield(L, idx, "on_hit") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    if (!lua_isfunction(L, -1))
        pv_lua_raise(L, "fail option 'on_hit' must be a function, got %s", pv_lua_describe(L, -1));
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, h);
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    h->main = lua_tothread(L, -1);
    lua_pop(L, 1);
    f->on_hit = rule_hit;
    f->arg = h;
}

/* ---- options ---- */

static LJMP int fail_errno(lua_State *L, int idx)
{
    static const struct {
        const char *name;
        int errnum;
    } known[] = {{"EIO", EIO},
                 {"ENOSPC", ENOSPC},
                 {"EPERM", EPERM},
                 {"ENOMEM", ENOMEM},
                 {"EINVAL", EINVAL},
                 {"EOVERFLOW", EOVERFLOW},
                 {"EOPNOTSUPP", EOPNOTSUPP},
                 {"ESHUTDOWN", ESHUTDOWN},
                 {"ETIMEDOUT", ETIMEDOUT}};
    int errnum = 0;

    if (pv_lua_rawfield(L, idx, "errno") == LUA_TNIL)
        errnum = EIO;
    for (size_t i = 0; !errnum && i < sizeof(known) / sizeof(known[0]); i++)
        if (!strcmp(known[i].name, lua_tostring(L, -1)))
            errnum = known[i].errnum;
    if (!errnum)
        pv_lua_raise(
            L,
            "fail option 'errno' is '%s'; a disk fails with \"EIO\", \"ENOSPC\", \"EPERM\", \"ENOMEM\", "
            "\"EINVAL\", \"EOVERFLOW\", \"EOPNOTSUPP\", \"ESHUTDOWN\" or \"ETIMEDOUT\"",
            lua_tostring(L, -1));
    lua_pop(L, 1);
    return errnum;
}

static LJMP double fail_chance(lua_State *L, int idx)
{
    double chance = 1;

    if (pv_lua_rawfield(L, idx, "chance") != LUA_TNIL) {
        if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) > 0 && lua_tonumber(L, -1) <= 1))
            pv_lua_raise(L, "fail option 'chance' must be a number above 0 and at most 1, got %s",
                         pv_lua_describe(L, -1));
        chance = lua_tonumber(L, -1);
    }
    lua_pop(L, 1);
    return chance;
}

static LJMP void fail_options(lua_State *L, int idx, struct pv_disk_fail *f)
{
    static const struct lua_opt opts[] = {{"op", OPT_STRING},
                                          {"from", OPT_INTEGER},
                                          {"to", OPT_INTEGER},
                                          {"errno", OPT_STRING},
                                          {"after", OPT_INTEGER},
                                          {"every", OPT_INTEGER},
                                          {"times", OPT_INTEGER},
                                          {"chance", OPT_ANY},
                                          {"seed", OPT_INTEGER},
                                          {"on_hit", OPT_ANY},
                                          {NULL, 0}};

    if (!pv_lua_check_opts(L, idx, "fail", opts))
        return;
    f->op = pv_lua_opt_op(L, idx, "fail", PV_DISK_ANY);
    f->from = (uint64_t)pv_lua_opt_integer(L, idx, "fail", "from", 0, LUA_MAXINTEGER, 0);
    f->to = (uint64_t)pv_lua_opt_integer(L, idx, "fail", "to", 0, LUA_MAXINTEGER, -1);
    f->errnum = fail_errno(L, idx);
    f->after = (uint64_t)pv_lua_opt_integer(L, idx, "fail", "after", 0, LUA_MAXINTEGER, 0);
    f->every = (uint64_t)pv_lua_opt_integer(L, idx, "fail", "every", 1, LUA_MAXINTEGER, 1);
    f->times = (uint64_t)pv_lua_opt_integer(L, idx, "fail", "times", 1, LUA_MAXINTEGER, 0);
    f->chance = fail_chance(L, idx);
    f->seed = (uint64_t)pv_lua_opt_integer(L, idx, "fail", "seed", LUA_MININTEGER, LUA_MAXINTEGER, 1);
}

/* Bytes a second, where "1M" is 10^6; 0: there is none. */
static LJMP uint64_t delay_rate(lua_State *L, int idx)
{
    static const char units[] = "kMG";
    double rate = 0, unit = 1;
    const char *s, *u;
    char *end;

    if (pv_lua_rawfield(L, idx, "rate") != LUA_TNIL) {
        s = lua_tostring(L, -1);
        rate = strtod(s, &end);
        for (u = units; *end && *u && unit < 1e9; u++) {
            unit *= 1000;
            if (*u == *end && !end[1])
                break;
        }
        if (end == s || (*end && (!*u || *u != *end || end[1])) || !(rate * unit >= 1) || rate * unit > 1e15)
            pv_lua_raise(L,
                         "delay option 'rate' must be bytes a second such as 500000 or \"1M\" (10^6), got %s",
                         pv_lua_describe(L, -1));
    }
    lua_pop(L, 1);
    return (uint64_t)(rate * unit);
}

static LJMP int rule_made(lua_State *L, struct lua_rule *h, struct pv_err *err)
{
    char place[LUA_WHERE_MAX];

    if (!h->r)
        return pv_lua_raise_err(L, err);
    pv_lua_place(L, place);
    pv_tf_rule_add(pv_lua_tf(L), h->r, place);
    return 1;
}

/* d:fail{op=, from=, to=, errno=, after=, every=, times=, chance=, seed=, on_hit=} */
int pv_lua_disk_fail(lua_State *L)
{
    struct pv_disk *d = pv_lua_served_disk(L, 1, "fail");
    struct pv_disk_fail f = PV_DISK_FAIL_INIT;
    struct lua_rule *h;
    struct pv_err err;

    lua_settop(L, 2);
    fail_options(L, 2, &f);
    h = rule_new(L, pv_lua_check_disk(L, 1, "fail")->vm);
    if (lua_istable(L, 2))
        rule_set_on_hit(L, 2, h, &f);
    h->r = pv_disk_fail(d, &f, &err);
    return rule_made(L, h, &err);
}

/* d:delay{op=, latency=, rate=} */
int pv_lua_disk_delay(lua_State *L)
{
    static const struct lua_opt opts[] = {
        {"op", OPT_STRING}, {"latency", OPT_TIME}, {"rate", OPT_SIZE}, {NULL, 0}};
    struct pv_disk *d = pv_lua_served_disk(L, 1, "delay");
    enum pv_disk_op op = PV_DISK_ANY;
    int64_t latency = 0;
    uint64_t rate = 0;
    struct lua_rule *h;
    struct pv_err err;

    lua_settop(L, 2);
    if (pv_lua_check_opts(L, 2, "delay", opts)) {
        op = pv_lua_opt_op(L, 2, "delay", op);
        latency = pv_lua_opt_time(L, 2, "delay", "latency", 0);
        rate = delay_rate(L, 2);
    }
    if (!latency && !rate)
        pv_lua_raise(L, "delay needs a latency (\"50ms\") or a rate (\"1M\", bytes a second)");
    h = rule_new(L, pv_lua_check_disk(L, 1, "delay")->vm);
    h->r = pv_disk_delay(d, op, latency, rate, &err);
    return rule_made(L, h, &err);
}

/* d:hang() */
int pv_lua_disk_hang(lua_State *L)
{
    pv_disk_hang(pv_lua_served_disk(L, 1, "hang"));
    return 0;
}

/* d:unhang() */
int pv_lua_disk_unhang(lua_State *L)
{
    pv_disk_unhang(pv_lua_served_disk(L, 1, "unhang"));
    return 0;
}

/* d:clear() */
int pv_lua_disk_clear(lua_State *L)
{
    pv_disk_clear(pv_lua_served_disk(L, 1, "clear"));
    return 0;
}

/* d:stats() */
int pv_lua_disk_stats(lua_State *L)
{
    static const char *const names[] = {"read", "write", "flush", "discard"};
    struct pv_disk_stats s;

    pv_disk_stats(pv_lua_served_disk(L, 1, "stats"), &s);
    lua_createtable(L, 0, PV_DISK_ANY);
    for (int op = 0; op < PV_DISK_ANY; op++) {
        lua_createtable(L, 0, 2);
        lua_pushinteger(L, (lua_Integer)s.requests[op]);
        lua_setfield(L, -2, "requests");
        if (op != PV_DISK_FLUSH) {
            lua_pushinteger(L, (lua_Integer)s.bytes[op]);
            lua_setfield(L, -2, "bytes");
        }
        lua_setfield(L, -2, names[op]);
    }
    return 1;
}

/* ---- the rule ---- */

static LJMP struct lua_rule *check_rule(lua_State *L, const char *method)
{
    struct lua_rule *h = luaL_testudata(L, 1, RULE_TYPE);

    if (!h || !h->r)
        pv_lua_raise(L, "rule.%s(...) got %s where the rule belongs; call it with a colon: rule:%s(...)",
                     method,
                     h                  ? "a closed one"
                     : lua_isnone(L, 1) ? "nothing"
                                        : pv_lua_describe(L, 1),
                     method);
    return h;
}

/* rule:hits() */
static int rule_hits(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)pv_disk_rule_hits(check_rule(L, "hits")->r));
    return 1;
}

struct hits_wait {
    const struct lua_rule *h;
    uint64_t n;
};

static bool hits_are_there(void *arg)
{
    const struct hits_wait *w = arg;

    return pv_disk_rule_hits(w->h->r) >= w->n || pv_guest_state(w->h->vm->g) != PV_GUEST_RUNNING;
}

/* rule:wait(n, timeout?) */
static int rule_wait(lua_State *L)
{
    struct lua_rule *h = check_rule(L, "wait");
    lua_Integer n = lua_isnoneornil(L, 2) ? 1 : pv_lua_sys_integer(L, 2, "wait", "the number of hits");
    int64_t timeout = pv_lua_check_time(L, 3, "wait", WAIT_TIMEOUT), deadline = pv_deadline(timeout);
    struct pv_testfile *tf = pv_lua_tf(L);
    struct hits_wait w = {h, (uint64_t)n};
    struct pv_err err;
    int rc;

    if (n < 1)
        pv_lua_raise(L, "wait: the number of hits must be at least 1, got %I", (LUAI_UACINT)n);
    if (tf->guest_env.until && tf->guest_env.until < deadline)
        deadline = tf->guest_env.until;
    pv_tf_call_begin(tf, h->vm->name, "waiting for %d hits of a rule", (int)n);
    rc = pv_loop_run(tf->loop, hits_are_there, &w, deadline, &err);
    pv_tf_step_end(tf, rc == 0 && pv_disk_rule_hits(h->r) >= w.n);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    if (pv_disk_rule_hits(h->r) >= w.n)
        return 0;
    pv_lua_check_expired(L);
    if (rc == 0)
        pv_err_set(&err, PV_E_GUEST_DIED, "the rule '%s' has %llu of %llu hits, and its VM %s is %s",
                   pv_disk_rule_text(h->r), (unsigned long long)pv_disk_rule_hits(h->r),
                   (unsigned long long)n, h->vm->name, pv_guest_state_name(pv_guest_state(h->vm->g)));
    else
        pv_err_set(
            &err, PV_E_TIMEOUT, "the rule '%s' has %llu of %llu hits after %.3g s (%llu requests matched)",
            pv_disk_rule_text(h->r), (unsigned long long)pv_disk_rule_hits(h->r), (unsigned long long)n,
            (double)timeout / PV_NSEC_PER_SEC, (unsigned long long)pv_disk_rule_matches(h->r));
    return pv_lua_raise_err(L, &err);
}

/* rule:remove() */
static int rule_remove(lua_State *L)
{
    pv_disk_rule_remove(check_rule(L, "remove")->r);
    return 0;
}

static int rule_tostring(lua_State *L)
{
    const struct lua_rule *h = check_rule(L, "tostring");

    lua_pushfstring(L, "rule: %s", pv_disk_rule_text(h->r));
    return 1;
}

static int rule_gc(lua_State *L)
{
    struct lua_rule *h = luaL_checkudata(L, 1, RULE_TYPE);

    if (h->r && h->main)
        pv_disk_rule_remove(h->r); /* its function is about to go */
    pv_disk_rule_unref(h->r);
    h->r = NULL;
    if (h->vm)
        h->vm->n_holds--;
    h->vm = NULL;
    return 0;
}

/* To the end of a block: the rule is taken back, its hits can be asked for. */
static int rule_close(lua_State *L)
{
    struct lua_rule *h = luaL_checkudata(L, 1, RULE_TYPE);

    if (h->r)
        pv_disk_rule_remove(h->r);
    return 0;
}

void pv_lua_open_rule(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"hits", rule_hits}, {"wait", rule_wait}, {"remove", rule_remove}, {NULL, NULL}};
    static const struct lua_type type = {.id = RULE_TYPE,
                                         .kind = "rule",
                                         .own = methods,
                                         .tostring = rule_tostring,
                                         .close = rule_close,
                                         .gc = rule_gc};

    pv_lua_open_type(L, &type);
}
