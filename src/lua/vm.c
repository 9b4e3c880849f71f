/* SPDX-License-Identifier: MIT */
/*
 * The `provium` table, the types VM and worker, and a VM's end.  A handle is a userdata that points into the
 * file's list of guests; the list owns them, so that all are ended whatever happens to the handles.
 */
#include "lua/vm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lua/build.h"
#include "lua/fixture.h"
#include "lua/json.h"
#include "lua/reset.h"
#include "lua/watch.h"
#include "util/err.h"
#include "util/parse.h"

#define VM_TYPE "provium.vm"
#define WORKER_TYPE "provium.worker"

/* VMs and workers that are over and that no variable refers to: so many stay, at most twice as many. */
enum { KEPT_GUESTS = 100 };

/* The handle at idx, whichever kind; NULL when it is something else or was never filled in. */
static struct lua_guest **handle(lua_State *L, int idx)
{
    struct lua_guest **h = luaL_testudata(L, idx, VM_TYPE);

    if (!h)
        h = luaL_testudata(L, idx, WORKER_TYPE);
    return h && *h ? h : NULL;
}

struct lua_guest *pv_lua_guest_at(lua_State *L, int idx)
{
    struct lua_guest **h = handle(L, idx);

    return h ? *h : NULL;
}

struct lua_guest *pv_lua_check_vm(lua_State *L, const char *method)
{
    struct lua_guest **h = handle(L, 1);

    if (!h)
        pv_lua_raise(L, "vm.%s(...) got %s where the VM belongs; call it with a colon: vm:%s(...)", method,
                     lua_isnone(L, 1) ? "nothing" : pv_lua_describe(L, 1), method);
    return *h;
}

/* The lane of a guest is its VM's: a worker has no console of its own. */
static const char *lane(const struct pv_lua *pl, const struct lua_guest *g)
{
    for (const struct lua_guest *v = g && g->w ? pl->guests : NULL; v; v = v->next)
        if (!v->w && v->g == g->g)
            return v->name;
    return g ? g->name : NULL;
}

static void begin(struct pv_lua *pl, const struct lua_guest *g, enum pv_step kind, const char *fmt,
                  va_list ap)
{
    vsnprintf(pl->doing, sizeof(pl->doing), fmt, ap);
    pv_lua_phase(pl, pl->doing);
    if (pl->n_steps < PV_ARRAY_LEN(pl->steps))
        pl->steps[pl->n_steps] = pv_result_step_begin(pl->env->result, lane(pl, g), kind, pl->doing);
    pl->n_steps++;
}

void pv_lua_begin(lua_State *L, const struct lua_guest *g, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    begin(pv_lua_of(L), g, PV_STEP_CALL, fmt, ap);
    va_end(ap);
}

void pv_lua_begin_step(lua_State *L, const struct lua_guest *g, enum pv_step kind, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    begin(pv_lua_of(L), g, kind, fmt, ap);
    va_end(ap);
}

void pv_lua_end(lua_State *L, bool ok)
{
    struct pv_lua *pl = pv_lua_of(L);

    if (!ok && !pl->late_doing[0] && pv_lua_expired(pl))
        snprintf(pl->late_doing, sizeof(pl->late_doing), "%s", pl->doing);
    pl->doing[0] = '\0';
    pv_lua_phase(pl, "");
    if (pl->n_steps > 0 && --pl->n_steps < PV_ARRAY_LEN(pl->steps))
        pv_result_step_end(pl->env->result, pl->steps[pl->n_steps], ok);
}

/* vm:shutdown({timeout=10}?) */
static int vm_shutdown(lua_State *L)
{
    static const struct lua_opt opts[] = {{"timeout", OPT_TIME}, {NULL, 0}};
    struct lua_guest *g = pv_lua_check_vm(L, "shutdown");
    int64_t timeout =
        pv_lua_check_opts(L, 2, "shutdown", opts) ? pv_lua_opt_time(L, 2, "shutdown", "timeout", 0) : 0;
    struct pv_err err;
    int rc;

    pv_lua_begin(L, g, "shutting down %s", g->name);
    rc = pv_guest_shutdown(g->g, timeout, &err);
    pv_lua_end(L, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

static int vm_kill(lua_State *L)
{
    pv_lua_guest_kill(pv_lua_check_vm(L, "kill"));
    return 0;
}

static int vm_close(lua_State *L)
{
    struct lua_guest **h = handle(L, 1);

    if (h)
        pv_lua_guest_kill(*h);
    return 0;
}

static int vm_gc(lua_State *L)
{
    struct lua_guest **h = handle(L, 1);

    if (h) {
        (*h)->forgotten = true;
        *h = NULL; /* a finalizer of the test's may still see the handle */
    }
    return 0;
}

static int vm_tostring(lua_State *L)
{
    struct lua_guest *g = pv_lua_check_vm(L, "tostring");

    lua_pushfstring(L, "%s: %s", g->w ? pv_worker_name(g->w) : pv_guest_name(g->g),
                    pv_guest_state_name(pv_lua_guest_state(g)));
    return 1;
}

/* A worker has them all but the first VM_ONLY. */
static const luaL_Reg methods[] = {{"boot", pv_lua_vm_boot},
                                   {"shutdown", vm_shutdown},
                                   {"spawn", pv_lua_vm_spawn},
                                   {"snapshot", pv_lua_vm_snapshot},
                                   {"restore", pv_lua_vm_restore},
                                   {"clone", pv_lua_vm_clone},
                                   {"reports", pv_lua_vm_reports},
                                   {"allow_report", pv_lua_vm_allow_report},
                                   {"expect_report", pv_lua_vm_expect_report},
                                   {"kill", vm_kill},
                                   {"exec", pv_lua_vm_exec},
                                   {"json", pv_lua_vm_json},
                                   {"read_file", pv_lua_vm_read_file},
                                   {"write_file", pv_lua_vm_write_file},
                                   {"push", pv_lua_vm_push},
                                   {"pull", pv_lua_vm_pull},
                                   {"mount_vfs", pv_lua_vm_mount_vfs},
                                   {"dmesg", pv_lua_vm_dmesg},
                                   {"wait_until", pv_lua_vm_wait_until},
                                   {"background", pv_lua_vm_background},
                                   {"job_wait", pv_lua_vm_job_wait},
                                   {"job_kill", pv_lua_vm_job_kill},
                                   {"syscall", pv_lua_vm_syscall},
                                   {"syscall_buf", pv_lua_vm_syscall_buf},
                                   {"syscall_bufs", pv_lua_vm_syscall_bufs},
                                   {"syscall_ptr", pv_lua_vm_syscall_ptr},
                                   {"ioctl", pv_lua_vm_ioctl},
                                   {"ioctl_buf", pv_lua_vm_ioctl_buf},
                                   {NULL, NULL}};

enum { VM_ONLY = 9 };

/* __index; upvalue 1 is the table of methods, upvalue 2 whether it is a worker's. */
static int vm_index(lua_State *L)
{
    bool worker = lua_toboolean(L, lua_upvalueindex(2));
    const char *names[PV_ARRAY_LEN(methods)], *near, *name, *kind = worker ? "worker" : "VM";
    size_t first = worker ? VM_ONLY : 0;

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    name = luaL_tolstring(L, 2, NULL);
    for (size_t i = 0; i < first; i++)
        if (!strcmp(name, methods[i].name))
            return pv_lua_raise(L, "a worker has no method '%s'; only its VM has", name);
    for (size_t i = first; i < PV_ARRAY_LEN(methods); i++)
        names[i - first] = methods[i].name; /* ends with the NULL of methods */
    near = pv_nearest(name, names);
    if (near)
        return pv_lua_raise(L, "a %s has no method '%s' (did you mean '%s'?)", kind, name, near);
    return pv_lua_raise(L, "a %s has no method '%s'", kind, name);
}

static int vm_newindex(lua_State *L)
{
    return pv_lua_raise(L, "a VM takes no fields of yours (tried to set '%s')", luaL_tolstring(L, 2, NULL));
}

struct lua_guest **pv_lua_new_handle(lua_State *L, bool worker)
{
    struct lua_guest **h = lua_newuserdatauv(L, sizeof(*h), 0);

    *h = NULL;
    luaL_setmetatable(L, worker ? WORKER_TYPE : VM_TYPE);
    return h;
}

static void free_guest(struct lua_guest *g)
{
    if (g->w)
        pv_worker_free(g->w);
    else
        pv_guest_free(g->g);
    free(g->last_tail);
    for (char **s = g->allowed; s && *s; s++)
        free(*s);
    free(g->allowed);
    free(g);
}

/* Neither runs nor will: only a handle could restore it. */
static bool is_over(const struct lua_guest *g)
{
    enum pv_guest_state s = pv_lua_guest_state(g);

    return g->forgotten && s != PV_GUEST_RUNNING && s != PV_GUEST_BOOTING;
}

/* Something in the file still points to it. */
static bool is_held(const struct pv_lua *pl, const struct lua_guest *g)
{
    if (pv_lua_reset_holds(pl, g) || (pv_guest_log_path(g->g) && !g->w && !g->log_said))
        return true;
    for (const struct lua_finding *f = pl->findings; f; f = f->next)
        if (f->guest == g)
            return true;
    for (const struct lua_guest *w = pl->guests; w; w = w->next)
        if (w->w && !g->w && w->g == g->g)
            return true;
    return false;
}

/*
 * A file may make and end thousands of VMs.  Of those that are over, the last ones stay: their consoles are
 * shown when a test fails.
 */
static void prune(struct pv_lua *pl)
{
    struct lua_guest **at = &pl->guests;
    size_t n = 0;

    for (const struct lua_guest *g = pl->guests; g; g = g->next)
        n += is_over(g);
    if (n < 2 * KEPT_GUESTS)
        return;
    /* the oldest first; what holds one (a worker, a finding) is let go with the next round at the latest */
    while (*at && n > KEPT_GUESTS) {
        struct lua_guest *g = *at;

        if (!is_over(g) || is_held(pl, g)) {
            at = &g->next;
            continue;
        }
        *at = g->next;
        free_guest(g);
        n--;
    }
}

struct lua_guest *pv_lua_add_guest(struct pv_lua *pl, struct pv_guest *guest)
{
    struct lua_guest *g = pv_xcalloc(1, sizeof(*g)), **end;

    prune(pl);
    g->g = guest;
    for (end = &pl->guests; *end; end = &(*end)->next)
        ;
    *end = g;
    return g;
}

struct lua_guest *pv_lua_add_vm(struct pv_lua *pl, struct pv_guest *guest)
{
    static unsigned lineages;
    struct lua_guest *g = pv_lua_add_guest(pl, guest);

    snprintf(g->name, sizeof(g->name), "%.*s", (int)strcspn(pv_guest_name(guest), " "), pv_guest_name(guest));
    g->lineage = ++lineages;
    return g;
}

static int provium_create(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    const char *name = lua_isnoneornil(L, 1) ? NULL : pv_lua_check_cstring(L, 1, "the profile's name");
    const struct pv_profile *profile;
    struct lua_guest **h;
    struct pv_err err;

    pl->touched = true;
    if (!lua_isnoneornil(L, 2))
        pv_lua_raise(L, "provium.create takes only a profile's name; options belong to vm:boot{...}");
    profile = pv_config_profile(pl->env->config, name, &err);
    if (!profile)
        return pv_lua_raise_err(L, &err);
    h = pv_lua_new_handle(L, false);
    pv_lua_build_profile(pl, profile);
    *h = pv_lua_add_vm(pl, pv_guest_new(&pl->guest_env, profile));
    return 1;
}

static int provium_shutdown_all(lua_State *L)
{
    struct pv_lua *pl = pv_lua_of(L);
    struct pv_err err, first = PV_ERR_INIT;
    int rc;

    pl->touched = true;
    for (struct lua_guest *g = pl->guests; g; g = g->next) {
        if (pv_lua_guest_state(g) == PV_GUEST_CREATED || g->w)
            continue;
        pv_lua_begin(L, g, "shutting down %s", g->name);
        rc = pv_guest_shutdown(g->g, 0, &err);
        pv_lua_end(L, rc == 0);
        if (rc < 0 && first.cls == PV_E_NONE)
            first = err;
    }
    return first.cls == PV_E_NONE ? 0 : pv_lua_raise_err(L, &first);
}

/* The metatable of a kind of handle. */
static LJMP void open_type(lua_State *L, const char *type, bool worker)
{
    luaL_newmetatable(L, type);
    lua_newtable(L);
    luaL_setfuncs(L, worker ? methods + VM_ONLY : methods, 0);
    lua_pushboolean(L, worker);
    lua_pushcclosure(L, vm_index, 2);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, vm_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, vm_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, vm_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, vm_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushstring(L, worker ? "worker" : "VM");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void pv_lua_open_vm(lua_State *L)
{
    static const luaL_Reg functions[] = {{"create", provium_create},  {"shutdown_all", provium_shutdown_all},
                                         {"fixture", pv_lua_fixture}, {"depends", pv_lua_depends},
                                         {"sleep", pv_lua_sleep},     {"pack", pv_lua_pack},
                                         {"unpack", pv_lua_unpack},   {NULL, NULL}};

    open_type(L, VM_TYPE, false);
    open_type(L, WORKER_TYPE, true);
    pv_lua_open_snapshot(L);
    luaL_newlib(L, functions);
    lua_pushstring(L, pv_lua_of(L)->env->version);
    lua_setfield(L, -2, "version");
    pv_lua_open_json(L);
    pv_lua_push_null(L);
    lua_setfield(L, -2, "null");
    pv_lua_open_reset(L);
    lua_setglobal(L, "provium");
}

void pv_lua_kill_guests(struct pv_lua *pl)
{
    for (struct lua_guest *g = pl->guests; g; g = g->next)
        pv_lua_guest_kill(g);
}

/* Workers first: they must be gone before the VM that they came from. */
void pv_lua_free_guests(struct pv_lua *pl)
{
    for (struct lua_guest *g = pl->guests; g; g = g->next)
        if (g->w) {
            pv_worker_free(g->w);
            g->w = NULL;
            g->g = NULL;
        }
    while (pl->guests) {
        struct lua_guest *g = pl->guests;

        pl->guests = g->next;
        free_guest(g);
    }
}
