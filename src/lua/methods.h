/* SPDX-License-Identifier: MIT */
/*
 * The methods of VMs and workers.  A method is in the file of its subject; the tables that make up a type are
 * pv_lua_agent_methods, and those of vm.c and worker.c.
 */
#ifndef PV_LUA_METHODS_H
#define PV_LUA_METHODS_H

#include "lua/state.h"

/* Requests to an agent process: methods of VMs and of workers. */
extern const luaL_Reg pv_lua_agent_methods[];

int pv_lua_exec(lua_State *L); /* exec.c */
int pv_lua_exec_json(lua_State *L);
int pv_lua_sh(lua_State *L);
int pv_lua_start(lua_State *L);     /* process.c */
int pv_lua_follow(lua_State *L);    /* follow.c */
int pv_lua_job_start(lua_State *L); /* jobs.c */
int pv_lua_job_wait(lua_State *L);
int pv_lua_job_kill(lua_State *L);
int pv_lua_read_file(lua_State *L); /* files.c */
int pv_lua_write_file(lua_State *L);
int pv_lua_stat(lua_State *L); /* file-ops.c */
int pv_lua_exists(lua_State *L);
int pv_lua_list(lua_State *L);
int pv_lua_mkdir(lua_State *L);
int pv_lua_remove(lua_State *L);
int pv_lua_rename(lua_State *L);
int pv_lua_symlink(lua_State *L);
int pv_lua_chmod(lua_State *L);
int pv_lua_chown(lua_State *L);
int pv_lua_push_tree(lua_State *L); /* files.c */
int pv_lua_pull_tree(lua_State *L);
int pv_lua_mount_vfs(lua_State *L); /* system.c */
int pv_lua_dmesg(lua_State *L);
int pv_lua_time(lua_State *L); /* life.c */
int pv_lua_set_time(lua_State *L);
int pv_lua_wait_until(lua_State *L); /* wait.c */
int pv_lua_syscall(lua_State *L);    /* syscall.c */
int pv_lua_syscall_buf(lua_State *L);
int pv_lua_syscall_bufs(lua_State *L);
int pv_lua_syscall_ptr(lua_State *L);
int pv_lua_alloc(lua_State *L); /* memory.c */
int pv_lua_free(lua_State *L);
int pv_lua_read_mem(lua_State *L);
int pv_lua_write_mem(lua_State *L);
int pv_lua_ioctl(lua_State *L); /* ioctl.c */
int pv_lua_ioctl_buf(lua_State *L);

/* Methods of VMs only. */
extern const luaL_Reg pv_lua_vm_methods[];

int pv_lua_vm_boot(lua_State *L);   /* boot.c */
int pv_lua_vm_reboot(lua_State *L); /* life.c */
int pv_lua_vm_reset(lua_State *L);
int pv_lua_vm_wait_reboot(lua_State *L);
int pv_lua_vm_pause(lua_State *L);
int pv_lua_vm_resume(lua_State *L);
int pv_lua_vm_power_button(lua_State *L);
int pv_lua_vm_nmi(lua_State *L);
int pv_lua_vm_state(lua_State *L);
int pv_lua_vm_screenshot(lua_State *L);
int pv_lua_vm_disk(lua_State *L); /* disk.c */
int pv_lua_vm_attach_disk(lua_State *L);
int pv_lua_vm_detach_disk(lua_State *L);
int pv_lua_vm_power_cut(lua_State *L);
int pv_lua_vm_power_cycle(lua_State *L);
int pv_lua_vm_console(lua_State *L);  /* console.c */
int pv_lua_vm_snapshot(lua_State *L); /* snapshot.c */
int pv_lua_vm_restore(lua_State *L);
int pv_lua_vm_clone(lua_State *L);
int pv_lua_vm_reports(lua_State *L); /* reports.c */
int pv_lua_vm_allow_report(lua_State *L);
int pv_lua_vm_expect_report(lua_State *L);
int pv_lua_vm_plug(lua_State *L); /* network.c */
int pv_lua_vm_unplug(lua_State *L);
int pv_lua_vm_nic(lua_State *L); /* nic.c */
int pv_lua_vm_ip(lua_State *L);
int pv_lua_vm_mac(lua_State *L);
int pv_lua_vm_spawn(lua_State *L); /* worker.c */

/* Register the types. */
LJMP void pv_lua_open_vm(lua_State *L);
LJMP void pv_lua_open_worker(lua_State *L);
LJMP void pv_lua_open_process(lua_State *L);
LJMP void pv_lua_open_snapshot(lua_State *L);
LJMP void pv_lua_open_disk(lua_State *L);
LJMP void pv_lua_open_rule(lua_State *L);

#endif
