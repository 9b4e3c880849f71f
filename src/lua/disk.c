/* SPDX-License-Identifier: MIT */
/* The type disk: vm:disk and what the host does with it. */
#include "lua/disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/disks.h"
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/recording.h"
#include "lua/syscall.h"
#include "lua/tmp.h"
#include "testfile/before-end.h"
#include "util/err.h"
#include "util/mem.h"

#define DISK_TYPE "provium.disk"
#define READ_MAX (INT64_C(1) << 30)

void pv_lua_push_disk(lua_State *L, struct tf_guest *vm, const char *name)
{
    struct lua_disk *d = lua_newuserdatauv(L, sizeof(*d), 0);

    *d = (struct lua_disk){.vm = vm};
    snprintf(d->name, sizeof(d->name), "%s", name);
    vm->n_holds++;
    luaL_setmetatable(L, DISK_TYPE);
}

struct lua_disk *pv_lua_check_disk(lua_State *L, int idx, const char *method)
{
    struct lua_disk *d = luaL_testudata(L, idx, DISK_TYPE);

    if (!d)
        pv_lua_raise(L, "d.%s(...) got %s where the disk belongs; call it with a colon: d:%s(...)", method,
                     lua_isnone(L, idx) ? "nothing" : pv_lua_describe(L, idx), method);
    if (!d->vm)
        pv_lua_raise(L, "%s: the disk '%s' was closed", method, d->name);
    return d;
}

bool pv_lua_is_disk(lua_State *L, int idx)
{
    return luaL_testudata(L, idx, DISK_TYPE) != NULL;
}

struct pv_disk *pv_lua_served_disk(lua_State *L, int idx, const char *method)
{
    const struct lua_disk *d = pv_lua_check_disk(L, idx, method);
    struct pv_err err;
    struct pv_disk *served = pv_guest_disk(d->vm->g, d->name, &err);

    if (!served) {
        pv_err_wrap(&err, "d:%s", method);
        pv_lua_raise_err(L, &err);
    }
    return served;
}

static void own_free(void *p)
{
    pv_disk_free(*(struct pv_disk **)p);
}

/* The disk at 1 for an access of the host: also a raw image that QEMU writes to by itself. */
static LJMP struct pv_disk *disk_open(lua_State *L, const char *method, bool write)
{
    const struct lua_disk *d = pv_lua_check_disk(L, 1, method);
    struct pv_disk **own, *disk;
    struct pv_err err;

    lua_settop(L, 4);
    own = pv_lua_tmp(L, sizeof(struct pv_disk *), own_free);
    disk = pv_guest_disk_open(d->vm->g, d->name, write, own, &err);
    if (!disk) {
        pv_err_wrap(&err, "d:%s", method);
        pv_lua_raise_err(L, &err);
    }
    return disk;
}

/* vm:disk(name) */
int pv_lua_vm_disk(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "disk");
    const char *name = pv_lua_check_cstring(L, 2, "the name of a disk");
    struct pv_err err;

    if (pv_guest_disk_check_name(g->g, name, &err) < 0)
        return pv_lua_raise_err(L, &err);
    pv_lua_push_disk(L, g, name);
    return 1;
}

static void attach_fini(void *p)
{
    pv_boot_opts_fini(p);
}

/* vm:attach_disk{...} */
int pv_lua_vm_attach_disk(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "attach_disk");
    char name[PV_DISK_NAME + 1];
    struct pv_boot_opts *o;
    struct pv_err err;
    int rc;

    if (!lua_istable(L, 2))
        pv_lua_raise(
            L, "attach_disk needs the options of a disk, such as {name = \"extra\", size = \"64M\"}, got %s",
            lua_isnone(L, 2) ? "nothing" : pv_lua_describe(L, 2));
    o = pv_lua_tmp(L, sizeof(*o), attach_fini);
    o->disks = pv_xcalloc(1, sizeof(*o->disks));
    o->n_disks = 1;
    pv_lua_disk_options(L, 2, "attach_disk", &o->disks[0]);
    pv_tf_call_begin(pv_lua_tf(L), g->name, "attaching a disk to %s", g->name);
    rc = pv_guest_attach_disk(g->g, &o->disks[0], 0, name, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    pv_lua_push_disk(L, g, name);
    return 1;
}

/* vm:detach_disk(name, timeout?) */
int pv_lua_vm_detach_disk(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "detach_disk");
    const char *name = pv_lua_check_cstring(L, 2, "the name of a disk");
    int64_t timeout = pv_lua_check_time(L, 3, "detach_disk", 0);
    struct pv_err err;
    int rc;

    pv_tf_call_begin(pv_lua_tf(L), g->name, "detaching disk '%s' from %s", name, g->name);
    rc = pv_guest_detach_disk(g->g, name, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* d:read(offset, n) */
static int disk_read(lua_State *L)
{
    struct pv_disk *d = disk_open(L, "read", false);
    lua_Integer at = pv_lua_sys_integer(L, 2, "read", "the offset");
    lua_Integer n = pv_lua_sys_integer(L, 3, "read", "the number of bytes");
    luaL_Buffer b;
    struct pv_err err;
    char *to;

    if (at < 0)
        pv_lua_raise(L, "read: the offset must not be negative, got %I", (LUAI_UACINT)at);
    if (n < 0 || n > READ_MAX)
        pv_lua_raise(L, "read: the number of bytes must be from 0 to 1 GiB, got %I", (LUAI_UACINT)n);
    to = luaL_buffinitsize(L, &b, (size_t)n);
    if (pv_disk_read(d, (uint64_t)at, to, (size_t)n, &err) < 0)
        return pv_lua_raise_err(L, &err);
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

/* d:write(offset, data) */
static int disk_write(lua_State *L)
{
    struct pv_disk *d = disk_open(L, "write", true);
    lua_Integer at = pv_lua_sys_integer(L, 2, "write", "the offset");
    struct pv_err err;
    const char *data;
    size_t n;

    if (at < 0)
        pv_lua_raise(L, "write: the offset must not be negative, got %I", (LUAI_UACINT)at);
    if (lua_type(L, 3) != LUA_TSTRING)
        pv_lua_raise(L, "the data of write must be a string, got %s", pv_lua_describe(L, 3));
    data = lua_tolstring(L, 3, &n);
    return pv_disk_write(d, (uint64_t)at, data, n, &err) < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* d:size() */
static int disk_size(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)pv_disk_size(disk_open(L, "size", false)));
    return 1;
}

/* d:unflushed() */
static int disk_unflushed(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)pv_disk_unflushed(pv_lua_served_disk(L, 1, "unflushed")));
    return 1;
}

/* d:flush() */
static int disk_flush(lua_State *L)
{
    pv_disk_flush(pv_lua_served_disk(L, 1, "flush"));
    return 0;
}

/* d:save(path) */
static int disk_save(lua_State *L)
{
    struct pv_disk *d = disk_open(L, "save", false);
    const char *path = pv_lua_check_cstring(L, 2, "the path for d:save");
    struct pv_err err;

    pv_tf_wrote(pv_lua_tf(L), path);
    return pv_disk_save(d, path, &err) < 0 ? pv_lua_raise_err(L, &err) : 0;
}

static void text_free(void *p)
{
    free(*(char **)p);
}

/* d:device(timeout?) */
static int disk_device(lua_State *L)
{
    const struct lua_disk *d = pv_lua_check_disk(L, 1, "device");
    int64_t timeout = pv_lua_check_time(L, 2, "device", 0);
    char **path = pv_lua_tmp(L, sizeof(*path), text_free);
    struct pv_err err;

    pv_tf_call_begin(pv_lua_tf(L), d->vm->name, "looking for disk '%s' in %s", d->name, d->vm->name);
    *path = pv_guest_disk_device(d->vm->g, d->name, timeout, &err);
    pv_tf_step_end(pv_lua_tf(L), *path != NULL);
    if (!*path)
        return pv_lua_raise_err(L, &err);
    lua_pushstring(L, *path);
    return 1;
}

/* ---- power ---- */

enum pv_disk_op pv_lua_opt_op(lua_State *L, int idx, const char *what, enum pv_disk_op dflt)
{
    static const char *const ops[] = {"read", "write", "flush", "discard", "any", NULL};

    return (enum pv_disk_op)pv_lua_opt_choice(L, idx, what, "op", ops, (int)dflt);
}

/* The table stays on the stack: it owns the name. */
static LJMP void power_at(lua_State *L, int idx, struct pv_power_cut *c)
{
    static const struct lua_opt opts[] = {
        {"disk", OPT_STRING}, {"op", OPT_STRING}, {"after", OPT_INTEGER}, {NULL, 0}};
    int at;

    if (pv_lua_rawfield(L, idx, "at") == LUA_TNIL)
        return;
    at = lua_gettop(L);
    pv_lua_check_opts(L, at, "power_cut at", opts);
    if (pv_lua_rawfield(L, at, "disk") != LUA_TSTRING)
        pv_lua_raise(
            L, "power_cut option 'at' needs the name of a disk: at = {disk = \"data\", op = \"flush\"}");
    c->at_disk = pv_lua_check_cstring(L, -1, "the disk of power_cut option 'at'");
    c->at_op = pv_lua_opt_op(L, at, "power_cut at", PV_DISK_FLUSH);
    c->at_after = (uint64_t)pv_lua_opt_integer(L, at, "power_cut at", "after", 0, LUA_MAXINTEGER, 0);
}

static LJMP void power_options(lua_State *L, const char *what, bool at, struct pv_power_cut *c)
{
    static const struct lua_opt with[] = {{"keep", OPT_STRING},
                                          {"torn", OPT_BOOLEAN},
                                          {"seed", OPT_INTEGER},
                                          {"at", OPT_TABLE},
                                          {NULL, 0}},
                                without[] = {{"keep", OPT_STRING},
                                             {"torn", OPT_BOOLEAN},
                                             {"seed", OPT_INTEGER},
                                             {NULL, 0}};
    static const char *const keeps[] = {"none", "all", "random", NULL};

    *c = (struct pv_power_cut){.keep = PV_DISK_KEEP_NONE, .seed = 1};
    lua_settop(L, 2);
    if (!pv_lua_check_opts(L, 2, what, at ? with : without))
        return;
    c->keep = (enum pv_disk_keep)pv_lua_opt_choice(L, 2, what, "keep", keeps, PV_DISK_KEEP_NONE);
    c->torn = pv_lua_opt_bool(L, 2, "torn", false);
    c->seed = (uint64_t)pv_lua_opt_integer(L, 2, what, "seed", LUA_MININTEGER, LUA_MAXINTEGER, 1);
    if (at)
        power_at(L, 2, c);
}

/* vm:power_cut({keep=, torn=, seed=, at=}?) */
int pv_lua_vm_power_cut(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "power_cut");
    struct pv_power_cut c;
    struct pv_err err;
    int rc;

    power_options(L, "power_cut", true, &c);
    pv_tf_call_begin(pv_lua_tf(L), g->name, "cutting the power of %s", g->name);
    pv_tf_before_end(pv_lua_tf(L), g);
    rc = pv_guest_power_cut(g->g, &c, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* vm:power_cycle({keep=, torn=, seed=}?) */
int pv_lua_vm_power_cycle(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "power_cycle");
    struct pv_power_cut c;
    struct pv_err err;
    int rc;

    power_options(L, "power_cycle", false, &c);
    pv_tf_step_begin(pv_lua_tf(L), g->name, PV_STEP_BOOT, "cutting the power of %s, and booting it", g->name);
    pv_tf_before_end(pv_lua_tf(L), g);
    rc = pv_guest_power_cut(g->g, &c, &err);
    if (rc == 0)
        rc = pv_guest_boot(g->g, NULL, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

/* ---- the userdata ---- */

static int disk_close(lua_State *L)
{
    struct lua_disk *d = luaL_checkudata(L, 1, DISK_TYPE);

    if (d->vm)
        d->vm->n_holds--;
    d->vm = NULL;
    return 0;
}

static int disk_tostring(lua_State *L)
{
    const struct lua_disk *d = luaL_checkudata(L, 1, DISK_TYPE);

    lua_pushfstring(L, d->vm ? "disk '%s' of %s" : "disk '%s': closed", d->name, d->vm ? d->vm->name : "");
    return 1;
}

void pv_lua_open_disk(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"read", disk_read},           {"write", disk_write},          {"size", disk_size},
        {"save", disk_save},           {"device", disk_device},        {"flush", disk_flush},
        {"unflushed", disk_unflushed}, {"fail", pv_lua_disk_fail},     {"delay", pv_lua_disk_delay},
        {"hang", pv_lua_disk_hang},    {"unhang", pv_lua_disk_unhang}, {"clear", pv_lua_disk_clear},
        {"stats", pv_lua_disk_stats},  {"record", pv_lua_disk_record}, {NULL, NULL}};
    static const struct lua_type type = {.id = DISK_TYPE,
                                         .kind = "disk",
                                         .own = methods,
                                         .tostring = disk_tostring,
                                         .close = disk_close,
                                         .gc = disk_close};

    pv_lua_open_type(L, &type);
}
