/* SPDX-License-Identifier: MIT */
/* Disks in Lua: options, and the types disk, rule, recording and state. */
#ifndef PV_LUA_DISK_H
#define PV_LUA_DISK_H

#include "disk/disk.h"
#include "guest/guest.h"
#include "lua/state.h"

struct tf_guest;

/* A disk of a VM, by its name: the object outlives a boot. */
struct lua_disk {
    struct tf_guest *vm; /* held; NULL: closed */
    char name[PV_DISK_NAME + 1];
};

/*
 * Reads the options of a disk, a table at idx, into *d, which the caller has zeroed and frees (pv_boot_opts_fini).
 * `what` is for messages: "disk 2".
 */
LJMP void pv_lua_disk_options(lua_State *L, int idx, const char *what, struct pv_guest_disk *d);
/* Pushes a disk of the VM. */
LJMP void pv_lua_push_disk(lua_State *L, struct tf_guest *vm, const char *name);
/* The disk at idx, or an error that says how `method` is called. */
LJMP struct lua_disk *pv_lua_check_disk(lua_State *L, int idx, const char *method);
bool pv_lua_is_disk(lua_State *L, int idx);
/* As check_disk, of a disk that this process serves. */
LJMP struct pv_disk *pv_lua_served_disk(lua_State *L, int idx, const char *method);
/* The op at the field of the table at idx; dflt: there is none. */
LJMP enum pv_disk_op pv_lua_opt_op(lua_State *L, int idx, const char *what, enum pv_disk_op dflt);

int pv_lua_disk_fail(lua_State *L); /* disk-rule.c */
int pv_lua_disk_delay(lua_State *L);
int pv_lua_disk_hang(lua_State *L);
int pv_lua_disk_unhang(lua_State *L);
int pv_lua_disk_clear(lua_State *L);
int pv_lua_disk_stats(lua_State *L);

#endif
