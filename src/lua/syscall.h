/* SPDX-License-Identifier: MIT */
/* A system call as the syscall and ioctl methods build it. */
#ifndef PV_LUA_SYSCALL_H
#define PV_LUA_SYSCALL_H

#include "lua/handle.h"
#include "wire/proto.h"

struct sys_call {
    struct pv_syscall c; /* its bufs and ptrs are the arrays below */
    struct pv_sysret r;
    struct pv_sys_buf bufs[6];
    struct pv_sys_ptr ptrs[PV_BUFS_MAX];
};

/* Pushes the userdata that owns it. */
LJMP struct sys_call *pv_lua_sys_new(lua_State *L);
/* False when there is no such system call. */
bool pv_lua_sys_number(const char *name, uint64_t *nr);
/* The integer at idx, exactly; `arg` names it in the error. */
LJMP lua_Integer pv_lua_sys_integer(lua_State *L, int idx, const char *what, const char *arg);
/* Pops a table of options from the top, if it is at `first` or behind; its timeout in ns, 0: none. */
LJMP int64_t pv_lua_sys_timeout(lua_State *L, int first, const char *what);
/* Adds the string at idx, which must stay referenced, as the buffer for argument `slot`. */
LJMP void pv_lua_sys_buf(lua_State *L, struct sys_call *c, const char *what, unsigned slot, int idx);
/* Adds the pointers of the list at idx; len_name "buf_len": the ioctl form, with one buffer. */
LJMP void pv_lua_sys_specs(lua_State *L, int idx, const char *what, const char *list, const char *len_name,
                           struct sys_call *c);
LJMP void pv_lua_sys_do(lua_State *L, struct lua_agent a, struct sys_call *c);
/* Pushes the return value and the buffers from `first` on, returns how many; frees the result. */
LJMP int pv_lua_sys_push(lua_State *L, struct sys_call *c, size_t first);

#endif
