/* SPDX-License-Identifier: MIT */
/* The options of a disk, for vm:boot and vm:attach_disk. */
#include <string.h>
#include <sys/stat.h>

#include "lua/disk.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/recording.h"
#include "util/mem.h"
#include "util/parse.h"

static const char *const buses[] = {
    [PV_VM_BUS_VIRTIO] = "virtio", [PV_VM_BUS_NVME] = "nvme", [PV_VM_BUS_SCSI] = "scsi", NULL};

/* The name has a serial number's characters, of which a guest strips blanks at the end. */
static LJMP void disk_name(lua_State *L, int idx, const char *what, struct pv_guest_disk *d)
{
    const char *name;

    if (pv_lua_rawfield(L, idx, "name") == LUA_TSTRING) {
        const char *title = lua_pushfstring(L, "%s option 'name'", what);

        name = pv_lua_check_cstring(L, -2, title);
        lua_pop(L, 1);
        if (!*name || strlen(name) > PV_DISK_NAME)
            pv_lua_raise(L, "%s option 'name' must have 1 to %d bytes, got '%s' (%d)", what, PV_DISK_NAME,
                         name, (int)strlen(name));
        for (const char *c = name; *c; c++)
            if ((*c < 'a' || *c > 'z') && (*c < 'A' || *c > 'Z') && (*c < '0' || *c > '9') &&
                !strchr("-_.", *c))
                pv_lua_raise(L, "%s option 'name' has letters, digits, '-', '_' and '.', got '%s'", what,
                             name);
        d->name = pv_xstrdup(name);
    }
    lua_pop(L, 1);
}

static LJMP void disk_path(lua_State *L, const char *what, struct pv_guest_disk *d)
{
    char found[PATH_MAX];
    struct stat st;

    pv_lua_find_host(L, pv_lua_check_cstring(L, -1, "the path of a disk"), what, found);
    if (stat(found, &st) == 0 && S_ISDIR(st.st_mode))
        pv_lua_raise(L, "%s: '%s' is a directory, expected an image file", what, found);
    d->path = pv_xstrdup(found);
}

/* Options that mean nothing for a disk without a file. */
static LJMP void scratch_check(lua_State *L, int idx, const char *what)
{
    static const char *const of_files[] = {"format", "backing", "snapshot"};

    for (size_t i = 0; i < PV_ARRAY_LEN(of_files); i++) {
        if (pv_lua_rawfield(L, idx, of_files[i]) != LUA_TNIL)
            pv_lua_raise(L, "%s option '%s' belongs to a disk with a path", what, of_files[i]);
        lua_pop(L, 1);
    }
}

static LJMP void disk_source(lua_State *L, int idx, const char *what, struct pv_guest_disk *d)
{
    bool has_path = pv_lua_rawfield(L, idx, "path") != LUA_TNIL;

    d->size = pv_lua_opt_size(L, idx, what, "size", 0);
    if (pv_lua_rawfield(L, idx, "state") != LUA_TNIL) {
        if (has_path || d->size)
            pv_lua_raise(L, "%s has a state, so it needs no %s", what, has_path ? "path" : "size");
        d->image = pv_lua_state_image(L, -1);
        if (!d->image)
            pv_lua_raise(L, "%s option 'state' must be a state of a recording, got %s", what,
                         pv_lua_describe(L, -1));
        scratch_check(L, idx, what);
        lua_pop(L, 2);
        return;
    }
    lua_pop(L, 1);
    if (has_path == (d->size != 0))
        pv_lua_raise(L,
                     "%s needs a path ({path = \"disk.img\"}) or a size ({size = \"64M\"}, a scratch disk)%s",
                     what, has_path ? ", and not both" : "");
    if (has_path)
        disk_path(L, what, d);
    else
        scratch_check(L, idx, what);
    lua_pop(L, 1);
}

void pv_lua_disk_options(lua_State *L, int idx, const char *what, struct pv_guest_disk *d)
{
    static const struct lua_opt opts[] = {
        {"path", OPT_STRING},      {"format", OPT_STRING},    {"backing", OPT_BOOLEAN},
        {"readonly", OPT_BOOLEAN}, {"snapshot", OPT_BOOLEAN}, {"name", OPT_STRING},
        {"size", OPT_SIZE},        {"sector", OPT_INTEGER},   {"bus", OPT_STRING},
        {"faults", OPT_BOOLEAN},   {"state", OPT_ANY},        {NULL, 0}};
    lua_Integer sector;

    idx = lua_absindex(L, idx);
    pv_lua_check_opts(L, idx, what, opts);
    disk_name(L, idx, what, d);
    d->bus = (enum pv_vm_bus)pv_lua_opt_choice(L, idx, what, "bus", buses, PV_VM_BUS_VIRTIO);
    sector = pv_lua_opt_integer(L, idx, what, "sector", 512, 4096, 0);
    if (sector && sector != 512 && sector != 4096)
        pv_lua_raise(L, "%s option 'sector' must be 512 or 4096, got %d", what, (int)sector);
    d->sector = (unsigned)sector;
    d->readonly = pv_lua_opt_bool(L, idx, "readonly", false);
    d->snapshot = pv_lua_opt_bool(L, idx, "snapshot", false);
    d->backing = pv_lua_opt_bool(L, idx, "backing", false);
    d->faults = pv_lua_opt_bool(L, idx, "faults", false);
    if (pv_lua_rawfield(L, idx, "format") == LUA_TSTRING)
        d->format = pv_xstrdup(pv_lua_check_cstring(L, -1, "the format of a disk"));
    else
        d->format = pv_xstrdup("raw");
    lua_pop(L, 1);
    disk_source(L, idx, what, d);
}
