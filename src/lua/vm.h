/* SPDX-License-Identifier: MIT */
/* Between vm.c and the files with the methods of a VM and of a worker. */
#ifndef PV_LUA_VM_H
#define PV_LUA_VM_H

#include "lua/internal.h"

/* The guest of the handle at 1, or an error that says how the method is called. */
LJMP struct lua_guest *pv_lua_check_vm(lua_State *L, const char *method);

/* Pushes a handle without a guest, on which every method is an error; the caller fills it in. */
LJMP struct lua_guest **pv_lua_new_handle(lua_State *L, bool worker);
/* The guest of the handle at idx, NULL when there is something else. */
struct lua_guest *pv_lua_guest_at(lua_State *L, int idx);
/* Takes the guest into the file's list; a VM with its short name and a lineage of its own. */
struct lua_guest *pv_lua_add_guest(struct pv_lua *pl, struct pv_guest *guest);
struct lua_guest *pv_lua_add_vm(struct pv_lua *pl, struct pv_guest *guest);

/*
 * Around every call that may take time: what the file is busy with, and a step of the timeline, on the lane
 * of g's VM (NULL: the file's own).  ok: the call did not fail.  Never raise.
 */
void pv_lua_begin(lua_State *L, const struct lua_guest *g, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void pv_lua_begin_step(lua_State *L, const struct lua_guest *g, enum pv_step kind, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void pv_lua_end(lua_State *L, bool ok);

/* ---- methods: each file's functions ---- */

int pv_lua_vm_boot(lua_State *L);

int pv_lua_vm_exec(lua_State *L);
int pv_lua_vm_json(lua_State *L);

int pv_lua_vm_read_file(lua_State *L);
int pv_lua_vm_write_file(lua_State *L);
int pv_lua_vm_push(lua_State *L);
int pv_lua_vm_pull(lua_State *L);

int pv_lua_vm_mount_vfs(lua_State *L);
int pv_lua_vm_dmesg(lua_State *L);

int pv_lua_vm_reports(lua_State *L);
int pv_lua_vm_allow_report(lua_State *L);
int pv_lua_vm_expect_report(lua_State *L);

int pv_lua_vm_wait_until(lua_State *L);
int pv_lua_sleep(lua_State *L); /* provium.sleep */

int pv_lua_vm_background(lua_State *L);
int pv_lua_vm_job_wait(lua_State *L);
int pv_lua_vm_job_kill(lua_State *L);

int pv_lua_vm_spawn(lua_State *L);

int pv_lua_vm_snapshot(lua_State *L);
int pv_lua_vm_restore(lua_State *L);
int pv_lua_vm_clone(lua_State *L);
LJMP void pv_lua_open_snapshot(lua_State *L);

int pv_lua_vm_syscall(lua_State *L);
int pv_lua_vm_syscall_buf(lua_State *L);
int pv_lua_vm_syscall_bufs(lua_State *L);
int pv_lua_vm_syscall_ptr(lua_State *L);
int pv_lua_vm_ioctl(lua_State *L);
int pv_lua_vm_ioctl_buf(lua_State *L);

/* ---- functions of the provium table ---- */

int pv_lua_pack(lua_State *L);
int pv_lua_unpack(lua_State *L);

#endif
