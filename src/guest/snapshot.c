/* SPDX-License-Identifier: MIT */
/*
 * Saving.  The agent comes to rest and says so, then the machine is stopped, then its state is copied: no
 * byte is in flight between host and guest in a saved state.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "guest/disks.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/held.h"
#include "guest/instance.h"
#include "guest/machine.h"
#include "guest/saved.h"
#include "guest/vsock-device.h"
#include "loop/loop.h"
#include "transport/channel.h"
#include "util/clock.h"
#include "util/copy.h"
#include "util/err.h"
#include "util/log.h"
#include "vm/migrate.h"
#include "vm/overlay.h"
#include "vm/vm.h"

#define DEFAULT_TIMEOUT (30 * PV_NSEC_PER_SEC)

/* ---- the pieces ---- */

static int new_memfd(const char *name, struct pv_err *err)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    return fd >= 0 ? fd : pv_err_sys(err, errno, "cannot make a file in memory");
}

/* last: the guest does not run again, so its memory file becomes the snapshot's without a copy. */
static int save_memory(const struct pv_guest *g, struct pv_snapshot *s, bool last, struct pv_err *err)
{
    int memory_fd = pv_instance_memory_fd(g->instance);

    if (memory_fd < 0) {
        s->memory = fcntl(pv_instance_base(g->instance)->memory, F_DUPFD_CLOEXEC, 3);
        s->loaded = pv_instance_base(g->instance)->loaded;
        if (s->memory < 0)
            return pv_err_sys(err, errno, "cannot keep the memory of %s", g->name);
        return pv_vm_read_dirty(pv_instance_vm(g->instance), &s->dirty, err);
    }
    if (last) {
        s->memory = fcntl(memory_fd, F_DUPFD_CLOEXEC, 3);
        return s->memory < 0 ? pv_err_sys(err, errno, "cannot keep the memory of %s", g->name) : 0;
    }
    s->memory = new_memfd("provium-memory", err);
    return s->memory < 0 ? -1 : pv_copy_sparse(memory_fd, s->memory, err);
}

/*
 * The overlays: with `last` each one extends its disk's backing chain, else the next overlay begins as a
 * copy.
 */
static int save_disks(const struct pv_guest *g, struct pv_snapshot *s, bool last, struct pv_err *err)
{
    for (size_t i = 0; i < s->machine->n_disks; i++) {
        struct pv_machine_disk *d = &s->machine->disks[i];
        int overlay = pv_vm_overlay(pv_instance_vm(g->instance), i), fd;

        if (overlay < 0)
            continue;
        pv_close(&d->top);
        if (last) {
            fd = fcntl(overlay, F_DUPFD_CLOEXEC, 3);
            if (fd < 0)
                return pv_err_sys(err, errno, "cannot keep disk '%s'", d->path);
            d->backing = pv_xrealloc(d->backing, (d->n_backing + 1) * sizeof(*d->backing));
            d->backing[d->n_backing++] = fd;
            continue;
        }
        d->top = new_memfd("provium-disk", err);
        if (d->top < 0 || pv_copy_sparse(overlay, d->top, err) < 0)
            return -1;
    }
    return 0;
}

/* Once in the life of this process. */
static void tell_slow_saves(const struct pv_guest *g)
{
    static bool told;

    if (told || !g->env->observer.notice)
        return;
    told = true;
    g->env->observer.notice("this QEMU cannot save a VM's devices apart from its memory: fixtures, snapshots "
                            "and clones work, but slowly",
                            g->env->observer.arg);
}

/*
 * The QEMUs that map the memory privately open it for writing: the seal is what keeps them from it.  A file of the
 * cache has no seals, and one that its QEMU still maps shared takes none.
 */
static void snapshot_seal(const struct pv_snapshot *s)
{
    if (fcntl(s->memory, F_ADD_SEALS, F_SEAL_WRITE) < 0 &&
        fcntl(s->memory, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) < 0)
        pv_debug("snapshot", "its memory is not sealed");
}

/* Stops the machine and saves all of it. */
static int save_machine(struct pv_guest *g, struct pv_snapshot *s, bool last, int64_t deadline,
                        struct pv_err *err)
{
    int64_t start = pv_now();
    bool with_memory;

    pv_guest_disks_stopped(g, true);
    if (pv_vm_save(pv_instance_vm(g->instance), &s->vmstate, &with_memory, deadline, err) < 0)
        return -1;
    if (with_memory)
        tell_slow_saves(g);
    pv_debug(g->name, "vmstate saved after %.1f ms", (double)(pv_now() - start) / 1e6);
    if (save_memory(g, s, last, err) < 0 || save_disks(g, s, last, err) < 0 ||
        pv_guest_disks_freeze(g, s->machine, err) < 0)
        return -1;
    snapshot_seal(s);
    pv_debug(g->name, "memory and disks saved after %.1f ms (%" PRIu64 " pages)",
             (double)(pv_now() - start) / 1e6, s->dirty.n_pages);
    return 0;
}

/* ---- the whole ---- */

static bool channel_is_at_rest(void *arg)
{
    const struct pv_channel *c = arg;

    return c->error || c->ops->quiesced(c);
}

static int guest_quiesce(struct pv_guest *g, bool idle, int64_t deadline, struct pv_err *err)
{
    struct pv_channel *c;
    int r;

    pv_guest_before_end(g);
    if (pv_guest_check_running(g, "save it", err) < 0)
        return -1;
    pv_instance_stop_asking(g->instance);
    c = pv_instance_channel(g->instance);
    c->ops->quiesce(c, idle);
    r = pv_guest_wait(g, channel_is_at_rest, c, deadline, err);
    if (r < 0)
        return -1;
    if (c->error)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent's port of %s broke: %s", g->name, c->error_text);
    if (r > 0)
        return pv_err_set(err, PV_E_TIMEOUT, "the agent of %s did not come to rest in time%s", g->name,
                          idle ? " (does something that it started not end?)" : "");
    return 0;
}

static int check_savable(struct pv_guest *g, const char *what, struct pv_err *err)
{
    const struct pv_channel *c;

    if (pv_agent_check_running(&g->agent, what, err) < 0)
        return -1;
    c = pv_instance_channel(g->instance);
    if (!c->savable)
        return pv_err_set(
            err, PV_E_USAGE,
            "cannot %s %s: its transport is vsock (%s), which can not be saved; boot it with transport "
            "= \"serial\"",
            what, g->name, pv_channel_kind_name(c->kind));
    if (pv_guest_disks_check_savable(g, what, err) < 0)
        return -1;
    return pv_machine_check_savable(pv_instance_machine(g->instance), g->name, err);
}

/* Checks, and copies the description of the machine while that still runs. */
static struct pv_snapshot *snapshot_begin(struct pv_guest *g, const char *what, struct pv_err *err)
{
    struct pv_machine *m = check_savable(g, what, err) < 0 || pv_held_check_none(g, what, err) < 0
                               ? NULL
                               : pv_machine_copy(pv_instance_machine(g->instance), err);

    struct pv_snapshot *s = m ? pv_snapshot_new(m) : NULL;

    if (s)
        memcpy(s->nics, g->nics, sizeof(s->nics));
    for (int i = 0; s && i < PV_VM_NICS_MAX; i++)
        m->nics[i] = g->nics[i].hw; /* a clone's device has another MAC than QEMU was started with */
    return s;
}

static struct pv_snapshot *snapshot_failed(struct pv_guest *g, struct pv_snapshot *s, const char *what,
                                           struct pv_err *err)
{
    pv_snapshot_unref(s);
    pv_guest_monitor_result(g, -1, err);
    pv_err_wrap(err, "cannot %s %s", what, g->name);
    return NULL;
}

static bool machine_runs(const struct pv_guest *g)
{
    return g->instance && !pv_instance_ended(g->instance);
}

/*
 * The clocks of a stopped machine stand still, so CLOCK_REALTIME has fallen behind by the stop.  It is moved on by
 * that and not set to the host's: the test may have set it to another time.  A failure is no failure of the snapshot:
 * the test may have taken the agent's right to set the clock.
 */
static void guest_catch_up(struct pv_guest *g, int64_t stopped_ns)
{
    struct timex t = {
        .modes = ADJ_SETOFFSET | ADJ_NANO,
        .time = {.tv_sec = stopped_ns / PV_NSEC_PER_SEC, .tv_usec = stopped_ns % PV_NSEC_PER_SEC}};
    const struct pv_sys_buf buf = {.slot = 1, .data = &t, .n = sizeof(t)};
    const struct pv_syscall c = {.nr = SYS_clock_adjtime,
                                 .args = {CLOCK_REALTIME},
                                 .name = "clock_adjtime",
                                 .bufs = &buf,
                                 .n_bufs = 1,
                                 .timeout_ns = DEFAULT_TIMEOUT};
    struct pv_sysret r = {0};
    struct pv_err why = PV_ERR_INIT;

    if (pv_agent_syscall(&g->agent, &c, &r, &why) < 0 || r.value < 0)
        pv_debug(g->name, "its clock is %.1f ms late: %s", (double)stopped_ns / 1e6,
                 why.text[0] ? why.text : strerror((int)-r.value));
    pv_sysret_fini(&r);
}

/*
 * The machine goes on after a save, whether that succeeded or not: with a deadline of its own, because the
 * snapshot's may have passed.  stopped: when it was stopped for the save, of pv_boot_now(); 0: it was not.
 */
static int snapshot_go_on(struct pv_guest *g, int64_t stopped, struct pv_err *err)
{
    int64_t deadline = pv_deadline(DEFAULT_TIMEOUT);
    struct pv_channel *c;

    if (stopped && machine_runs(g)) {
        if (pv_guest_disks_unflush(g, deadline, err) < 0)
            return -1;
        pv_guest_disks_stopped(g, false);
    }
    if (stopped && machine_runs(g) && pv_vm_cont(pv_instance_vm(g->instance), deadline, err) < 0)
        return -1;
    if (!g->instance)
        return 0;
    c = pv_instance_channel(g->instance);
    c->ops->wake(c);
    if (stopped && machine_runs(g))
        guest_catch_up(g, pv_boot_now() - stopped);
    if (!machine_runs(g) || !pv_instance_machine(g->instance)->hotplug_port || pv_instance_vsock(g->instance))
        return 0;
    return pv_guest_attach_vsock(g, deadline, err) < 0 ? -1 : pv_guest_await_vsock(g, deadline, err);
}

static struct pv_snapshot *guest_snapshot(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    int64_t deadline = pv_deadline(timeout_ns ? timeout_ns : DEFAULT_TIMEOUT);
    struct pv_snapshot *s = snapshot_begin(g, "snapshot", err);
    int64_t stopped = 0; /* when; 0: not at all */
    int r;

    if (!s)
        return NULL;
    r = pv_guest_detach_vsock(g, deadline, err);
    if (r == 0)
        r = guest_quiesce(g, false, deadline, err);
    if (r == 0) {
        stopped = pv_boot_now();
        r = save_machine(g, s, false, deadline, err);
    }
    if (snapshot_go_on(g, stopped, r == 0 ? err : NULL) < 0)
        r = -1;
    return r == 0 ? s : snapshot_failed(g, s, "snapshot", err);
}

struct pv_snapshot *pv_guest_snapshot(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    struct pv_snapshot *s;

    if (pv_guest_operation_begin(g, "snapshot", err) < 0)
        return NULL;
    s = guest_snapshot(g, timeout_ns, err);
    pv_guest_operation_end(g);
    return s;
}

static struct pv_snapshot *guest_save(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    int64_t deadline = pv_deadline(timeout_ns ? timeout_ns : DEFAULT_TIMEOUT);
    struct pv_snapshot *s = snapshot_begin(g, "save", err);

    if (!s)
        return NULL;
    for (int i = 0; i < PV_VM_NICS_MAX; i++)
        if (s->nics[i].hw.mtu) {
            pv_err_set(err, PV_E_USAGE,
                       "it has NICs, whose networks end with this script; unplug them first (vm:unplug)");
            return snapshot_failed(g, s, "save", err);
        }
    if (pv_guest_detach_vsock(g, deadline, err) < 0)
        return snapshot_failed(g, s, "save", err);
    pv_instance_close_sessions(g->instance);
    if (guest_quiesce(g, true, deadline, err) < 0 || save_machine(g, s, true, deadline, err) < 0)
        return snapshot_failed(g, s, "save", err);
    /* Before the machine can run again: its memory is the snapshot's now. */
    pv_guest_end(g, PV_GUEST_SHUT_DOWN, NULL);
    snapshot_seal(s);
    return s;
}

struct pv_snapshot *pv_guest_save(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    struct pv_snapshot *s;

    if (pv_guest_operation_begin(g, "save", err) < 0)
        return NULL;
    s = guest_save(g, timeout_ns, err);
    pv_guest_operation_end(g);
    return s;
}
