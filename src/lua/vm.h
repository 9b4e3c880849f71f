/* SPDX-License-Identifier: MIT */
/* Between vm.c, boot.c and calls.c: the methods of a VM. */
#ifndef PV_LUA_VM_H
#define PV_LUA_VM_H

#include "lua/internal.h"

/* The guest of the handle at 1, or an error that says how the method is called. */
LJMP struct lua_guest *pv_lua_check_vm(lua_State *L, const char *method);

/* Around every call that may take time: what the file is busy with. Never raise. */
void pv_lua_begin(lua_State *L, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void pv_lua_end(lua_State *L);

int pv_lua_vm_boot(lua_State *L);
int pv_lua_vm_exec(lua_State *L);
int pv_lua_vm_read_file(lua_State *L);
int pv_lua_vm_write_file(lua_State *L);
int pv_lua_vm_mount_vfs(lua_State *L);

#endif
