/* SPDX-License-Identifier: MIT */
/*
 * vm:boot{...}: names, types and host paths of the options.  pv_guest_boot checks the rest (disk formats,
 * access) before it starts QEMU.
 */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lua/disk.h"
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/network.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "testfile/cached.h"
#include "testfile/nets.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/parse.h"

enum { MAX_DISKS = 24, MAX_FILES = 65536 };

static void boot_opts_fini(void *p)
{
    pv_boot_opts_fini(p);
}

/* ---- readers of options; the value, of the option's type, is on top of the stack ---- */

typedef LJMP void boot_reader(lua_State *L, struct pv_boot_opts *o);

static LJMP void boot_memory(lua_State *L, struct pv_boot_opts *o)
{
    const char *s = pv_lua_check_cstring(L, -1, "boot option 'memory'");
    struct pv_err err;

    if (pv_parse_size(s, &o->memory, &err) < 0)
        pv_lua_raise(L, "boot option 'memory': %s", err.text);
    if (o->memory < PV_GUEST_MIN_MEMORY)
        pv_lua_raise(L, "boot option 'memory': '%s' is too small for a kernel; at least 32M", s);
}

/* A file of options, whose table is on top of the stack: its content, or a path, with an owner. */
static LJMP void boot_file_table(lua_State *L, const char *guest, struct pv_guest_file *f)
{
    static const struct lua_opt opts[] = {{"content", OPT_STRING}, {"path", OPT_STRING}, {"mode", OPT_MODE},
                                          {"uid", OPT_INTEGER},    {"gid", OPT_INTEGER}, {NULL, 0}};
    const char *what = lua_pushfstring(L, "file '%s'", guest), *content;
    int idx = lua_absindex(L, -2);
    char found[PATH_MAX];
    bool has_content, has_path;

    pv_lua_check_opts(L, idx, what, opts);
    has_path = pv_lua_rawfield(L, idx, "path") != LUA_TNIL;
    has_content = pv_lua_rawfield(L, idx, "content") != LUA_TNIL;
    if (has_path == has_content)
        pv_lua_raise(L, "%s needs 'content' (what is in it) or 'path' (a file of the host), and %s", what,
                     has_path ? "not both" : "has neither");
    f->has_owner = true;
    f->mode = pv_lua_opt_mode(L, idx, what, "mode", has_content ? 0644 : PV_GUEST_FILE_KEEP);
    f->uid = (uint32_t)pv_lua_opt_integer(L, idx, what, "uid", 0, UINT32_MAX - 1, 0);
    f->gid = (uint32_t)pv_lua_opt_integer(L, idx, what, "gid", 0, UINT32_MAX - 1, 0);
    if (has_path) {
        pv_lua_find_host(L, pv_lua_check_cstring(L, -2, what), what, found);
        f->host_path = pv_xstrdup(found);
    } else {
        content = lua_tolstring(L, -1, &f->content_n);
        f->content = pv_xmalloc(f->content_n + 1);
        memcpy(f->content, content, f->content_n + 1);
    }
    lua_pop(L, 3);
}

/* A file or tree of the host, whose path is on top of the stack. */
static LJMP void boot_file_path(lua_State *L, const char *guest, struct pv_guest_file *f)
{
    const char *what = lua_pushfstring(L, "boot option 'files': host file for '%s'", guest);
    char found[PATH_MAX];

    pv_lua_find_host(L, pv_lua_check_cstring(L, -2, what), what, found);
    f->host_path = pv_xstrdup(found);
    lua_pop(L, 1);
}

static LJMP void boot_files(lua_State *L, struct pv_boot_opts *o)
{
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        struct pv_guest_file *f;
        const char *guest;

        if (lua_type(L, -2) != LUA_TSTRING)
            pv_lua_raise(
                L,
                "boot option 'files' maps guest paths to host paths, such as {[\"/etc/x\"] = \"x\"}; "
                "it has %s as a guest path",
                pv_lua_describe(L, -2));
        guest = pv_lua_check_cstring(L, -2, "a guest path in boot option 'files'");
        if (guest[0] != '/' || !guest[1])
            pv_lua_raise(L, "boot option 'files': guest path '%s' must be %s, such as \"/etc/x\"", guest,
                         guest[0] == '/' ? "below the root" : "absolute");
        if (o->n_files == MAX_FILES)
            pv_lua_raise(L, "boot option 'files' has more than %d entries; inject a directory", MAX_FILES);
        o->files = pv_xrealloc(o->files, (o->n_files + 1) * sizeof(*o->files));
        f = &o->files[o->n_files++];
        *f = (struct pv_guest_file){.guest_path = pv_xstrdup(guest)};
        if (lua_istable(L, -1))
            boot_file_table(L, guest, f);
        else
            boot_file_path(L, guest, f);
        lua_pop(L, 1);
    }
}

/* The disk's value is on top of the stack. */
static LJMP void boot_disk(lua_State *L, int number, struct pv_boot_opts *o)
{
    int top = lua_gettop(L);
    const char *what = lua_pushfstring(L, "disk %d", number);

    if (!lua_istable(L, top))
        pv_lua_raise(L, "boot option 'disks': %s must be a table such as {path = \"disk.img\"}, got %s", what,
                     pv_lua_describe(L, top));
    o->disks = pv_xrealloc(o->disks, (o->n_disks + 1) * sizeof(*o->disks));
    o->disks[o->n_disks++] = (struct pv_guest_disk){0};
    pv_lua_disk_options(L, top, what, &o->disks[o->n_disks - 1]);
    lua_settop(L, top);
}

static LJMP void boot_disks(lua_State *L, struct pv_boot_opts *o)
{
    lua_Integer n = pv_lua_list_len(L, -1);

    if (n < 0)
        pv_lua_raise(L, "boot option 'disks' must be a list of tables: disks = {{path = \"disk.img\"}}");
    if (n > MAX_DISKS)
        pv_lua_raise(L, "boot option 'disks' has %d entries; at most %d", (int)n, MAX_DISKS);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        boot_disk(L, (int)i, o);
        lua_pop(L, 1);
    }
}

static LJMP void boot_transport(lua_State *L, struct pv_boot_opts *o)
{
    if (!pv_transport_parse(lua_tostring(L, -1), &o->transport))
        pv_lua_raise(L, "boot option 'transport' is '%s'; expected \"auto\", \"vsock\" or \"serial\"",
                     lua_tostring(L, -1));
}

static LJMP void boot_on_reboot(lua_State *L, struct pv_boot_opts *o)
{
    const char *s = lua_tostring(L, -1);

    o->follow = !strcmp(s, "follow");
    if (!o->follow && strcmp(s, "end") != 0)
        pv_lua_raise(L, "boot option 'on_reboot' is '%s'; expected \"end\" or \"follow\"", s);
}

static LJMP void boot_cached(lua_State *L, struct pv_boot_opts *o)
{
    o->cached = lua_toboolean(L, -1) ? PV_CHOICE_YES : PV_CHOICE_NO;
}

static LJMP void boot_wait_system(lua_State *L, struct pv_boot_opts *o)
{
    o->wait_system = lua_toboolean(L, -1) ? PV_CHOICE_YES : PV_CHOICE_NO;
}

/* The VM is the first argument of vm:boot. */
static LJMP void boot_nets(lua_State *L, struct pv_boot_opts *o)
{
    o->nics = pv_xcalloc(PV_VM_NICS_MAX, sizeof(*o->nics));
    o->n_nics = pv_lua_read_nets(L, pv_lua_check_vm(L, "boot")->g, o->nics);
}

/* ---- vm:boot ---- */

/*
 * The options, in the order of messages and of reading.  A scalar one names its member of pv_boot_opts: an
 * unsigned for OPT_INTEGER, from min to max; a bool; ns for OPT_TIME; a char * by malloc for OPT_STRING.
 * Another one has a reader.
 */
static const struct boot_opt {
    const char *name;
    enum opt_type type;
    boot_reader *read;
    size_t at;
    int min, max;
} boot_opts[] = {
    {"memory", OPT_STRING, boot_memory},
    {"cpus", OPT_INTEGER, NULL, offsetof(struct pv_boot_opts, cpus), 1, 255},
    {"files", OPT_TABLE, boot_files},
    {"disks", OPT_TABLE, boot_disks},
    {"timeout", OPT_TIME, NULL, offsetof(struct pv_boot_opts, timeout_ns)},
    {"append", OPT_STRING, NULL, offsetof(struct pv_boot_opts, append)},
    {"transport", OPT_STRING, boot_transport},
    {"on_reboot", OPT_STRING, boot_on_reboot},
    {"vsock", OPT_BOOLEAN, NULL, offsetof(struct pv_boot_opts, vsock)},
    {"gdb", OPT_BOOLEAN, NULL, offsetof(struct pv_boot_opts, gdb)},
    {"cached", OPT_BOOLEAN, boot_cached},
    {"wait_system", OPT_BOOLEAN, boot_wait_system},
    {"nets", OPT_TABLE, boot_nets}, /* last: an error of a later option would leave its places taken */
};

/* A scalar option of the table at idx, whose value is on top of the stack. */
static LJMP void boot_scalar(lua_State *L, int idx, const struct boot_opt *opt, struct pv_boot_opts *o)
{
    void *to = (char *)o + opt->at;
    const char *what;
    lua_Integer n;

    switch (opt->type) {
    case OPT_INTEGER:
        n = lua_tointeger(L, -1);
        if (n < opt->min || n > opt->max)
            pv_lua_raise(L, "boot option '%s' must be %d to %d, got %s", opt->name, opt->min, opt->max,
                         luaL_tolstring(L, -1, NULL));
        *(unsigned *)to = (unsigned)n;
        return;
    case OPT_BOOLEAN:
        *(bool *)to = lua_toboolean(L, -1);
        return;
    case OPT_TIME:
        *(int64_t *)to = pv_lua_opt_time(L, idx, "boot", opt->name, 0);
        return;
    case OPT_STRING:
        what = lua_pushfstring(L, "boot option '%s'", opt->name);
        *(char **)to = pv_xstrdup(pv_lua_check_cstring(L, -2, what));
        lua_pop(L, 1);
        return;
    default:
        assert(false); /* an option of another type needs a reader */
    }
}

/* Reads the table at idx, which may be nil. */
static LJMP void boot_read_opts(lua_State *L, int idx, struct pv_boot_opts *o)
{
    struct lua_opt known[PV_ARRAY_LEN(boot_opts) + 1] = {{NULL, 0}};

    for (size_t i = 0; i < PV_ARRAY_LEN(boot_opts); i++)
        known[i] = (struct lua_opt){boot_opts[i].name, boot_opts[i].type};
    if (!pv_lua_check_opts(L, idx, "boot", known))
        return;
    for (size_t i = 0; i < PV_ARRAY_LEN(boot_opts); i++) {
        const struct boot_opt *opt = &boot_opts[i];

        if (pv_lua_rawfield(L, idx, opt->name) != LUA_TNIL) {
            if (opt->read)
                opt->read(L, o);
            else
                boot_scalar(L, idx, opt, o);
        }
        lua_pop(L, 1);
    }
}

/* A boot that was asked to be a cached one, and cannot be, says so. */
static void boot_tell(struct pv_testfile *tf, const char *vm, struct tf_booted *how)
{
    cleanup_free char *line = NULL;

    if (how->kind == TF_BOOT_NOT_KEPT) {
        line = pv_xasprintf("%s: cached = true, but this boot cannot be kept: %s", vm, how->why);
        pv_result_notice(tf->env->result, line);
    }
    free(how->why);
    how->why = NULL;
}

/* vm:boot{...}; "cached" or "cold" */
int pv_lua_vm_boot(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "boot");
    struct pv_testfile *tf = pv_lua_tf(L);
    struct pv_boot_opts *o;
    struct tf_booted how;
    struct pv_err err;
    bool again;
    int rc;

    lua_settop(L, 2);
    o = pv_lua_tmp(L, sizeof(*o), boot_opts_fini);
    boot_read_opts(L, 2, o);
    o->keep_disks = tf->builder || tf->reset.on; /* the VM will be saved */
    again = lua_isnil(L, 2) && pv_guest_was_booted(g->g);
    if (again && pv_tf_nets_return(g->g, pv_guest_nics(g->g), &err) < 0)
        return pv_lua_raise_err(L, &err);
    pv_tf_step_begin(tf, g->name, PV_STEP_BOOT, "booting %s", g->name);
    rc = pv_tf_boot(tf, g->g, again ? NULL : o, &how, &err);
    pv_tf_nets_settle(tf, g->g);
    pv_tf_step_end(tf, rc == 0);
    boot_tell(tf, g->name, &how);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    lua_pushstring(L, how.kind == TF_BOOT_CACHED ? "cached" : "cold");
    return 1;
}
