/* SPDX-License-Identifier: MIT */
/* reboot, reset, wait_reboot, pause, resume, power_button, nmi, state, screenshot, time, set_time. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "guest/life.h"
#include "lua/handle.h"
#include "lua/methods.h"
#include "lua/options.h"
#include "lua/raise.h"
#include "lua/tmp.h"
#include "testfile/before-end.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

/* A step around fn.  ends: it is fn that ends the run of the kernel. */
static LJMP int run_timed(lua_State *L, const char *name, const char *doing, bool ends,
                          int (*fn)(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err))
{
    struct tf_guest *g = pv_lua_check_vm(L, name);
    int64_t timeout = pv_lua_check_time(L, 2, name, 0);
    struct pv_testfile *tf = pv_lua_tf(L);
    struct pv_err err;
    int rc;

    pv_tf_step_begin(tf, g->name, PV_STEP_BOOT, "%s %s", doing, g->name);
    if (ends)
        pv_tf_before_end(tf, g);
    rc = fn(g->g, timeout, &err);
    pv_tf_step_end(tf, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

static LJMP int run_plain(lua_State *L, const char *name, const char *doing,
                          int (*fn)(struct pv_guest *g, struct pv_err *err))
{
    struct tf_guest *g = pv_lua_check_vm(L, name);
    struct pv_testfile *tf = pv_lua_tf(L);
    struct pv_err err;
    int rc;

    pv_tf_call_begin(tf, g->name, "%s %s", doing, g->name);
    rc = fn(g->g, &err);
    pv_tf_step_end(tf, rc == 0);
    return rc < 0 ? pv_lua_raise_err(L, &err) : 0;
}

int pv_lua_vm_reboot(lua_State *L)
{
    return run_timed(L, "reboot", "rebooting", true, pv_guest_reboot);
}

int pv_lua_vm_reset(lua_State *L)
{
    return run_timed(L, "reset", "resetting", true, pv_guest_reset);
}

int pv_lua_vm_wait_reboot(lua_State *L)
{
    return run_timed(L, "wait_reboot", "waiting for a reboot of", false, pv_guest_wait_reboot);
}

int pv_lua_vm_pause(lua_State *L)
{
    return run_plain(L, "pause", "pausing", pv_guest_pause);
}

int pv_lua_vm_resume(lua_State *L)
{
    return run_plain(L, "resume", "resuming", pv_guest_unpause);
}

int pv_lua_vm_power_button(lua_State *L)
{
    return run_plain(L, "power_button", "pressing the power button of", pv_guest_power_button);
}

int pv_lua_vm_nmi(lua_State *L)
{
    return run_plain(L, "nmi", "sending an NMI to", pv_guest_nmi);
}

int pv_lua_vm_state(lua_State *L)
{
    lua_pushstring(L, pv_guest_condition(pv_lua_check_vm(L, "state")->g));
    return 1;
}

/* Replaces or makes a file of the host. */
static int write_host_file(const char *path, const struct pv_buf *data, struct pv_err *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (fd < 0 || pv_write_all(fd, data->data, data->len) < 0)
        return pv_err_sys(err, errno, "cannot write the screenshot to '%s'", path);
    return 0;
}

static void buf_fini(void *p)
{
    pv_buf_free(p);
}

/* vm:screenshot(path?): the PNG as a string, also written to a host file. */
int pv_lua_vm_screenshot(lua_State *L)
{
    struct tf_guest *g = pv_lua_check_vm(L, "screenshot");
    const char *path = lua_isnoneornil(L, 2) ? NULL : pv_lua_check_cstring(L, 2, "the path of a screenshot");
    struct pv_buf *png = pv_lua_tmp(L, sizeof(*png), buf_fini);
    struct pv_err err;
    int rc;

    pv_tf_call_begin(pv_lua_tf(L), g->name, "taking a screenshot of %s", g->name);
    rc = pv_guest_screenshot(g->g, png, &err);
    if (rc == 0 && path)
        rc = write_host_file(path, png, &err);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0)
        return pv_lua_raise_err(L, &err);
    lua_pushlstring(L, png->data ? png->data : "", png->len);
    return 1;
}

/* ---- the guest's clock: two system calls, of a 64-bit kernel ---- */

/* Calls a system call of the realtime clock with *ts as its buffer. */
static LJMP void call_clock(lua_State *L, uint64_t nr, const char *name, const char *doing,
                            struct timespec *ts)
{
    struct lua_agent a = pv_lua_check_agent(L, name);
    const struct pv_sys_buf buf = {.slot = 1, .data = ts, .n = sizeof(*ts)};
    const struct pv_syscall c = {.nr = nr,
                                 .args = {CLOCK_REALTIME},
                                 .name = name,
                                 .bufs = &buf,
                                 .n_bufs = 1,
                                 .timeout_ns =
                                     pv_lua_check_timeout(L, nr == SYS_clock_settime ? 3 : 2, name, 0)};
    struct pv_sysret r = {0};
    struct pv_err err;
    int rc;

    pv_tf_call_begin(pv_lua_tf(L), a.vm->name, "%s the clock of %s", doing, a.name);
    rc = pv_agent_syscall(a.a, &c, &r, &err);
    if (rc == 0 && r.value == -EINVAL && nr == SYS_clock_settime)
        rc = pv_err_set(
            &err, PV_E_GUEST,
            "set_time on %s: Linux takes no %.9g s since 1970: its clock reads at least its time since the "
            "boot, and at most the year 2232",
            a.name, (double)ts->tv_sec);
    else if (rc == 0 && r.value < 0)
        rc = pv_err_set(&err, PV_E_GUEST, "%s on %s: %s", name, a.name, strerror((int)-r.value));
    else if (rc == 0)
        memcpy(ts, r.out[0].data, sizeof(*ts)); /* of that size, as the reply was checked */
    pv_sysret_fini(&r);
    pv_tf_step_end(pv_lua_tf(L), rc == 0);
    if (rc < 0)
        pv_lua_raise_err(L, &err);
}

int pv_lua_time(lua_State *L)
{
    struct timespec ts = {0};

    call_clock(L, SYS_clock_gettime, "time", "reading", &ts);
    lua_pushnumber(L, (lua_Number)ts.tv_sec + (lua_Number)ts.tv_nsec / PV_NSEC_PER_SEC);
    return 1;
}

int pv_lua_set_time(lua_State *L)
{
    lua_Number t = lua_tonumber(L, 2), whole = floor(t);
    struct timespec ts;

    if (lua_type(L, 2) != LUA_TNUMBER || !(t >= 0 && t < 1e11))
        pv_lua_raise(L, "set_time needs seconds since 1970, such as os.time(), got %s",
                     pv_lua_describe(L, 2));
    ts = (struct timespec){.tv_sec = (time_t)whole, .tv_nsec = (long)((t - whole) * PV_NSEC_PER_SEC)};
    call_clock(L, SYS_clock_settime, "set_time", "setting", &ts);
    return 0;
}
