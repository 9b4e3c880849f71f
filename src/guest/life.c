/* SPDX-License-Identifier: MIT */
#include "guest/life.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "guest/call.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "guest/machine.h"
#include "guest/patience.h"
#include "guest/vsock-device.h"
#include "loop/loop.h"
#include "transport/channel.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/path.h"
#include "vhost/vhost.h"
#include "vm/life.h"
#include "vm/vm.h"

#define DEFAULT_TIMEOUT (30 * PV_NSEC_PER_SEC)
#define MONITOR_LIMIT (10 * PV_NSEC_PER_SEC)
/* The agent's port may be closed that long before the machine resets: file systems are synced. */
#define GOODBYE_LIMIT (5 * PV_NSEC_PER_SEC)
/* How long the name of a condition may take to find out. */
#define GLANCE_LIMIT (500 * PV_NSEC_PER_MSEC)

enum { SCREENSHOT_MAX = 64 << 20 };

static bool guest_follows(const struct pv_guest *g)
{
    return pv_instance_machine(g->instance)->follow;
}

static struct pv_patience boot_patience(const struct pv_guest *g, int64_t timeout_ns)
{
    int64_t profile = g->profile->boot_timeout_ns ? g->profile->boot_timeout_ns : DEFAULT_TIMEOUT;

    return pv_patience_begin(g, timeout_ns ? timeout_ns : profile);
}

static int64_t monitor_deadline(const struct pv_guest *g)
{
    return pv_guest_deadline(g, MONITOR_LIMIT);
}

/* ---- waiting for the agent ---- */

static int await_vsock(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    return pv_instance_machine(g->instance)->hotplug_port ? pv_guest_await_vsock(g, deadline, err) : 0;
}

static int await_agent(struct pv_guest *g, struct pv_patience *p, struct pv_err *err)
{
    int r;

    pv_guest_phase(g, "waiting for it to come back");
    do
        r = pv_agent_meet_again(g, p->deadline, err);
    while (r < 0 && pv_patience_more(g, p, err));
    if (r < 0 || await_vsock(g, p->deadline, err) < 0) {
        if (err && err->cls == PV_E_TIMEOUT)
            pv_err_wrap(err, "%s %s, and did not come back in time", g->name, g->life.how);
        else
            pv_err_wrap(err, "%s %s, and did not come back", g->name, g->life.how);
        return -1;
    }
    g->life.unwaited = 0;
    return 0;
}

static bool reset_has_come(void *arg)
{
    const struct pv_guest *g = arg;

    return g->life.unwaited > 0 || !g->instance || pv_instance_ended(g->instance);
}

/* Waits for the machine's reset, whatever becomes of the agent meanwhile. */
static int await_reset(struct pv_guest *g, int64_t deadline, const char *what, struct pv_err *err)
{
    int r = pv_loop_run(g->env->host.loop, reset_has_come, g, deadline, err);

    if (r < 0 || (g->life.unwaited == 0 && r == 0))
        return r < 0 ? -1 : pv_guest_wait(g, reset_has_come, g, deadline, err);
    if (r == 0)
        return 0;
    pv_err_set(err, PV_E_TIMEOUT, "%s on %s timed out: the machine did not reboot", what, g->name);
    pv_guest_add_console(g, err);
    return -1;
}

/* Lets the machine reset where it would end else, and back. */
static int allow_reset(struct pv_guest *g, bool allow, struct pv_err *err)
{
    if (!g->instance || pv_instance_ended(g->instance) || guest_follows(g))
        return 0;
    return pv_guest_monitor_result(
        g, pv_vm_allow_resets(pv_instance_vm(g->instance), allow, monitor_deadline(g), err), err);
}

static int check_kernel(struct pv_guest *g, const char *what, struct pv_err *err)
{
    if (!pv_instance_bootless(g->instance))
        return 0;
    return pv_err_set(err, PV_E_USAGE,
                      "cannot %s %s: it was resumed from a saved state without its kernel and initramfs",
                      what, g->name);
}

/* The common part: `reset` starts it, with the machine allowed to reset. */
static int reboot_steps(struct pv_guest *g, enum pv_asked asked,
                        int (*start)(struct pv_guest *g, int64_t deadline, struct pv_err *err),
                        int64_t timeout_ns, struct pv_err *err)
{
    const char *what = asked == PV_ASKED_RESET ? "reset" : "reboot";
    struct pv_patience patience = boot_patience(g, timeout_ns);
    int r;

    if (check_kernel(g, what, err) < 0 || allow_reset(g, true, err) < 0)
        return -1;
    pv_guest_phase(g, what);
    g->life.asked = asked;
    g->life.unwaited = 0;
    r = start(g, patience.deadline, err);
    if (r == 0)
        r = await_reset(g, patience.deadline, what, err);
    if (r == 0)
        r = await_agent(g, &patience, err);
    if (r == 0) /* not before: firmware may reset the machine once more */
        r = allow_reset(g, false, err);
    g->life.asked = PV_ASKED_NOTHING;
    return r;
}

static int reboot_run(struct pv_guest *g, enum pv_asked asked,
                      int (*start)(struct pv_guest *g, int64_t deadline, struct pv_err *err),
                      int64_t timeout_ns, struct pv_err *err)
{
    int r;

    if (pv_guest_operation_begin(g, asked == PV_ASKED_RESET ? "reset" : "reboot", err) < 0)
        return -1;
    r = reboot_steps(g, asked, start, timeout_ns, err);
    pv_guest_operation_end(g);
    return r;
}

static int start_reboot(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    struct pv_err asked = PV_ERR_INIT;

    /* An agent that does not reply may have been too slow: the reset decides. */
    if (pv_agent_ask_reboot(&g->agent, deadline, &asked) == 0 || g->life.unwaited)
        return 0;
    pv_debug(g->name, "reboot: %s", asked.text);
    if (asked.cls == PV_E_TIMEOUT && g->state == PV_GUEST_RUNNING)
        return await_reset(g, deadline, "reboot", err); /* its error has the console */
    if (asked.cls == PV_E_GUEST_DIED && g->state == PV_GUEST_RUNNING &&
        await_reset(g, pv_guest_deadline(g, GOODBYE_LIMIT), "reboot", NULL) == 0)
        return 0;
    if (err)
        *err = asked;
    return -1;
}

int pv_guest_reboot(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    if (pv_guest_check_running(g, "reboot", err) < 0 || pv_guest_check_time(g, "reboot", err) < 0)
        return -1;
    return reboot_run(g, PV_ASKED_REBOOT, start_reboot, timeout_ns, err);
}

static int start_reset(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    struct pv_vm *vm = pv_instance_vm(g->instance);

    (void)deadline;
    if (pv_guest_monitor_result(g, pv_vm_reset(vm, monitor_deadline(g), err), err) < 0)
        return -1;
    if (!g->life.paused)
        return 0;
    pv_instance_release_vsock(g->instance, true);
    if (pv_guest_monitor_result(g, pv_vm_cont(vm, monitor_deadline(g), err), err) < 0)
        return -1;
    g->life.paused = false;
    return 0;
}

int pv_guest_reset(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    if (pv_guest_check_machine(g, "reset", err) < 0 || pv_guest_check_time(g, "reset", err) < 0)
        return -1;
    return reboot_run(g, PV_ASKED_RESET, start_reset, timeout_ns, err);
}

int pv_guest_wait_reboot(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    struct pv_patience patience = boot_patience(g, timeout_ns);

    if (pv_guest_check_machine(g, "wait for a reboot", err) < 0 ||
        pv_guest_check_time(g, "wait for a reboot", err) < 0)
        return -1;
    if (!guest_follows(g))
        return pv_err_set(
            err, PV_E_USAGE,
            "cannot wait for a reboot of %s: a reboot ends it; boot it with on_reboot = \"follow\"", g->name);
    pv_guest_phase(g, "waiting for a reboot");
    if (await_reset(g, patience.deadline, "wait_reboot", err) < 0)
        return -1;
    return await_agent(g, &patience, err);
}

/* ---- pauses and keys ---- */

int pv_guest_pause(struct pv_guest *g, struct pv_err *err)
{
    if (pv_guest_check_machine(g, "pause", err) < 0)
        return -1;
    pv_instance_hold_vsock(g->instance);
    if (pv_guest_monitor_result(g, pv_vm_stop(pv_instance_vm(g->instance), monitor_deadline(g), err), err) <
        0) {
        if (g->instance)
            pv_instance_release_vsock(g->instance, false);
        return -1;
    }
    g->life.paused = true;
    return 0;
}

int pv_guest_unpause(struct pv_guest *g, struct pv_err *err)
{
    if (pv_guest_check_machine(g, "resume", err) < 0)
        return -1;
    if (!g->life.paused)
        return pv_err_set(err, PV_E_USAGE, "cannot resume: %s is not paused", g->name);
    if (pv_guest_monitor_result(g, pv_vm_cont(pv_instance_vm(g->instance), monitor_deadline(g), err), err) <
        0)
        return -1;
    pv_instance_release_vsock(g->instance, false);
    g->life.paused = false;
    return 0;
}

int pv_guest_power_button(struct pv_guest *g, struct pv_err *err)
{
    if (pv_guest_check_machine(g, "press the power button", err) < 0)
        return -1;
    return pv_guest_monitor_result(
        g, pv_vm_power_button(pv_instance_vm(g->instance), monitor_deadline(g), err), err);
}

int pv_guest_nmi(struct pv_guest *g, struct pv_err *err)
{
    if (pv_guest_check_machine(g, "send an NMI", err) < 0)
        return -1;
    return pv_guest_monitor_result(g, pv_vm_nmi(pv_instance_vm(g->instance), monitor_deadline(g), err), err);
}

int pv_guest_screenshot(struct pv_guest *g, struct pv_buf *out, struct pv_err *err)
{
    const char *dir = g->env->host.log_dir ? g->env->host.log_dir : "/tmp";
    cleanup_free char *path = pv_path_join(dir, "screenshot-XXXXXX");
    cleanup_close int fd = -1, writer = -1;
    int r;

    if (pv_guest_check_machine(g, "take a screenshot", err) < 0)
        return -1;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return pv_err_sys(err, errno, "cannot make a file for the screenshot in '%s'", dir);
    writer = open(path, O_WRONLY | O_CLOEXEC);
    r = writer < 0
            ? pv_err_sys(err, errno, "cannot open '%s'", path)
            : pv_guest_monitor_result(
                  g, pv_vm_screenshot(pv_instance_vm(g->instance), writer, monitor_deadline(g), err), err);
    if (r == 0)
        r = pv_read_file(path, SCREENSHOT_MAX, out, err);
    unlink(path);
    return r < 0 ? pv_err_wrap(err, "screenshot of %s", g->name) : 0;
}

bool pv_guest_serves(const struct pv_guest *g)
{
    return pv_guest_state(g) == PV_GUEST_RUNNING && !g->life.paused && !g->life.rebooting;
}

const char *pv_guest_condition(struct pv_guest *g)
{
    enum pv_guest_state s = pv_guest_state(g);
    struct pv_channel *c;

    if (s != PV_GUEST_RUNNING)
        return pv_guest_state_name(s);
    if (g->life.paused)
        return "paused";
    c = pv_instance_channel(g->instance);
    if (g->life.rebooting && (c->error || !c->ops->ready(c)))
        return "rebooting";
    if (g->life.rebooting && pv_agent_meet_again(g, pv_guest_deadline(g, GLANCE_LIMIT), NULL) < 0)
        return g->life.rebooting ? "rebooting" : pv_guest_state_name(pv_guest_state(g));
    return pv_guest_state_name(pv_guest_state(g));
}
