/* SPDX-License-Identifier: MIT */
/*
 * The life of one file's Lua state.
 *
 * Everything enters through a pcall with pv_lua_msgh (trace.c).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/standby.h"
#include "loop/loop.h"
#include "lua/build.h"
#include "lua/internal.h"
#include "lua/reset.h"
#include "lua/store.h"
#include "lua/watch.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

enum { TAIL_LINES = 20 };

/* ---- raising, and the class of what was raised ---- */

static void push_message(lua_State *L, const char *fmt, va_list ap)
{
    luaL_checkstack(L, 8, NULL);
    pv_lua_where(L);
    lua_pushvfstring(L, fmt, ap);
    lua_concat(L, 2);
}

int pv_lua_raise(lua_State *L, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    push_message(L, fmt, ap);
    va_end(ap);
    return lua_error(L);
}

int pv_lua_raise_as(lua_State *L, enum pv_class cls, const char *fmt, ...)
{
    struct pv_lua *pl = pv_lua_of(L);
    struct lua_raised *r = &pl->raised[pl->n_raised++ % N_RAISED];
    va_list ap;

    va_start(ap, fmt);
    push_message(L, fmt, ap);
    va_end(ap);
    free(r->text);
    r->text = pv_xstrdup(lua_tostring(L, -1));
    r->cls = cls;
    return lua_error(L);
}

enum pv_class pv_lua_class_of(const struct pv_lua *pl, const char *msg)
{
    for (unsigned i = 0; i < N_RAISED && i < pl->n_raised; i++) {
        const struct lua_raised *r = &pl->raised[(pl->n_raised - 1 - i) % N_RAISED];

        if (strstr(msg, r->text))
            return r->cls;
    }
    return PV_CLASS_LUA;
}

enum pv_class pv_lua_err_class(const struct pv_err *err)
{
    switch (err->cls) {
    case PV_E_TIMEOUT:
        return PV_CLASS_TIMEOUT;
    case PV_E_GUEST_DIED:
        return err->died == PV_DIED_PANIC  ? PV_CLASS_PANIC
               : err->died == PV_DIED_QEMU ? PV_CLASS_QEMU_DIED
                                           : PV_CLASS_AGENT_LOST;
    case PV_E_PROTOCOL: /* the agent's, or of the guest's driver */
        return PV_CLASS_AGENT_LOST;
    case PV_E_MISSING:
    case PV_E_HOST:
        return PV_CLASS_HARNESS;
    case PV_E_NONE:
    case PV_E_USAGE:
    case PV_E_GUEST: /* an answer that the test did not expect */
    case PV_E_CLASS_COUNT:
        break;
    }
    return PV_CLASS_LUA;
}

int pv_lua_raise_err(lua_State *L, const struct pv_err *err)
{
    pv_lua_met_death(pv_lua_of(L), err);
    if (err->cls == PV_E_TIMEOUT && pv_lua_expired(pv_lua_of(L)))
        return pv_lua_raise_expired(L); /* not the call's own limit */
    return pv_lua_raise_as(L, pv_lua_err_class(err), "%s", err->text);
}

/* ---- memory that the collector owns ---- */

struct tmp {
    void (*fini)(void *p);
    _Alignas(max_align_t) char data[];
};

static int tmp_gc(lua_State *L)
{
    struct tmp *t = lua_touserdata(L, 1);

    if (t->fini)
        t->fini(t->data);
    t->fini = NULL;
    return 0;
}

void *pv_lua_tmp(lua_State *L, size_t size, void (*fini)(void *p))
{
    struct tmp *t = lua_newuserdatauv(L, sizeof(*t) + size, 0);

    memset(t, 0, sizeof(*t) + size);
    if (luaL_newmetatable(L, "provium.tmp")) {
        lua_pushcfunction(L, tmp_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    t->fini = fini;
    return t->data;
}

bool pv_lua_find(struct pv_lua *pl, const char *path, char out[static PATH_MAX])
{
    const char *dirs[] = {NULL, pl->env->config ? pl->env->config->dir : NULL, pl->dir};

    for (size_t i = 0; i < PV_ARRAY_LEN(dirs); i++) {
        int n;

        if (i > 0 && (!dirs[i] || path[0] == '/'))
            continue;
        n = dirs[i] ? snprintf(out, PATH_MAX, "%s/%s", dirs[i], path) : snprintf(out, PATH_MAX, "%s", path);
        if (n <= 0 || n >= PATH_MAX)
            continue;
        pv_lua_reads(pl, out);
        if (access(out, F_OK) == 0)
            return true;
    }
    return false;
}

/* ---- the guests' environment ---- */

static void say_logs(struct pv_lua *pl)
{
    for (struct lua_guest *g = pl->guests; g; g = g->next) {
        const char *path = g->log_said || g->w ? NULL : pv_guest_log_path(g->g);

        if (!path)
            continue;
        if (pl->build) {
            cleanup_free char *vm = pv_xasprintf("%s of fixture %s", g->name, pl->build->name);

            pv_result_log(pl->env->result, vm, path);
        } else {
            pv_result_log(pl->env->result, g->name, path);
        }
        g->log_said = true;
    }
}

static void on_notice(const char *line, void *arg)
{
    struct pv_lua *pl = arg;

    pv_result_notice(pl->env->result, line);
}

void pv_lua_phase(struct pv_lua *pl, const char *what)
{
    if (pl->build)
        pv_lua_build_phase(pl->build, what);
    else
        pv_result_phase(pl->env->result, what);
}

static void on_phase(const char *vm, const char *what, void *arg)
{
    struct pv_lua *pl = arg;
    cleanup_free char *text = NULL;

    say_logs(pl);
    if (!strncmp(pl->doing, "booting", 7) && !strcmp(what, "booting"))
        text = pv_xstrdup(pl->doing);
    else if (!strncmp(pl->doing, "booting", 7))
        text = pv_xasprintf("%s (%s)", pl->doing, what);
    else if (pl->doing[0])
        return; /* the binding has said it in the test's own terms */
    else
        text = pv_xasprintf("%s: %s", vm, what);
    pv_lua_phase(pl, text);
}

static void on_reads(const char *path, void *arg)
{
    pv_lua_reads(arg, path);
}

/* The log's size, which is where its next byte goes. */
static int64_t console_size(const char *vm, void *arg)
{
    const struct pv_lua *pl = arg;

    for (const struct lua_guest *g = pl->guests; g; g = g->next) {
        const char *path = strcmp(g->name, vm) ? NULL : pv_guest_log_path(g->g);
        struct stat st;

        if (path)
            return stat(path, &st) == 0 ? st.st_size : -1;
    }
    return 0; /* it has not begun */
}

static void on_state(const char *vm, enum pv_guest_state state, void *arg)
{
    struct pv_lua *pl = arg;

    if (!pl->build) /* its names are not ours */
        pv_result_vm(pl->env->result, vm, pv_guest_state_name(state));
}

static void free_tail(struct pv_lua *pl)
{
    struct builder_tail *t = pl->tails;

    pl->tails = t->next;
    free(t->vm);
    free(t->text);
    free(t);
}

void pv_lua_send_tails(struct pv_lua *pl, uint32_t test_id)
{
    say_logs(pl);
    for (; pl->tails; free_tail(pl))
        pv_result_console(pl->env->result, test_id, pl->tails->vm, pl->tails->text);
    for (struct lua_guest *g = pl->guests; g; g = g->next) {
        cleanup_buf struct pv_buf tail = {0};

        if (g->w)
            continue; /* its console is its VM's */
        pv_guest_console_tail(g->g, TAIL_LINES, &tail);
        if (tail.len == 0 || (g->last_tail && !strcmp(g->last_tail, tail.data)))
            continue;
        pv_result_console(pl->env->result, test_id, g->name, tail.data);
        free(g->last_tail);
        g->last_tail = pv_steal(&tail.data);
    }
}

/* ---- a file ---- */

/* Opens the libraries and leaves the file's chunk on the stack; upvalues none, raises. */
static int open_and_load(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);

    pv_lua_landing_open(L, &pl->landing);
    luaL_openlibs(L);
    pv_lua_open_scripts(L);
    pv_lua_open_strings(L);
    pv_lua_open_test(L);
    pv_lua_open_limit(L);
    pv_lua_open_assert(L);
    pv_lua_open_vm(L);
    pv_lua_open_watch(L);
    pv_lua_reads(pl, pl->build ? pl->build->script : pl->path);
    if (luaL_loadfilex(L, pl->path, "t") != LUA_OK) {
        pv_lua_add_error_line(L, pl->path);
        return lua_error(L);
    }
    return 1;
}

bool pv_lua_run(lua_State *L, struct pv_lua *pl, int results)
{
    int rc;

    pl->error_cls = PV_CLASS_LUA;
    lua_pushcfunction(L, open_and_load);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK)
        return false;
    lua_pushcfunction(L, pv_lua_msgh);
    lua_insert(L, 1);
    rc = lua_pcall(L, 0, results, 1);
    lua_remove(L, 1);
    if (rc == LUA_OK)
        return true;
    if (rc != LUA_ERRRUN) /* out of memory: no handler was asked */
        pl->error_cls = PV_CLASS_LUA;
    if (!pv_lua_is_skip(L, -1))
        return false;
    return pl->outcome != PV_OK; /* always so: skip() sets it before it raises */
}

static enum pv_outcome verdict(const struct pv_lua *pl, bool ok)
{
    if (!ok || pl->n_failed)
        return PV_FAIL;
    if (pl->outcome != PV_OK)
        return pl->outcome;
    if (pl->n_deselected && !pl->n_tests)
        return PV_SKIP;
    return pl->touched ? PV_OK : PV_HELPER;
}

lua_State *pv_lua_open(struct pv_lua *pl, struct pv_err *err)
{
    struct rlimit files;
    lua_State *L;

    /* Each VM needs about ten. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* a pipe: what was printed before a crash must not be lost */
    pl->loop = pv_loop_new(err);
    L = pl->loop ? luaL_newstate() : NULL;
    if (!L) {
        if (pl->loop)
            pv_err_set(err, PV_E_HOST, "no memory for a Lua state");
        pv_lua_close(pl, NULL);
        return NULL;
    }
    pl->guest_env = (struct pv_guest_env){
        .host = {.loop = pl->loop,
                 .accel = pl->env->accel,
                 .auto_transport = pl->build ? PV_TRANSPORT_SERIAL : PV_TRANSPORT_AUTO,
                 .log_dir = pl->env->log_dir},
        .pool = {.acquire = pv_lua_pool_take,
                 .release = pv_lua_pool_give,
                 .try_acquire = pv_lua_pool_stand_by,
                 .preemptible = pv_lua_pool_stand_by_process,
                 .claim = pv_lua_pool_stand_by_claim,
                 .arg = pl},
        .observer = {.notice = on_notice,
                     .phase = on_phase,
                     .state = on_state,
                     .finding = pv_lua_on_finding,
                     .reads = pl->build ? on_reads : NULL,
                     .arg = pl},
    };
    if (!pl->build && pl->env->config && pl->env->config->standby)
        pl->guest_env.standby_pool = pv_standby_pool_new(&pl->guest_env);
    pv_result_set_console_size(pl->env->result, console_size, pl);
    *(struct pv_lua **)lua_getextraspace(L) = pl;
    return L;
}

void pv_lua_close(struct pv_lua *pl, lua_State *L)
{
    pv_standby_pool_free(pl->guest_env.standby_pool);
    pl->guest_env.standby_pool = NULL;
    pv_lua_kill_guests(pl);
    if (L)
        lua_close(L);
    free(pl->landing.block);
    pv_lua_reset_free(pl);
    while (pl->tails)
        free_tail(pl);
    pv_lua_free_guests(pl);
    pv_lua_free_findings(pl);
    pv_lua_store_close(pl);
    pv_loop_free(pl->loop);
    free(pl->dir);
    free(pl->reason);
    for (size_t i = 0; i < N_RAISED; i++)
        free(pl->raised[i].text);
}

int pv_lua_run_file(const struct pv_lua_env *env, const char *path)
{
    struct pv_lua pl = {.env = env, .path = path, .dir = pv_path_dirname(path)};
    cleanup_free char *msg = NULL;
    struct pv_err err = PV_ERR_INIT;
    enum pv_outcome outcome;
    enum pv_class cls;
    lua_State *L = pv_lua_open(&pl, &err);
    bool ok;

    if (!L) {
        pv_result_file(env->result, PV_FAIL, PV_CLASS_HARNESS, err.text);
        return 1;
    }
    ok = pv_lua_run(L, &pl, 0);
    if (!ok)
        msg = pv_xstrdup(lua_tostring(L, -1) ? lua_tostring(L, -1) : "error without a message");
    else if (pl.reason)
        msg = pv_xstrdup(pl.reason);
    cls = ok ? PV_CLASS_NONE : pl.error_cls;
    outcome = verdict(&pl, ok);
    if (outcome == PV_SKIP && !msg && pl.outcome == PV_OK)
        msg = pv_lua_none_selected(&pl);
    pv_lua_settle_findings(&pl);
    pv_lua_judge_findings(&pl, PV_NO_TEST, &outcome, &cls, &msg);
    if (!ok || cls != PV_CLASS_NONE)
        pv_lua_send_tails(&pl, PV_NO_TEST);
    else
        say_logs(&pl);
    pv_lua_close(&pl, L);
    fflush(stdout);
    pv_result_file(env->result, outcome, cls, msg);
    return outcome == PV_FAIL;
}
