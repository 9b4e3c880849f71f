/* SPDX-License-Identifier: MIT */
/*
 * A resume starts QEMU on the snapshot's memory, loads the vmstate and opens a new session with the agent,
 * whose RESUME request sets the guest's clock and adds random bytes that no other clone has.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "guest/call.h"
#include "guest/console.h"
#include "guest/disks.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "guest/lease.h"
#include "guest/machine.h"
#include "guest/nics.h"
#include "guest/resume.h"
#include "guest/saved.h"
#include "guest/standby.h"
#include "guest/vsock-device.h"
#include "image/image.h"
#include "loop/loop.h"
#include "transport/serial.h"
#include "util/clock.h"
#include "util/copy.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/spawn.h"
#include "vm/version.h"
#include "util/log.h"
#include "vm/life.h"
#include "vm/migrate.h"
#include "vm/qmp.h"
#include "vm/spec.h"
#include "vm/vm.h"
#include "wire/proto.h"

#define DEFAULT_TIMEOUT (30 * PV_NSEC_PER_SEC)
#define CLOCK_OFF_MAX (100 * PV_NSEC_PER_MSEC)

/* For how long the clock is set again on a host that is too busy to deliver the time in time. */
#define CLOCK_TRIES_FOR (10 * PV_NSEC_PER_SEC)

enum { ENTROPY = 64 };

/* Opens a new file description: several QEMUs may read at once, each at its own offset. */
static int reopen_vmstate(int fd, struct pv_err *err)
{
    char path[64];
    int r;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = open(path, O_RDONLY | O_CLOEXEC);
    return r >= 0 ? r : pv_err_sys(err, errno, "cannot open the saved state");
}

/*
 * Kernel, initramfs and command line, which a reset boots from.  QEMU does not touch the memory for it while it waits for a
 * saved state.  Without these files the machine can be resumed, but not be reset (pv_instance_bootless).
 */
static void resume_boot_files(const struct pv_guest *g, const struct pv_machine *m, struct pv_kernel *k,
                              struct pv_vm_spec *spec)
{
    struct pv_err err = PV_ERR_INIT;

    if (!m->append || m->initrd < 0)
        return;
    if (pv_kernel_open(m->profile->kernel, !m->kvm, k, &err) < 0) {
        pv_debug(g->name, "resumed without a kernel: %s", err.text);
        return;
    }
    spec->kernel = k->boot_path;
    spec->kernel_fd = k->fd;
    spec->append = m->append;
    spec->initrd_fd = m->initrd;
    spec->fatal_mark = PV_FATAL_MARK;
}

/* Against a QEMU that the guest has taken over: it gets the file read-only, or the file is looked at before each use. */
static int resume_check_memory(const struct pv_guest *g, const struct pv_snapshot *s, struct pv_vm_spec *spec,
                               struct pv_err *err)
{
    cleanup_free char *qemu = pv_find_program("qemu-system-x86_64");

    spec->memory.read_only = qemu && pv_qemu_maps_read_only(qemu);
    if (pv_snapshot_memory_changed(s))
        return pv_err_set(
            err, PV_E_HOST,
            "the saved memory of %s was changed on the disk while this file used it; the next run "
            "checks its content and builds the fixture anew",
            g->name);
    return 0;
}

int pv_resume_start(struct pv_guest *g, struct pv_snapshot *s, struct pv_err *err)
{
    struct pv_instance *i = g->instance;
    struct pv_vm_spec spec = {
        .name = g->name,
        .initrd_fd = -1,
        .memory = {.kind = PV_VM_MEMORY_PRIVATE, .fd = s->memory}, /* a hotplug port needs a copy instead */
        .state = {.savable = true, .incoming = true},
        .core = g->env->cores.open != NULL};
    cleanup_close int vmstate = reopen_vmstate(s->vmstate, err);
    struct pv_machine *m = vmstate < 0 ? NULL : pv_machine_copy(s->machine, err);
    struct pv_channel *c = m ? pv_serial_new(g->env->host.loop, err) : NULL;
    struct pv_machine_arrays arrays = {0};
    struct pv_kernel kernel = {0};
    int r;

    if (m)
        pv_instance_set_machine(i, m);
    if (!c)
        return -1;
    pv_instance_set_channel(i, c);
    pv_instance_set_base(i, s);
    spec.state.load_fd = vmstate;
    pv_machine_to_spec(m, &spec, &arrays);
    resume_boot_files(g, m, &kernel, &spec);
    r = resume_check_memory(g, s, &spec, err);
    if (r == 0)
        r = pv_guest_disks_make(g, m, true, err);
    if (r == 0)
        r = pv_guest_disks_serve(g, arrays.disks, spec.n_disks, err);
    if (r == 0 && m->hotplug_port)
        r = pv_instance_make_memory(i, m, &spec, err);
    if (r == 0)
        r = pv_instance_start(i, &spec, g->log, err);
    pv_guest_disks_close(arrays.disks, spec.n_disks);
    pv_machine_arrays_fini(&arrays);
    pv_kernel_fini(&kernel);
    return r;
}

/* ---- the clock ---- */

/* Sends RESUME.  *off: the host's clock minus the guest's when the reply came, an upper bound. */
static int tell_time(struct pv_guest *g, int64_t deadline, int64_t *off, struct pv_err *err)
{
    struct pv_call c = {.ok = true};
    cleanup_free char *hostname = pv_guest_hostname(g, false);
    unsigned char entropy[ENTROPY];
    struct pv_enc e;

    if (getrandom(entropy, sizeof(entropy), 0) != (ssize_t)sizeof(entropy))
        return pv_err_sys(err, errno, "cannot get random bytes for %s", g->name);
    if (pv_call_begin(&g->agent, &c, PV_MSG_RESUME, "resume", &e, err) < 0)
        return -1;
    pv_enc_u64(&e, (uint64_t)pv_wall_now());
    pv_enc_bytes(&e, entropy, sizeof(entropy));
    pv_enc_str(&e, hostname ? hostname : "");
    if (pv_call_finish(&g->agent, &c, &e, "resume", pv_left(deadline), err) < 0)
        return -1;
    if (c.value > INT64_MAX)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent of %s says that its clock is %" PRIu64 " ns",
                          g->name, c.value);
    *off = pv_wall_now() - (int64_t)c.value;
    return 0;
}

/* RESUME is sent again when it took so long to arrive that the clock it set is off by CLOCK_OFF_MAX. */
int pv_resume_meet(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    int64_t off = 0, until = pv_deadline(CLOCK_TRIES_FOR);

    do {
        if (tell_time(g, deadline, &off, err) < 0)
            return -1;
        if (off > -CLOCK_OFF_MAX && off < CLOCK_OFF_MAX)
            return 0;
        pv_debug(g->name, "the clock was %.1f ms off: set again", (double)off / 1e6);
    } while (pv_now() < until && pv_now() < deadline);
    return pv_err_set(
        err, PV_E_TIMEOUT,
        "the clock of %s can not be set to within 100 ms of the host's (%.0f ms off): the host is too busy",
        g->name, (double)off / 1e6);
}

/*
 * A kernel that starts anew has the initramfs of the saved VM, which names that one: a resumed VM gets its own
 * name again.
 */
static int resumed_met_again(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    cleanup_free char *hostname = pv_guest_hostname(g, false);
    int64_t off;

    if (hostname && tell_time(g, deadline, &off, err) < 0)
        return pv_err_wrap(err, "cannot give %s its host name", g->name);
    return pv_guest_nics_set_up(g, deadline, err);
}

/* ---- the steps ---- */

static void resume_debug(const struct pv_guest *g, const char *what, int64_t start)
{
    pv_debug(g->name, "resume: %s after %.1f ms", what, (double)(pv_now() - start) / 1e6);
}

/*
 * The back end of a vsock device maps the memory file, so QEMU maps it shared, and it cannot be the
 * snapshot's. (With a private mapping of QEMU the back end would see zeroes, and no error.)  The saved state
 * of such a machine has no dirty pages.
 */
static int copy_shared_memory(const struct pv_guest *g, const struct pv_snapshot *s, struct pv_err *err)
{
    int fd = pv_instance_memory_fd(g->instance);

    return fd < 0 ? 0 : pv_copy_sparse(s->memory, fd, err);
}

int pv_resume_load(struct pv_guest *g, const struct pv_snapshot *s, int64_t deadline, struct pv_err *err)
{
    struct pv_vm *vm = pv_instance_vm(g->instance);
    int64_t start = pv_now();

    if (copy_shared_memory(g, s, err) < 0) /* while QEMU starts, which takes about as long */
        return -1;
    /*
     * Loading a virtio device reads its rings, so memory comes first; QEMU has mapped it once its monitor
     * replies.
     */
    if (s->dirty.n_runs && (pv_vm_qmp(vm, "query-status", NULL, NULL, deadline, err) < 0 ||
                            pv_vm_write_dirty(vm, &s->dirty, err) < 0))
        return -1;
    if (pv_guest_disks_replug(g, deadline, err) < 0)
        return -1;
    pv_guest_disks_stopped(g, true);
    if (pv_vm_load(vm, deadline, err) < 0 || pv_guest_disks_unflush(g, deadline, err) < 0)
        return -1;
    pv_guest_disks_stopped(g, false);
    resume_debug(g, "vmstate loaded", start);
    if (s->machine->follow && pv_vm_allow_resets(vm, true, deadline, err) < 0)
        return -1;
    if ((s->machine->hotplug_port && pv_guest_attach_vsock(g, deadline, err) < 0) ||
        pv_vm_cont(vm, deadline, err) < 0)
        return -1;
    resume_debug(g, "running", start);
    if (pv_agent_connect(&g->agent, deadline, err) < 0)
        return -1;
    resume_debug(g, "agent met", start);
    return 0;
}

static int resume_check(const struct pv_resume_opts *o, struct pv_err *err)
{
    return o && o->check ? o->check(o->arg, err) : 0;
}

/* ---- standby VM or new QEMU ---- */

/* Moves the snapshot's standby VM to the guest, which keeps its own lease.  False: no usable standby VM. */
static bool adopt_standby(struct pv_guest *g, struct pv_snapshot *s, int64_t deadline)
{
    struct pv_instance *i = pv_standby_adopt(g->env->standby_pool, s, g->log, deadline);

    if (!i)
        return false;
    pv_instance_set_lease(i, pv_instance_take_lease(g->instance));
    pv_instance_free(pv_guest_release(g));
    pv_guest_adopt(g, i);
    return true;
}

/* Adopts a standby VM, or starts QEMU and loads the saved state. */
static int guest_make_run(struct pv_guest *g, struct pv_snapshot *s, const struct pv_resume_opts *o,
                          int64_t deadline, struct pv_err *err)
{
    int64_t start = pv_now();

    pv_guest_phase(g, "resuming");
    if (pv_standby_name(g->env->standby_pool, s)) {
        if (resume_check(o, err) < 0)
            return -1;
        if (adopt_standby(g, s, deadline)) {
            resume_debug(g, "standby VM adopted", start);
            return 0;
        }
        if (pv_standby_check(g->env->standby_pool, s, err) < 0)
            return -1;
    }
    if (pv_resume_start(g, s, err) < 0)
        return -1;
    resume_debug(g, "QEMU started", start);
    if (resume_check(o, err) < 0)
        return -1;
    resume_debug(g, "checked", start);
    return pv_resume_load(g, s, deadline, err);
}

/* QEMU's own reason for its end explains more than the command that got no reply. */
static void explain_failure(struct pv_guest *g, struct pv_err *err)
{
    if (!g->instance || !err || err->cls == PV_E_TIMEOUT)
        return;
    if (pv_loop_run(g->env->host.loop, NULL, NULL, pv_deadline(50 * PV_NSEC_PER_MSEC), NULL) >= 0 &&
        pv_instance_ended(g->instance))
        pv_err_set(err, PV_E_GUEST_DIED, "%s", pv_vm_end_reason(pv_instance_vm(g->instance)));
}

/* g is in state booting; lease: one of the right size, or NULL. */
static int guest_resume(struct pv_guest *g, struct pv_snapshot *s, struct pv_vm_lease *lease,
                        const struct pv_resume_opts *o, struct pv_err *err)
{
    int64_t timeout = o && o->timeout_ns ? o->timeout_ns : DEFAULT_TIMEOUT, deadline;

    if (pv_standby_check(g->env->standby_pool, s, err) < 0) {
        pv_vm_lease_release(lease);
        pv_err_wrap(err, "cannot resume %s", g->name);
        pv_guest_end(g, PV_GUEST_DEAD, "it could not be resumed");
        return -1;
    }
    if (!lease)
        lease = pv_vm_lease_acquire(&g->env->pool, g->name, s->machine->memory, s->machine->cpus,
                                    pv_standby_name(g->env->standby_pool, s), err);
    if (!lease) {
        pv_guest_end(g, PV_GUEST_DEAD, "it could not be resumed");
        return -1;
    }
    if (g->state != PV_GUEST_BOOTING) { /* another task has ended it during the wait for the lease */
        pv_vm_lease_release(lease);
        return pv_err_set(err, PV_E_GUEST_DIED, "cannot resume %s: it was %s meanwhile", g->name,
                          pv_guest_state_name(g->state));
    }
    deadline = pv_deadline(timeout);
    pv_guest_adopt(g, pv_instance_new(g->env->host.loop, lease));
    if (guest_make_run(g, s, o, deadline, err) < 0) {
        explain_failure(g, err);
        pv_err_wrap(err, "cannot resume %s", g->name);
        pv_guest_end(g, PV_GUEST_DEAD, "it could not be resumed");
        if (err && err->cls == PV_E_GUEST_DIED && !err->vm) /* not of its standby VM */
            pv_err_died(err, g->end.died, g->number);
        return -1;
    }
    pv_guest_set_running(g);
    if (pv_guest_await_vsock(g, deadline, err) < 0 || pv_resume_meet(g, deadline, err) < 0 ||
        pv_guest_nics_resume(g, s, o ? o->nics : NULL, deadline, err) < 0) {
        pv_guest_kill(g);
        return -1;
    }
    g->met_again = resumed_met_again;
    /* A file that resumes a snapshot twice will probably resume it again. */
    if (++s->n_resumed > 1)
        pv_standby_prepare(g->env->standby_pool, s);
    return 0;
}

struct pv_guest *pv_guest_resume(const struct pv_guest_env *env, struct pv_snapshot *s,
                                 const struct pv_resume_opts *o, struct pv_err *err)
{
    const struct pv_profile *profile = s->machine->profile;
    struct pv_guest *g = o && o->name ? pv_guest_new_as(env, profile, o->name) : pv_guest_new(env, profile);
    int r;

    g->unknown = true;
    pv_guest_begin(g);
    r = guest_resume(g, s, NULL, o, err);
    g->unknown = false;
    if (r == 0)
        return g;
    pv_guest_free(g);
    return NULL;
}

int pv_guest_boot_from(struct pv_guest *g, struct pv_snapshot *s, const struct pv_resume_opts *o,
                       struct pv_err *err)
{
    int r;

    if (pv_guest_operation_begin(g, "boot", err) < 0)
        return -1;
    r = pv_guest_check_off(g, err) < 0 ? -1 : pv_guest_check_time(g, "boot", err);
    if (r == 0) {
        pv_guest_begin(g);
        r = guest_resume(g, s, NULL, o, err);
    }
    pv_guest_operation_end(g);
    return r;
}

int pv_guest_restore(struct pv_guest *g, struct pv_snapshot *s, const struct pv_resume_opts *o,
                     struct pv_err *err)
{
    struct pv_vm_lease *lease = NULL;
    int r;

    if (pv_guest_operation_begin(g, "restore", err) < 0)
        return -1;
    if (g->state == PV_GUEST_CREATED) {
        pv_guest_operation_end(g);
        return pv_err_set(err, PV_E_USAGE,
                          "cannot restore %s: it was never booted (vm:clone makes another VM)", g->name);
    }
    pv_guest_before_end(g);
    if (g->instance)
        lease = pv_instance_take_lease(g->instance);
    pv_guest_begin(g);
    pv_guest_console_mark(g, "restored");
    if (!pv_vm_lease_fits(lease, s->machine->memory, s->machine->cpus)) {
        pv_vm_lease_release(lease);
        lease = NULL;
    }
    r = guest_resume(g, s, lease, o, err);
    pv_guest_operation_end(g);
    return r;
}
