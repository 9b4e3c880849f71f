/* SPDX-License-Identifier: MIT */
/*
 * syscall, syscall_buf, syscall_bufs, syscall_ptr.  A call is built in a sys_call that the collector owns;
 * buffers point into the Lua strings of the arguments.
 */
#include "lua/syscall.h"

#include <string.h>

#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/parse.h"
#include "wire/proto.h"

#include "syscalls.h"

#define INTERRUPT_GRACE (3 * PV_NSEC_PER_SEC)

static void sys_fini(void *p)
{
    struct sys_call *c = p;

    pv_sysret_fini(&c->r);
    c->r = (struct pv_sysret){0};
}

struct sys_call *pv_lua_sys_new(lua_State *L)
{
    struct sys_call *c = pv_lua_tmp(L, sizeof(*c), sys_fini);

    c->c.bufs = c->bufs;
    c->c.ptrs = c->ptrs;
    return c;
}

/* ---- numbers and names ---- */

bool pv_lua_sys_number(const char *name, uint64_t *nr)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(syscall_names); i++)
        if (!strcmp(name, syscall_names[i].name)) {
            *nr = syscall_names[i].nr;
            return true;
        }
    return false;
}

static const char *sys_name(uint64_t nr)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(syscall_names); i++)
        if (syscall_names[i].nr == nr)
            return syscall_names[i].name;
    return NULL;
}

static LJMP void raise_unknown_syscall(lua_State *L, const char *what, const char *name)
{
    const char *names[PV_ARRAY_LEN(syscall_names) + 1], *near;

    for (size_t i = 0; i < PV_ARRAY_LEN(syscall_names); i++)
        names[i] = syscall_names[i].name;
    names[PV_ARRAY_LEN(syscall_names)] = NULL;
    near = pv_nearest(name, names);
    if (near)
        pv_lua_raise(L, "%s: there is no system call '%s' (did you mean '%s'?)", what, name, near);
    pv_lua_raise(L,
                 "%s: there is no system call '%s' in the kernel headers that Provium was built with; "
                 "pass its number",
                 what, name);
}

lua_Integer pv_lua_sys_integer(lua_State *L, int idx, const char *what, const char *arg)
{
    int is_int = 0;
    lua_Integer v = lua_type(L, idx) == LUA_TNUMBER ? lua_tointegerx(L, idx, &is_int) : 0;

    if (!is_int)
        pv_lua_raise(L, "%s: %s must be an integer, got %s", what, arg,
                     lua_isnone(L, idx) ? "nothing" : pv_lua_describe(L, idx));
    return v;
}

/* The number or name of a system call at idx. */
static LJMP uint64_t check_syscall(lua_State *L, int idx, const char *what)
{
    uint64_t nr;

    if (lua_type(L, idx) != LUA_TSTRING)
        return (uint64_t)pv_lua_sys_integer(L, idx, what, "the system call (a number or a name)");
    if (!pv_lua_sys_number(pv_lua_check_cstring(L, idx, "the name of a system call"), &nr))
        raise_unknown_syscall(L, what, lua_tostring(L, idx));
    return nr;
}

/* ---- arguments ---- */

int64_t pv_lua_sys_timeout(lua_State *L, int first, const char *what)
{
    int top = lua_gettop(L);
    int64_t timeout;

    if (top < first || !lua_istable(L, top))
        return 0;
    timeout = pv_lua_check_timeout(L, top, what, 0);
    lua_settop(L, top - 1);
    return timeout;
}

/* The integers from `first` to the top, for the slots from 0. */
static LJMP void check_sys_args(lua_State *L, int first, const char *what, struct sys_call *c)
{
    int n = lua_gettop(L) - first + 1;

    if (n > 6)
        pv_lua_raise(L, "%s: a system call takes 6 arguments, got %d", what, n);
    for (int i = 0; i < n; i++) {
        const char *arg = lua_pushfstring(L, "argument %d (of 0 to 5)", i);

        c->c.args[i] = (uint64_t)pv_lua_sys_integer(L, first + i, what, arg);
        lua_pop(L, 1);
    }
}

void pv_lua_sys_buf(lua_State *L, struct sys_call *c, const char *what, unsigned slot, int idx)
{
    struct pv_sys_buf *b = &c->bufs[c->c.n_bufs];

    if (lua_type(L, idx) != LUA_TSTRING)
        pv_lua_raise(L, "%s: the buffer for argument %d must be a string, got %s", what, (int)slot,
                     lua_isnone(L, idx) ? "nothing" : pv_lua_describe(L, idx));
    b->slot = slot;
    b->data = lua_tolstring(L, idx, &b->n);
    c->c.n_bufs++;
}

/* The table of slots and strings at idx; adds the buffers in order of slots. */
static LJMP void check_sys_bufs(lua_State *L, int idx, const char *what, struct sys_call *c)
{
    if (!lua_istable(L, idx))
        pv_lua_raise(L, "%s: the buffers must be a table such as {[1] = data}, got %s", what,
                     lua_isnone(L, idx) ? "nothing" : pv_lua_describe(L, idx));
    lua_pushnil(L);
    for (; lua_next(L, idx); lua_pop(L, 1))
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 0 || lua_tointeger(L, -2) > 5)
            pv_lua_raise(L, "%s: the keys of the buffers are the arguments that they replace, 0 to 5; got %s",
                         what, pv_lua_describe(L, -2));
    for (unsigned slot = 0; slot < 6; slot++) {
        if (lua_rawgeti(L, idx, slot) != LUA_TNIL)
            pv_lua_sys_buf(L, c, what, slot, -1); /* the table owns the string */
        lua_pop(L, 1);
    }
}

/* ---- pointers inside buffers ---- */

/* A 32-bit field of the table at idx; dflt < 0: required. */
static LJMP uint32_t spec_integer(lua_State *L, int idx, const char *what, const char *name, int64_t dflt)
{
    lua_Integer v;

    if (pv_lua_rawfield(L, idx, name) == LUA_TNIL && dflt >= 0) {
        v = dflt;
    } else if (lua_isnil(L, -1)) {
        pv_lua_raise(L, "%s needs '%s'", what, name);
        return 0;
    } else {
        v = lua_tointeger(L, -1);
    }
    if (v < 0 || v > UINT32_MAX)
        pv_lua_raise(L, "%s: '%s' must be from 0 to 4294967295, got %I", what, name, (LUAI_UACINT)v);
    lua_pop(L, 1);
    return (uint32_t)v;
}

static LJMP unsigned check_buf_idx(lua_State *L, const struct sys_call *c, const char *what, uint32_t slot)
{
    for (unsigned i = 0; i < c->c.n_bufs; i++)
        if (c->bufs[i].slot == slot)
            return i;
    pv_lua_raise(L,
                 "%s: 'buf_idx' %I is no buffer; it is the argument that the buffer replaces, as in the "
                 "table of buffers",
                 what, (LUAI_UACINT)slot);
    return 0;
}

/*
 * Sets p->buf to the place of the next pointer: `buf_idx` of the table at idx names a buffer, which an ioctl has only
 * one of, `ptr_idx` an earlier entry of the list, from 1.
 */
static LJMP void check_ptr_place(lua_State *L, int idx, const char *what, const struct sys_call *c,
                                 bool of_ioctl, struct pv_sys_ptr *p)
{
    bool in_buf = pv_lua_rawfield(L, idx, "buf_idx") != LUA_TNIL;
    bool in_ptr = pv_lua_rawfield(L, idx, "ptr_idx") != LUA_TNIL;
    lua_Integer k = lua_tointeger(L, -1);

    lua_pop(L, 2);
    if (of_ioctl)
        in_buf = !in_ptr;
    if (in_buf == in_ptr)
        pv_lua_raise(L,
                     "%s needs 'buf_idx' (the argument whose buffer holds the pointer) or 'ptr_idx' (an "
                     "earlier entry), and %s",
                     what, in_buf ? "not both" : "has neither");
    if (in_buf && of_ioctl)
        p->buf = 0;
    else if (in_buf)
        p->buf = check_buf_idx(L, c, what, spec_integer(L, idx, what, "buf_idx", -1));
    else if (k < 1 || k > (lua_Integer)c->c.n_ptrs)
        pv_lua_raise(L, "%s: 'ptr_idx' must be the number of an earlier entry, %s, got %I", what,
                     c->c.n_ptrs ? lua_pushfstring(L, "1 to %d", (int)c->c.n_ptrs) : "of which there is none",
                     (LUAI_UACINT)k);
    else
        p->buf = (unsigned)(c->c.n_bufs + (size_t)k - 1);
}

/* The table of a pointer, on top of the stack. */
static LJMP void check_sys_ptr(lua_State *L, const char *what, const char *len_name, struct sys_call *c)
{
    const struct lua_opt ptr_opts[] = {{"ptr_offset", OPT_INTEGER},
                                       {len_name, OPT_INTEGER},
                                       {"data", OPT_STRING},
                                       {"output", OPT_BOOLEAN},
                                       {"ptr_idx", OPT_INTEGER},
                                       {"buf_idx", OPT_INTEGER},
                                       {NULL, 0}};
    struct lua_opt opts[PV_ARRAY_LEN(ptr_opts)];
    struct pv_sys_ptr *p = &c->ptrs[c->c.n_ptrs];
    bool of_ioctl = !strcmp(len_name, "buf_len");
    int idx = lua_gettop(L);
    size_t room;

    memcpy(opts, ptr_opts, sizeof(opts));
    if (of_ioctl)
        opts[5].name = NULL; /* an ioctl has one buffer */
    if (!lua_istable(L, idx))
        pv_lua_raise(L, "%s must be a table such as {ptr_offset = 0, %s = 16}, got %s", what, len_name,
                     pv_lua_describe(L, idx));
    pv_lua_check_opts(L, idx, what, opts);
    if (pv_lua_rawfield(L, idx, "data") == LUA_TSTRING)
        p->data = lua_tolstring(L, -1, &p->n); /* the table owns the string */
    lua_pop(L, 1);
    check_ptr_place(L, idx, what, c, of_ioctl, p);
    p->offset = spec_integer(L, idx, what, "ptr_offset", -1);
    p->len = spec_integer(L, idx, what, len_name, p->data ? (int64_t)p->n : -1);
    p->output = pv_lua_rawfield(L, idx, "output") == LUA_TBOOLEAN && lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (p->n > p->len)
        pv_lua_raise(L, "%s: 'data' has %I bytes, more than '%s' %I", what, (LUAI_UACINT)p->n, len_name,
                     (LUAI_UACINT)p->len);
    room = p->buf < c->c.n_bufs ? c->bufs[p->buf].n : c->ptrs[p->buf - c->c.n_bufs].len;
    if (room < 8 || p->offset > room - 8)
        pv_lua_raise(L, "%s: a pointer at 'ptr_offset' %I takes bytes %I to %I of its buffer, which has %I",
                     what, (LUAI_UACINT)p->offset, (LUAI_UACINT)p->offset, (LUAI_UACINT)p->offset + 7,
                     (LUAI_UACINT)room);
    c->c.n_ptrs++;
}

void pv_lua_sys_specs(lua_State *L, int idx, const char *what, const char *list, const char *len_name,
                      struct sys_call *c)
{
    lua_Integer n;

    if (!lua_istable(L, idx))
        pv_lua_raise(L, "%s: '%s' must be a list of tables such as {{ptr_offset = 0, %s = 16}}, got %s", what,
                     list, len_name, lua_isnone(L, idx) ? "nothing" : pv_lua_describe(L, idx));
    n = pv_lua_list_len(L, idx);
    if (n < 0)
        pv_lua_raise(L, "%s: '%s' must be a list of tables such as {{ptr_offset = 0, %s = 16}}", what, list,
                     len_name);
    if (n > PV_BUFS_MAX)
        pv_lua_raise(L, "%s: '%s' has %I entries; at most %d", what, list, (LUAI_UACINT)n, PV_BUFS_MAX);
    for (lua_Integer i = 1; i <= n; i++) {
        const char *which = lua_pushfstring(L, "%s %s[%I]", what, list, (LUAI_UACINT)i);

        lua_rawgeti(L, idx, i);
        check_sys_ptr(L, which, len_name, c);
        lua_pop(L, 2);
    }
}

/* ---- the call ---- */

/*
 * Passes the sub-test's remaining time on to the agent, which interrupts the system call and lives on.  If
 * the host gave up instead, the agent process that hangs in the call would have to be replaced.
 */
static int run_timed_syscall(struct pv_testfile *tf, struct lua_agent a, struct sys_call *c,
                             struct pv_err *err)
{
    int64_t until = tf->guest_env.until, left = until - pv_now() + 2 * PV_NSEC_PER_MSEC;
    int rc;

    if (!until || left <= 0)
        return pv_agent_syscall(a.a, &c->c, &c->r, err);
    if (c->c.timeout_ns == 0 || c->c.timeout_ns > left)
        c->c.timeout_ns = left;
    tf->guest_env.until = until + INTERRUPT_GRACE;
    rc = pv_agent_syscall(a.a, &c->c, &c->r, err);
    tf->guest_env.until = until;
    return rc;
}

void pv_lua_sys_do(lua_State *L, struct lua_agent a, struct sys_call *c)
{
    const char *name = c->c.name = sys_name(c->c.nr);
    struct pv_err err;
    int rc;

    if (name)
        pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "system call %s in %s", name, a.name);
    else
        pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "system call %llu in %s", (unsigned long long)c->c.nr,
                         a.name);
    rc = run_timed_syscall(pv_lua_tf(L), a, c, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0)
        pv_lua_raise_err(L, &err);
}

int pv_lua_sys_push(lua_State *L, struct sys_call *c, size_t first)
{
    int n = 1;

    luaL_checkstack(L, (int)c->r.n_out + 1, NULL);
    lua_pushinteger(L, c->r.value);
    for (size_t i = first; i < c->r.n_out; i++, n++)
        lua_pushlstring(L, c->r.out[i].data ? c->r.out[i].data : "", c->r.out[i].len);
    sys_fini(c); /* now: it may be large, and the collector late */
    return n;
}

/* ---- methods ---- */

int pv_lua_syscall(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "syscall");
    struct sys_call *c = pv_lua_sys_new(L);

    lua_replace(L, 1); /* the handle is not needed any more */
    c->c.nr = check_syscall(L, 2, "syscall");
    c->c.timeout_ns = pv_lua_sys_timeout(L, 3, "syscall");
    check_sys_args(L, 3, "syscall", c);
    pv_lua_sys_do(L, a, c);
    lua_pushinteger(L, c->r.value);
    return 1;
}

int pv_lua_syscall_buf(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "syscall_buf");
    struct sys_call *c = pv_lua_sys_new(L);
    lua_Integer slot;

    lua_replace(L, 1);
    c->c.nr = check_syscall(L, 2, "syscall_buf");
    slot = pv_lua_sys_integer(L, 3, "syscall_buf", "the index of the buffer's argument");
    if (slot < 0 || slot > 5)
        pv_lua_raise(L, "syscall_buf: the buffer's argument must be 0 to 5, got %I", (LUAI_UACINT)slot);
    pv_lua_sys_buf(L, c, "syscall_buf", (unsigned)slot, 4);
    c->c.timeout_ns = pv_lua_sys_timeout(L, 5, "syscall_buf");
    check_sys_args(L, 5, "syscall_buf", c);
    pv_lua_sys_do(L, a, c);
    lua_pushinteger(L, c->r.value);
    return 1;
}

int pv_lua_syscall_bufs(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "syscall_bufs");
    struct sys_call *c = pv_lua_sys_new(L);

    lua_replace(L, 1);
    c->c.nr = check_syscall(L, 2, "syscall_bufs");
    check_sys_bufs(L, 3, "syscall_bufs", c);
    c->c.timeout_ns = pv_lua_sys_timeout(L, 4, "syscall_bufs");
    check_sys_args(L, 4, "syscall_bufs", c);
    pv_lua_sys_do(L, a, c);
    return pv_lua_sys_push(L, c, 0);
}

int pv_lua_syscall_ptr(lua_State *L)
{
    struct lua_agent a = pv_lua_check_agent(L, "syscall_ptr");
    struct sys_call *c = pv_lua_sys_new(L);

    lua_replace(L, 1);
    c->c.nr = check_syscall(L, 2, "syscall_ptr");
    check_sys_bufs(L, 3, "syscall_ptr", c);
    pv_lua_sys_specs(L, 4, "syscall_ptr", "ptrs", "data_len", c);
    c->c.timeout_ns = pv_lua_sys_timeout(L, 5, "syscall_ptr");
    check_sys_args(L, 5, "syscall_ptr", c);
    pv_lua_sys_do(L, a, c);
    return pv_lua_sys_push(L, c, 0);
}
