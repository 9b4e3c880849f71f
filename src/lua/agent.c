/* SPDX-License-Identifier: MIT */
#include "lua/methods.h"

const luaL_Reg pv_lua_agent_methods[] = {{"exec", pv_lua_exec},
                                         {"json", pv_lua_exec_json},
                                         {"read_file", pv_lua_read_file},
                                         {"write_file", pv_lua_write_file},
                                         {"push", pv_lua_push_tree},
                                         {"pull", pv_lua_pull_tree},
                                         {"mount_vfs", pv_lua_mount_vfs},
                                         {"dmesg", pv_lua_dmesg},
                                         {"wait_until", pv_lua_wait_until},
                                         {"background", pv_lua_job_start},
                                         {"job_wait", pv_lua_job_wait},
                                         {"job_kill", pv_lua_job_kill},
                                         {"syscall", pv_lua_syscall},
                                         {"syscall_buf", pv_lua_syscall_buf},
                                         {"syscall_bufs", pv_lua_syscall_bufs},
                                         {"syscall_ptr", pv_lua_syscall_ptr},
                                         {"ioctl", pv_lua_ioctl},
                                         {"ioctl_buf", pv_lua_ioctl_buf},
                                         {NULL, NULL}};
