/* SPDX-License-Identifier: MIT */
/* provium.fixture, and `provium fixture build`. */
#include <stdio.h>
#include <stdlib.h>

#include "guest/guest.h"
#include "guest/nic.h"
#include "lua/handle.h"
#include "lua/network.h"
#include "lua/open.h"
#include "lua/options.h"
#include "lua/provium.h"
#include "lua/raise.h"
#include "lua/run.h"
#include "lua/skip.h"
#include "lua/tmp.h"
#include "lua/trace.h"
#include "testfile/builder-main.h"
#include "testfile/nets.h"
#include "testfile/request.h"
#include "testfile/script.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

#define DEFAULT_TIMEOUT (300 * PV_NSEC_PER_SEC)

static void request_fini(void *p)
{
    pv_tf_request_fini(p);
}

/* ---- in the builder's process ---- */

/* For tf_build_opts. */
static void run_fixture_script(struct pv_testfile *tf)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_lua pl;
    lua_State *L = pv_lua_open(&pl, tf, &err);
    struct tf_script_end end = {0};

    if (!L || pv_tf_store_begin(tf, &err) < 0) {
        pv_tf_builder_fail(tf, &err);
        return;
    }
    end.ok = pv_lua_run(L, &pl, LUA_MULTRET);
    if (!end.ok) {
        end.cls = pl.error_cls;
        end.text = pv_lua_message(L, -1);
    } else if (!lua_isnoneornil(L, 1)) {
        end.vm = pv_lua_vm_at(L, 1);
        end.returned = pv_lua_worker_at(L, 1) ? "worker" : luaL_typename(L, 1);
    }
    pv_tf_builder_end(tf, &end);
    pv_lua_close(&pl, L);
}

/* ---- provium.fixture(name, {timeout=, name=, nets=}?) ---- */

/* The build gave no entry. */
static LJMP int raise_build_failure(lua_State *L, const struct tf_request *r)
{
    const char *reason = r->text && *r->text ? r->text : NULL;
    char *text;

    if (r->outcome == TF_BUILD_SKIPPED || r->outcome == TF_BUILD_TODO)
        return pv_lua_leave(L, r->outcome == TF_BUILD_TODO ? PV_TODO : PV_SKIP, reason);
    text = pv_tf_request_failure(r);
    lua_pushstring(L, text); /* raises only without memory */
    free(text);
    return pv_lua_raise_as(L, r->cls, "%s", lua_tostring(L, -1));
}

/* The NICs that a test asks for. */
struct fixture_nics {
    struct pv_guest_nic v[PV_VM_NICS_MAX];
    size_t n;
};

/* Plugs them into the VM, or kills it. */
static int fixture_plug(struct pv_testfile *tf, struct tf_guest *g, struct fixture_nics *nics,
                        int64_t deadline, struct pv_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < nics->n; i++)
        pv_tf_net_own(pv_tf_net_end_of(nics->v[i].wire), g->g);
    if (nics->n)
        pv_tf_call_begin(tf, g->name, "plugging NICs into %s", g->name);
    for (size_t i = 0; rc >= 0 && i < nics->n; i++)
        rc = pv_guest_plug(g->g, &nics->v[i], pv_left(deadline), err);
    if (nics->n)
        pv_tf_step_end(tf, rc >= 0);
    if (rc >= 0)
        return 0;
    pv_guest_kill(g->g);
    pv_lua_leave_nets(nics->v, nics->n);
    return -1;
}

/* The options' table, which owns the name, is at 2. */
static LJMP int64_t fixture_read_opts(lua_State *L, const char **name, struct fixture_nics *nics)
{
    static const struct lua_opt opts[] = {
        {"timeout", OPT_TIME}, {"name", OPT_STRING}, {"nets", OPT_TABLE}, {NULL, 0}};
    int64_t timeout = DEFAULT_TIMEOUT;

    if (!pv_lua_check_opts(L, 2, "fixture", opts))
        return timeout;
    *name = pv_lua_opt_vm_name(L, 2, "fixture");
    timeout = pv_lua_opt_time(L, 2, "fixture", "timeout", DEFAULT_TIMEOUT);
    if (pv_lua_rawfield(L, 2, "nets") != LUA_TNIL)
        nics->n = pv_lua_read_nets(L, NULL, nics->v);
    lua_pop(L, 1);
    return timeout;
}

int pv_lua_fixture(lua_State *L)
{
    struct pv_testfile *tf = pv_lua_tf(L);
    const char *name = pv_lua_check_cstring(L, 1, "the fixture's name"), *vm_name = NULL;
    struct pv_guest *vm = NULL;
    struct tf_guest **handle;
    struct tf_request *r;
    struct fixture_nics nics = {.n = 0};
    int64_t timeout, deadline;
    char *script;
    struct pv_err err;
    int rc;

    lua_settop(L, 2);
    tf->touched = true;
    r = pv_lua_tmp(L, sizeof(*r), request_fini);
    handle = pv_lua_new_vm(L);
    timeout = fixture_read_opts(L, &vm_name, &nics); /* from here on an error needs pv_lua_leave_nets */
    script = pv_tf_script_find(tf, name, &err);
    rc = script ? 0 : -1;
    if (script) {
        pv_tf_request_init(r, tf, name, script, timeout, run_fixture_script);
        r->vm_name = vm_name;
        rc = pv_tf_request_check_recursion(r, &err) < 0 ? -1 : pv_tf_request_vm(r, &vm, &err);
    }
    *handle = rc > 0 ? pv_tf_guest_join(&tf->guests, vm, &err) : NULL;
    if (!*handle)
        pv_lua_leave_nets(nics.v, nics.n);
    if (rc == 0)
        return raise_build_failure(L, r);
    if (!*handle)
        return pv_lua_raise_err(L, &err);
    deadline = r->deadline;
    pv_tf_request_fini(r); /* now: it holds the lock, and the collector may be late */
    return fixture_plug(tf, *handle, &nics, deadline, &err) < 0 ? pv_lua_raise_err(L, &err) : 1;
}

struct pv_guest *pv_lua_fixture_vm(struct pv_testfile *tf, const char *name, struct pv_err *err)
{
    char *script = pv_tf_script_find(tf, name, err);
    struct pv_guest *vm = NULL;
    struct tf_request r;
    int rc;

    if (!script)
        return NULL;
    pv_tf_request_init(&r, tf, name, script, DEFAULT_TIMEOUT, run_fixture_script);
    rc = pv_tf_request_vm(&r, &vm, err);
    if (rc == 0) {
        cleanup_free char *text = pv_tf_request_failure(&r);

        pv_err_set(err, PV_E_GUEST, "%s", text);
    }
    pv_tf_request_fini(&r);
    return rc > 0 ? vm : NULL;
}

/* ---- provium fixture build ---- */

struct build_order {
    const char *name, *script; /* absolute, without links */
    bool rebuild;
};

static int build_one(lua_State *L)
{
    const struct build_order *o = lua_touserdata(L, 1);
    struct tf_request *r = pv_lua_tmp(L, sizeof(*r), request_fini);
    struct pv_testfile *tf = pv_lua_tf(L);
    struct pv_err err;
    int rc;

    pv_lua_open_skip(L);
    /* no deadline: the runner keeps one for the process */
    pv_tf_request_init(r, tf, o->name, pv_xstrdup(o->script), PV_FOREVER, run_fixture_script);
    if (o->rebuild && pv_tf_store_forget(tf, &r->f, &err) < 0)
        return pv_lua_raise_err(L, &err);
    rc = pv_tf_request_build(r, &err);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    return rc == 0 ? raise_build_failure(L, r) : 0;
}

int pv_lua_build_fixture(const struct pv_testfile_env *env, const char *script, bool rebuild)
{
    cleanup_free char *path = pv_realpath(script), *name = pv_tf_script_name(script), *msg = NULL;
    struct build_order o = {.name = name, .script = path ? path : script, .rebuild = rebuild};
    struct pv_testfile tf = {.env = env, .path = script, .dir = pv_path_dirname(script)};
    struct pv_err err = PV_ERR_INIT;
    enum pv_outcome outcome = PV_OK;
    enum pv_class cls = PV_CLASS_NONE;
    struct pv_lua pl;
    lua_State *L = pv_lua_open(&pl, &tf, &err);

    if (!L) {
        pv_result_file(env->result, PV_FAIL, PV_CLASS_HARNESS, err.text);
        return 1;
    }
    lua_pushcfunction(L, pv_lua_msgh);
    lua_pushcfunction(L, build_one);
    lua_pushlightuserdata(L, &o);
    if (lua_pcall(L, 1, 0, 1) != LUA_OK) {
        bool left = pv_lua_is_skip(L, -1);

        outcome = left ? tf.tests.outcome : PV_FAIL;
        cls = left ? PV_CLASS_NONE : pl.error_cls;
        msg =
            left ? (tf.tests.reason ? pv_xstrdup(tf.tests.reason) : NULL) : pv_xstrdup(pv_lua_message(L, -1));
    }
    if (outcome == PV_FAIL)
        pv_tf_tails_send(&tf, PV_NO_TEST);
    pv_lua_close(&pl, L);
    fflush(stdout);
    pv_result_file(env->result, outcome, cls, msg);
    return outcome == PV_FAIL;
}
