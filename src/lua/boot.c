/* SPDX-License-Identifier: MIT */
/*
 * vm:boot{...}: names, types and host paths of the options.  pv_guest_boot checks the rest (disk formats,
 * access) before it starts QEMU.
 */
#include <sys/stat.h>

#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/parse.h"

enum { MAX_CPUS = 255, MAX_DISKS = 24, MAX_FILES = 65536 };

static const struct lua_opt boot_opts[] = {
    {"memory", OPT_STRING},    {"cpus", OPT_INTEGER},  {"files", OPT_TABLE},
    {"disks", OPT_TABLE},      {"timeout", OPT_TIME},  {"append", OPT_STRING},
    {"transport", OPT_STRING}, {"vsock", OPT_BOOLEAN}, {NULL, 0}};

static const struct lua_opt disk_opts[] = {{"path", OPT_STRING},
                                           {"format", OPT_STRING},
                                           {"readonly", OPT_BOOLEAN},
                                           {"snapshot", OPT_BOOLEAN},
                                           {NULL, 0}};

static void boot_opts_fini(void *p)
{
    pv_boot_opts_fini(p);
}

static LJMP void boot_memory(lua_State *L, int idx, struct pv_boot_opts *o)
{
    struct pv_err err;

    if (pv_lua_rawfield(L, idx, "memory") == LUA_TSTRING) {
        const char *s = pv_lua_check_cstring(L, -1, "boot option 'memory'");

        if (pv_parse_size(s, &o->memory, &err) < 0)
            pv_lua_raise(L, "boot option 'memory': %s", err.text);
        if (o->memory < PV_GUEST_MIN_MEMORY)
            pv_lua_raise(L, "boot option 'memory': '%s' is too small for a kernel; at least 32M", s);
    }
    lua_pop(L, 1);
}

static LJMP void boot_cpus(lua_State *L, int idx, struct pv_boot_opts *o)
{
    if (pv_lua_rawfield(L, idx, "cpus") != LUA_TNIL) {
        lua_Integer n = lua_tointeger(L, -1);

        if (n < 1 || n > MAX_CPUS)
            pv_lua_raise(L, "boot option 'cpus' must be 1 to %d, got %s", MAX_CPUS,
                         luaL_tolstring(L, -1, NULL));
        o->cpus = (unsigned)n;
    }
    lua_pop(L, 1);
}

static LJMP void boot_files(lua_State *L, int idx, struct pv_boot_opts *o)
{
    char found[PATH_MAX];

    if (pv_lua_rawfield(L, idx, "files") != LUA_TTABLE) {
        lua_pop(L, 1);
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *guest, *what;

        if (lua_type(L, -2) != LUA_TSTRING)
            pv_lua_raise(
                L,
                "boot option 'files' maps guest paths to host paths, such as {[\"/etc/x\"] = \"x\"}; "
                "it has %s as a guest path",
                pv_lua_describe(L, -2));
        guest = pv_lua_check_cstring(L, -2, "a guest path in boot option 'files'");
        if (guest[0] != '/' || !guest[1])
            pv_lua_raise(L, "boot option 'files': guest path '%s' must be absolute, such as \"/etc/x\"",
                         guest);
        what = lua_pushfstring(L, "boot option 'files': host file for '%s'", guest);
        pv_lua_find_host(L, pv_lua_check_cstring(L, -2, what), what, found);
        if (o->n_files == MAX_FILES)
            pv_lua_raise(L, "boot option 'files' has more than %d entries; inject a directory", MAX_FILES);
        o->files = pv_xrealloc(o->files, (o->n_files + 1) * sizeof(*o->files));
        o->files[o->n_files++] = (struct pv_guest_file){pv_xstrdup(guest), pv_xstrdup(found)};
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
}

/* The disk's value is on top of the stack. */
static LJMP void boot_disk(lua_State *L, int number, struct pv_boot_opts *o)
{
    int top = lua_gettop(L);
    const char *what = lua_pushfstring(L, "disk %d", number), *format = "raw";
    char found[PATH_MAX];
    bool readonly, snapshot;
    struct stat st;

    if (!lua_istable(L, top))
        pv_lua_raise(L, "boot option 'disks': %s must be a table such as {path = \"disk.img\"}, got %s", what,
                     pv_lua_describe(L, top));
    pv_lua_check_opts(L, top, what, disk_opts);
    readonly = pv_lua_opt_bool(L, top, "readonly", false);
    snapshot = pv_lua_opt_bool(L, top, "snapshot", false);
    if (pv_lua_rawfield(L, top, "format") == LUA_TSTRING)
        format = pv_lua_check_cstring(L, -1, "the format of a disk");
    if (pv_lua_rawfield(L, top, "path") != LUA_TSTRING)
        pv_lua_raise(L, "%s needs a path: {path = \"disk.img\"}", what);
    pv_lua_find_host(L, pv_lua_check_cstring(L, -1, "the path of a disk"), what, found);
    if (stat(found, &st) == 0 && S_ISDIR(st.st_mode))
        pv_lua_raise(L, "%s: '%s' is a directory, expected an image file", what, found);
    o->disks = pv_xrealloc(o->disks, (o->n_disks + 1) * sizeof(*o->disks));
    o->disks[o->n_disks++] = (struct pv_guest_disk){
        .path = pv_xstrdup(found), .format = pv_xstrdup(format), .readonly = readonly, .snapshot = snapshot};
    lua_settop(L, top);
}

static LJMP void boot_disks(lua_State *L, int idx, struct pv_boot_opts *o)
{
    lua_Integer n;

    if (pv_lua_rawfield(L, idx, "disks") != LUA_TTABLE) {
        lua_pop(L, 1);
        return;
    }
    n = pv_lua_list_len(L, -1);
    if (n < 0)
        pv_lua_raise(L, "boot option 'disks' must be a list of tables: disks = {{path = \"disk.img\"}}");
    if (n > MAX_DISKS)
        pv_lua_raise(L, "boot option 'disks' has %d entries; at most %d", (int)n, MAX_DISKS);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        boot_disk(L, (int)i, o);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static LJMP void boot_transport(lua_State *L, int idx, struct pv_boot_opts *o)
{
    if (pv_lua_rawfield(L, idx, "transport") == LUA_TSTRING &&
        !pv_transport_parse(lua_tostring(L, -1), &o->transport))
        pv_lua_raise(L, "boot option 'transport' is '%s'; expected \"auto\", \"vsock\" or \"serial\"",
                     lua_tostring(L, -1));
    lua_pop(L, 1);
}

int pv_lua_vm_boot(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "boot");
    struct pv_testfile *tf = pv_lua_tf(L);
    struct pv_boot_opts *o;
    struct pv_err err;
    int rc;

    lua_settop(L, 2);
    o = pv_lua_tmp(L, sizeof(*o), boot_opts_fini);
    if (pv_lua_check_opts(L, 2, "boot", boot_opts)) {
        boot_memory(L, 2, o);
        boot_cpus(L, 2, o);
        boot_transport(L, 2, o);
        o->vsock = pv_lua_opt_bool(L, 2, "vsock", false);
        boot_files(L, 2, o);
        boot_disks(L, 2, o);
        o->timeout_ns = pv_lua_opt_time(L, 2, "boot", "timeout", 0);
        if (pv_lua_rawfield(L, 2, "append") == LUA_TSTRING)
            o->append = pv_xstrdup(pv_lua_check_cstring(L, -1, "boot option 'append'"));
    }
    o->keep_disks = tf->builder || tf->reset.on; /* the VM will be saved */
    pv_tf_step_begin(tf, g->name, PV_STEP_BOOT, "booting %s", g->name);
    rc = pv_guest_boot(g->g, o, &err);
    pv_tf_step_end(tf, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}
