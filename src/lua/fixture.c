/* SPDX-License-Identifier: MIT */
/*
 * provium.fixture.  A request goes round until it has a VM:
 *
 *     entry in the store?  resume from it; damaged: it is dropped, and round again
 *     its lock free?       build in a process of its own, and round again
 *     held by another?     wait for that build, and round again
 *
 * All in the file's own loop, so its VMs are served meanwhile.
 */
#include "lua/fixture.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest/snapshot.h"
#include "lua/build.h"
#include "lua/store.h"

#include "lua/vm.h"
#include "childproto/lease.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"

#define DEFAULT_TIMEOUT (300 * PV_NSEC_PER_SEC)

enum {
    LOOK_MS = 50,   /* between two looks at a lock that another process holds */
    MAX_BUILDS = 2, /* after a builder that was killed, or an input that changed, once more */
    MAX_DAMAGED =
        3 /* entries that are found damaged and built anew before something is wrong with the disk */
};

struct request {
    struct pv_lua *pl;
    const char *name;
    char *script;
    struct pv_fixture_script f;
    int64_t timeout, deadline;
    struct lua_entry *entry;
    struct pv_store_lock *lock;
    struct lua_builder builder;
    unsigned n_built, n_damaged;
    bool damaged;         /* the entry that was last tried */
    int64_t waited_since; /* wall clock; 0: it did not have to wait for another's build */
    /* what the builder said at its end */
    enum builder_outcome outcome;
    enum pv_class cls;
    char *text;
};

static void request_fini(void *p)
{
    struct request *r = p;

    pv_lua_builder_end(&r->builder);
    pv_lua_store_unlock(r->lock);
    r->lock = NULL;
    free(r->script);
    r->script = NULL;
    free(r->text);
    r->text = NULL;
}

/* ---- steps that do not raise ---- */

static int timed_out(const struct request *r, const char *doing, struct pv_err *err)
{
    return pv_err_set(err, PV_E_TIMEOUT, "fixture '%s' was not there within %.3g s: %s", r->name,
                      (double)r->timeout / PV_NSEC_PER_SEC, doing);
}

static void on_build_phase(const char *phase, void *arg)
{
    struct request *r = arg;
    cleanup_free char *text = pv_xasprintf("building fixture %s%s%s", r->name, *phase ? ": " : "", phase);

    pv_lua_phase(r->pl, text);
}

static bool built(void *arg)
{
    return ((struct request *)arg)->builder.outcome != BUILDER_RUNNING;
}

/* Consoles of a build that failed are shown with the failure. */
static void keep_tails(struct request *r)
{
    while (r->builder.tails) {
        struct builder_tail *t = r->builder.tails, **end = &r->pl->tails;

        r->builder.tails = t->next;
        t->next = NULL;
        while (*end)
            end = &(*end)->next;
        *end = t;
    }
}

/* Under the lock. 0: look again, or r->outcome says how it failed; -1: it could not be done. */
static int build(lua_State *L, struct request *r, struct pv_err *err)
{
    struct builder_opts o = {.name = r->name, .script = r->script, .deadline = r->deadline};
    int rc;

    pv_lua_begin_step(L, NULL, PV_STEP_BUILD, "building fixture %s", r->name);
    r->n_built++;
    r->builder.on_phase = on_build_phase;
    r->builder.arg = r;
    rc = pv_lua_builder_start(&r->builder, r->pl, &o, err);
    if (rc == 0)
        rc = pv_loop_run(r->pl->loop, built, r, r->deadline, err);
    r->outcome = r->builder.outcome;
    r->cls = r->builder.cls;
    free(r->text);
    r->text = r->builder.text ? pv_xstrdup(r->builder.text) : NULL;
    if (rc > 0) {
        cleanup_free char *doing =
            pv_xasprintf("it was still being built%s%s", r->builder.phase && *r->builder.phase ? ": " : "",
                         r->builder.phase ? r->builder.phase : "");

        pv_lua_builder_kill(&r->builder);
        timed_out(r, doing, err);
    }
    keep_tails(r);
    pv_lua_builder_end(&r->builder);
    if (rc == 0)
        pv_lua_store_tell(r->lock, r->outcome == BUILDER_DONE
                                       ? NULL
                                       : &(struct lua_verdict){(int)r->outcome, (int)r->cls, r->text});
    pv_lua_store_unlock(r->lock);
    r->lock = NULL;
    pv_lua_end(L, rc == 0 && r->outcome == BUILDER_DONE);
    if (rc == 0 && r->n_built < MAX_BUILDS && (r->outcome == BUILDER_DIED || r->outcome == BUILDER_MOVED)) {
        cleanup_free char *line =
            pv_xasprintf(r->outcome == BUILDER_DIED
                             ? "the process that built fixture '%s' ended too early (%s): it is built again"
                             : "while fixture '%s' was built, %s: it is built again",
                         r->name, r->text);

        pv_result_notice(r->pl->env->result, line);
        r->outcome = BUILDER_DONE;
    }
    return rc ? -1 : 0;
}

/* Another process holds the lock. 0: look again. */
static int wait_for_other(lua_State *L, struct request *r, pid_t holder, struct pv_err *err)
{
    char doing[128];
    int rc;

    snprintf(doing, sizeof(doing), "waiting for fixture %.60s (built by process %ld)", r->name, (long)holder);
    if (!r->waited_since)
        r->waited_since = pv_wall_now();
    pv_lua_begin_step(L, NULL, PV_STEP_WAIT, "%s", doing);
    if (r->pl->env->lease)
        pv_lease_block(r->pl->env->lease, true);
    do {
        int64_t next = pv_deadline(LOOK_MS * PV_NSEC_PER_MSEC);

        rc = pv_loop_run(r->pl->loop, NULL, NULL, next < r->deadline ? next : r->deadline, err);
        if (rc < 0)
            break;
        rc = pv_lua_store_lock(r->pl, &r->f, &r->lock, &holder, err);
    } while (rc == 0 && pv_now() < r->deadline);
    if (r->pl->env->lease)
        pv_lease_block(r->pl->env->lease, false);
    pv_lua_end(L, rc > 0);
    if (rc == 0)
        return timed_out(r, doing, err);
    return rc < 0 ? -1 : 0;
}

/* Whether the build that it waited for failed: then it would fail here too, and that is what is told. */
static bool failed_for_other(struct request *r)
{
    struct lua_verdict v = {0};

    if (!r->waited_since || !pv_lua_store_told(r->lock, r->waited_since, &v))
        return false;
    if (v.outcome != BUILDER_FAILED && v.outcome != BUILDER_SKIPPED && v.outcome != BUILDER_TODO) {
        free(v.text); /* it was killed, or its inputs changed: that need not be so again */
        return false;
    }
    r->outcome = (enum builder_outcome)v.outcome;
    r->cls = v.cls >= 0 && v.cls < PV_CLASS_COUNT ? (enum pv_class)v.cls : PV_CLASS_LUA;
    free(r->text);
    r->text = v.text;
    return true;
}

/* 1: r->entry is there; 0: it failed, as r->outcome says; -1. */
static int obtain(lua_State *L, struct request *r, struct pv_err *err)
{
    for (;;) {
        pid_t holder = 0;
        int rc = pv_lua_store_get(r->pl, &r->f, &r->entry, err);

        if (rc != 0)
            return rc;
        rc = r->lock ? 1 : pv_lua_store_lock(r->pl, &r->f, &r->lock, &holder, err);
        if (rc == 0)
            rc = wait_for_other(L, r, holder, err);
        else if (rc > 0) {
            /* who had the lock may have built it between our two looks */
            rc = pv_lua_store_get(r->pl, &r->f, &r->entry, err);
            if (rc == 0 && !failed_for_other(r))
                rc = build(L, r, err);
            if (rc == 0 && r->outcome != BUILDER_DONE) {
                pv_lua_store_unlock(r->lock);
                r->lock = NULL;
                return 0;
            }
        }
        pv_lua_store_unlock(r->lock);
        r->lock = NULL;
        if (rc != 0)
            return rc;
    }
}

/* While QEMU starts. */
static int check_entry(void *arg, struct pv_err *err)
{
    struct request *r = arg;
    int rc = pv_lua_store_verify(r->entry, err);

    r->damaged = rc < 0;
    return rc;
}

/* The VM; NULL with *err, and r->damaged when the entry is at fault. */
static struct pv_guest *resume(lua_State *L, struct request *r, struct pv_err *err)
{
    int64_t left = r->deadline - pv_now();
    struct pv_resume_opts o = {.timeout_ns = left > 0 ? left : 1, .check = check_entry, .arg = r};
    struct pv_snapshot *s = pv_lua_store_snapshot(r->pl, r->entry, err);
    struct pv_guest *g = NULL;

    if (!s) {
        r->damaged = err->cls == PV_E_HOST;
        return NULL;
    }
    pv_lua_begin_step(L, NULL, PV_STEP_RESUME, "resuming fixture %s", r->name);
    g = pv_guest_resume(&r->pl->guest_env, s, &o, err);
    pv_lua_end(L, g != NULL);
    return g;
}

/* An entry that can not be resumed from; false when enough of them were seen. */
static bool give_up_entry(struct request *r, const struct pv_err *err)
{
    cleanup_free char *line = NULL;

    /* What its checksums say is right and QEMU does not take: another QEMU, or a defect of ours. */
    if (!r->damaged && !(err->cls == PV_E_GUEST_DIED && r->n_damaged == 0))
        return false;
    if (++r->n_damaged > MAX_DAMAGED)
        return false;
    line = pv_xasprintf("the cached fixture '%s' is damaged and is built again: %.*s", r->name,
                        (int)strcspn(err->text, "\n"), err->text);
    pv_result_notice(r->pl->env->result, line);
    pv_lua_store_drop(r->pl, r->entry);
    r->entry = NULL;
    r->damaged = false;
    return true;
}

/* ---- provium.fixture(name, {timeout=}?) ---- */

/* "a needs b needs a" when the fixture is being built already, by those who ask for it here. */
static LJMP void check_recursion(lua_State *L, const struct lua_build *b, const struct request *r)
{
    const struct lua_build *first = b;
    luaL_Buffer text;
    size_t n = 0;
    const struct lua_build *chain[64];

    for (; first && n < PV_ARRAY_LEN(chain); first = first->outer) {
        chain[n++] = first;
        if (!strcmp(first->script, r->script))
            break;
    }
    if (!first)
        return;
    luaL_buffinit(L, &text);
    while (n > 0) {
        luaL_addstring(&text, chain[--n]->name);
        luaL_addstring(&text, " needs ");
    }
    luaL_addstring(&text, r->name);
    luaL_pushresult(&text);
    pv_lua_raise(L, "a fixture can not be made from itself: %s", lua_tostring(L, -1));
}

/* The build did not give an entry. */
static LJMP int raise_outcome(lua_State *L, const struct request *r)
{
    const char *text = r->text ? r->text : "";

    if (r->outcome == BUILDER_SKIPPED || r->outcome == BUILDER_TODO)
        return pv_lua_leave(L, r->outcome == BUILDER_TODO ? PV_TODO : PV_SKIP, *text ? text : NULL);
    if (r->outcome == BUILDER_MOVED)
        return pv_lua_raise_as(L, r->cls, "fixture '%s' failed: each time that it was built, %s meanwhile",
                               r->name, text);
    if (r->outcome == BUILDER_DIED)
        return pv_lua_raise_as(L, r->cls, "fixture '%s' failed: its process ended too early: %s", r->name,
                               text);
    return pv_lua_raise_as(L, r->cls, "fixture '%s' failed: %s", r->name, text);
}

static LJMP struct pv_guest *get_vm(lua_State *L, struct request *r)
{
    struct pv_err err;

    for (;;) {
        struct pv_guest *g;
        int rc = obtain(L, r, &err);

        if (rc < 0)
            pv_lua_raise_err(L, &err);
        if (rc == 0)
            raise_outcome(L, r);
        if (r->pl->build)
            pv_lua_build_needs(r->pl->build, r->entry);
        g = resume(L, r, &err);
        if (g)
            return g;
        if (!give_up_entry(r, &err)) {
            pv_err_wrap(&err, "fixture '%s'", r->name);
            pv_lua_raise_err(L, &err);
        }
    }
}

int pv_lua_fixture(lua_State *L)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};
    struct pv_lua *pl = pv_lua_of(L);
    const char *name = pv_lua_check_cstring(L, 1, "the fixture's name");
    struct request *r;
    struct lua_guest **handle;
    struct pv_err err;

    lua_settop(L, 2);
    pl->touched = true;
    r = pv_lua_tmp(L, sizeof(*r), request_fini);
    *r = (struct request){.pl = pl, .name = name, .timeout = DEFAULT_TIMEOUT};
    if (pv_lua_check_opts(L, 2, "fixture", opts))
        r->timeout = pv_lua_opt_time(L, 2, "fixture", "timeout", DEFAULT_TIMEOUT);
    r->deadline = pv_deadline(r->timeout);
    if (pv_lua_until(pl) < r->deadline)
        r->deadline = pv_lua_until(pl);
    r->script = pv_lua_fixture_find(pl, name, &err);
    if (!r->script)
        return pv_lua_raise_err(L, &err);
    r->f = (struct pv_fixture_script){name, r->script};
    check_recursion(L, pl->build, r);
    handle = pv_lua_new_handle(L, false);
    *handle = pv_lua_add_vm(pl, get_vm(L, r));
    request_fini(r); /* now: the entry may go, and the collector may be late */
    return 1;
}

/* ---- provium fixture build ---- */

char *pv_lua_fixture_name(const char *script)
{
    const char *name = script, *at, *base;
    size_t n;

    for (at = strstr(script, "/fixtures/"); at; at = strstr(at + 1, "/fixtures/"))
        name = at + strlen("/fixtures/");
    base = name == script ? pv_path_basename(script) : name;
    n = strlen(base);
    return pv_xstrndup(base, n > 4 && !strcmp(base + n - 4, ".lua") ? n - 4 : n);
}

/* What build_one is asked for. */
struct build_order {
    const char *name, *script; /* absolute, without links */
    bool rebuild;
};

static int build_one(lua_State *L)
{
    const struct build_order *o = lua_touserdata(L, 1);
    struct pv_lua *pl = pv_lua_of(L);
    struct request *r = pv_lua_tmp(L, sizeof(*r), request_fini);
    struct pv_err err;
    int rc;

    /* no deadline but the one that the runner keeps */
    *r = (struct request){.pl = pl,
                          .name = o->name,
                          .script = pv_xstrdup(o->script),
                          .timeout = PV_FOREVER,
                          .deadline = PV_FOREVER};
    r->f = (struct pv_fixture_script){o->name, r->script};
    if (o->rebuild && pv_lua_store_forget(pl, &r->f, &err) < 0)
        return pv_lua_raise_err(L, &err);
    rc = obtain(L, r, &err);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    return rc == 0 ? raise_outcome(L, r) : 0;
}

int pv_lua_build_fixture(const struct pv_lua_env *env, const char *script, bool rebuild)
{
    cleanup_free char *path = realpath(script, NULL), *name = pv_lua_fixture_name(script), *msg = NULL;
    struct build_order o = {.name = name, .script = path ? path : script, .rebuild = rebuild};
    struct pv_lua pl = {.env = env, .path = script, .dir = pv_path_dirname(script)};
    struct pv_err err = PV_ERR_INIT;
    enum pv_outcome outcome = PV_OK;
    enum pv_class cls = PV_CLASS_NONE;
    lua_State *L = pv_lua_open(&pl, &err);

    if (!L) {
        pv_result_file(env->result, PV_FAIL, PV_CLASS_HARNESS, err.text);
        return 1;
    }
    lua_pushcfunction(L, pv_lua_msgh);
    lua_pushcfunction(L, build_one);
    lua_pushlightuserdata(L, &o);
    if (lua_pcall(L, 1, 0, 1) != LUA_OK) {
        bool left = pv_lua_is_skip(L, -1);

        outcome = left ? pl.outcome : PV_FAIL;
        cls = left ? PV_CLASS_NONE : pl.error_cls;
        msg = left ? (pl.reason ? pv_xstrdup(pl.reason) : NULL) : pv_xstrdup(lua_tostring(L, -1));
    }
    if (outcome == PV_FAIL)
        pv_lua_send_tails(&pl, PV_NO_TEST);
    pv_lua_close(&pl, L);
    fflush(stdout);
    pv_result_file(env->result, outcome, cls, msg);
    return outcome == PV_FAIL;
}
