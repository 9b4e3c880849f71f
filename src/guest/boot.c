/* SPDX-License-Identifier: MIT */
/*
 * All options are checked before QEMU starts, then the parts of the instance are made
 * in the order of the steps below.  pv_guest_end undoes them when a step fails.
 */
#include "guest/agent-conn.h"
#include "guest/console.h"
#include "guest/gdb.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "guest/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "config/append.h"
#include "disk/image.h"
#include "guest/disks.h"
#include "guest/emulation.h"
#include "guest/initramfs.h"
#include "guest/machine.h"
#include "guest/nics.h"
#include "guest/patience.h"
#include "guest/shares.h"
#include "guest/systemd.h"
#include "guest/vsock-device.h"
#include "image/image.h"
#include "loop/loop.h"
#include "transport/serial.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/spool.h"
#include "vhost/vhost.h"
#include "vm/accel.h"
#include "vm/life.h"
#include "vm/qcow2.h"
#include "vm/spec.h"
#include "vm/version.h"
#include "wire/mux.h"
#include "wire/proto.h"

#define DEFAULT_TIMEOUT (30 * PV_NSEC_PER_SEC)

/* State of one boot, shared by its steps. */
struct boot {
    struct pv_guest *g;
    const struct pv_boot_opts *o;
    struct pv_patience patience;
    bool serial;
    bool again;                 /* the last machine; no options */
    struct pv_machine *machine; /* until QEMU is about to start, then the guest's */
    uint32_t tsc_khz;
    struct pv_kernel kernel;
    int initrd_fd;
};

void pv_boot_opts_fini(struct pv_boot_opts *o)
{
    free(o->append);
    for (size_t i = 0; i < o->n_files; i++) {
        free(o->files[i].guest_path);
        free(o->files[i].host_path);
        free(o->files[i].content);
    }
    free(o->files);
    for (size_t i = 0; i < o->n_disks; i++) {
        free(o->disks[i].name);
        free(o->disks[i].path);
        pv_disk_image_unref(o->disks[i].image);
        free(o->disks[i].format);
    }
    free(o->disks);
    free(o->root.dir);
    free(o->root.writable);
    free(o->nics);
    *o = (struct pv_boot_opts){0};
}

/* A machine that boots again has its NICs and disks already. */
static int boot_make_parts(struct boot *b, struct pv_err *err)
{
    if (!b->again && pv_guest_nics_begin(b->g, b->o, b->machine, err) < 0)
        return -1;
    return pv_guest_disks_make(b->g, b->machine, false, err);
}

static void boot_reads_image(const char *path, void *arg)
{
    pv_guest_reads(arg, path);
}

/* The images below a disk are inputs as the disk is.  A fault of a chain was told by pv_machine_new. */
static void boot_reads_disks(const struct boot *b)
{
    for (size_t i = 0; i < b->machine->n_disks; i++) {
        const struct pv_machine_disk *d = &b->machine->disks[i];

        if (d->path[0] && !d->n_backing && d->top < 0)
            pv_disk_chain(d->path, d->format, true, boot_reads_image, b->g, NULL);
    }
}

static int boot_check_opts(struct boot *b, struct pv_err *err)
{
    cleanup_free char *fault = NULL;

    if (b->o->append && strpbrk(b->o->append, "\r\n"))
        return pv_err_set(err, PV_E_USAGE, "append must be one line");
    fault = pv_append_fault(b->g->profile, b->o->append);
    if (fault)
        return pv_err_set(err, PV_E_USAGE, "append %s", fault);
    if (b->again && (!b->g->last->append || b->g->last->initrd < 0))
        return pv_err_set(err, PV_E_USAGE, "%s has no kernel and initramfs of before: give vm:boot options",
                          b->g->name);
    b->machine =
        b->again ? pv_machine_copy(b->g->last, err) : pv_machine_new(b->g->profile, b->o, b->serial, err);
    if (!b->machine)
        return -1;
    boot_reads_disks(b);
    return boot_make_parts(b, err);
}

static int step_accel(struct boot *b, struct pv_err *err)
{
    const struct pv_guest_env *env = b->g->env;
    enum pv_accel want = env->host.accel != PV_ACCEL_AUTO ? env->host.accel : b->g->profile->accel;
    static bool told;
    struct pv_accel_probe probe;

    pv_accel_probe(&probe);
    b->machine->kvm = pv_takes_kvm(want, &probe);
    b->tsc_khz = probe.tsc_khz;
    if (want == PV_ACCEL_KVM && !b->machine->kvm)
        return pv_err_set(err, PV_E_MISSING, "accel = kvm was asked for, but: %.*s",
                          pv_accel_fact_len(&probe), probe.why);
    if (want != PV_ACCEL_TCG && !probe.kvm && !told && env->observer.notice) {
        cleanup_free char *obeyed =
            pv_xasprintf("%.*s: accel = kvm is obeyed", pv_accel_fact_len(&probe), probe.why);

        told = true;
        env->observer.notice(b->machine->kvm ? obeyed : probe.why, env->observer.arg);
    }
    return 0;
}

static int step_kernel(struct boot *b, struct pv_err *err)
{
    pv_guest_reads(b->g, b->g->profile->kernel);
    pv_guest_reads(b->g, b->g->profile->initrd);
    /* With hardware acceleration the guest unpacks itself as fast as the host would. */
    if (pv_kernel_open(b->g->profile->kernel, !b->machine->kvm, &b->kernel, err) < 0)
        return -1;
    if (!b->again)
        b->machine->no_cx16 = pv_emulation_garbles_flags(b->machine, b->kernel.release);
    return 0;
}

/* It decides which drivers the initramfs has. */
static int step_shares(struct boot *b, struct pv_err *err)
{
    const struct pv_shares_ask ask = {
        .profile = b->g->profile, .release = b->kernel.release, .by = b->o->root.by, .again = b->again};

    return pv_guest_shares_start(pv_instance_shares(b->g->instance), b->g->env->host.loop, b->machine, &ask,
                                 err);
}

static int step_initramfs(struct boot *b, struct pv_err *err)
{
    const struct pv_initramfs i = {.opts = b->o,
                                   .machine = b->machine,
                                   .release = b->kernel.release,
                                   .serial = b->serial,
                                   .why_9p = pv_guest_shares_why_9p(pv_instance_shares(b->g->instance))};

    if (!b->again)
        return pv_guest_initramfs(b->g, &i, &b->initrd_fd, err);
    b->initrd_fd = fcntl(b->machine->initrd, F_DUPFD_CLOEXEC, 3);
    return b->initrd_fd < 0 ? pv_err_sys(err, errno, "cannot keep a descriptor") : 0;
}

/* The boot call decides before the profile, and that before the host's auto_transport. */
static bool boot_wants_serial(const struct pv_guest *g, const struct pv_boot_opts *o)
{
    enum pv_transport t = o->transport ? o->transport : g->profile->transport;

    return (t ? t : g->env->host.auto_transport) == PV_TRANSPORT_SERIAL;
}

static struct pv_channel *boot_make_channel(const struct boot *b, struct pv_err *err)
{
    struct pv_loop *loop = b->g->env->host.loop;
    struct pv_err why = PV_ERR_INIT;
    struct pv_channel *c;

    if (b->serial)
        return pv_serial_new(loop, err);
    c = pv_vsock_kernel_new(loop, &why);
    if (!c)
        pv_debug(b->g->name, "no vhost-vsock: %s", why.text);
    return c ? c : pv_vhost_channel_new(loop, pv_random_cid(), err);
}

static int step_channel(struct boot *b, struct pv_err *err)
{
    struct pv_channel *c = boot_make_channel(b, err);

    if (!c)
        return -1;
    pv_debug(b->g->name, "transport: %s", pv_channel_kind_name(c->kind));
    pv_instance_set_channel(b->g->instance, c);
    return 0;
}

static void tell_unconfined(const struct pv_guest *g)
{
    static bool told;
    cleanup_free char *line = NULL;

    if (told || !g->profile->unconfined || !g->env->observer.notice)
        return;
    told = true;
    line = pv_xasprintf("profile '%s' has confine = false: its QEMU may open all that you can",
                        g->profile->name);
    g->env->observer.notice(line, g->env->observer.arg);
}

static void tell_no_sandbox(const struct pv_guest *g)
{
    static bool told;
    cleanup_free char *line = NULL, *qemu = pv_guest_qemu(g->profile);

    if (told || g->profile->unconfined || !qemu || pv_qemu_confines(qemu) || !g->env->observer.notice)
        return;
    told = true;
    line = pv_xasprintf("%s has no seccomp: it is confined less (-sandbox is left out)", qemu);
    g->env->observer.notice(line, g->env->observer.arg);
}

static int step_qemu(struct boot *b, struct pv_err *err)
{
    struct pv_guest *g = b->g;
    const struct pv_profile *p = g->profile;
    struct pv_machine_arrays arrays = {0};
    int r;
    cleanup_free char *own =
        pv_xasprintf("%s%s", b->o->gdb ? "nokaslr " : "", /* addresses are the symbols' */
                     b->o->append ? b->o->append : "");
    cleanup_close int gdb = b->o->gdb ? pv_gdb_listen(g, b->o->timeout_ns > 0, err) : -1;
    cleanup_free char *append = b->again ? pv_xstrdup(b->machine->append)
                                         : pv_vm_kernel_args(b->machine->kvm, b->tsc_khz, PV_GUEST_INIT_PATH,
                                                             p->init, p->append, own);
    struct pv_vm_spec spec = {
        .name = g->name,
        .kernel = b->kernel.boot_path,
        .kernel_fd = b->kernel.fd,
        .append = append,
        .initrd_fd = b->initrd_fd,
        .state.savable = b->serial,
        .fatal_mark = PV_FATAL_MARK,
        .core = g->env->cores.open != NULL,
        .gdb_fd = gdb < 0 ? 0 : gdb,
    };

    if (b->o->gdb && gdb < 0)
        return -1;
    if (strlen(append) > PV_KERNEL_ARGS_MAX)
        return pv_err_set(err, PV_E_USAGE,
                          "the kernel command line has %zu bytes; the kernel takes %d (shorten append)",
                          strlen(append), PV_KERNEL_ARGS_MAX);
    g->lossy = pv_emulation_is_lossy(b->machine);
    tell_unconfined(g);
    tell_no_sandbox(g);
    if (pv_machine_set_boot(b->machine, append, b->initrd_fd, err) < 0)
        return -1;
    pv_machine_to_spec(b->machine, &spec, &arrays);
    r = pv_guest_disks_serve(g, arrays.disks, spec.n_disks, err);
    if (r == 0)
        r = b->serial ? pv_instance_make_memory(g->instance, b->machine, &spec, err) : 0;
    pv_instance_set_machine(g->instance, pv_steal(&b->machine));
    if (r == 0)
        r = pv_instance_start(g->instance, &spec, g->log, err);
    pv_guest_disks_close(arrays.disks, spec.n_disks);
    if (r == 0)
        pv_guest_nics_attach(g, false);
    pv_machine_arrays_fini(&arrays);
    return r;
}

static int step_agent(struct boot *b, struct pv_err *err)
{
    int r;

    do
        r = pv_agent_connect(&b->g->agent, b->patience.deadline, err);
    while (r < 0 && pv_patience_more(b->g, &b->patience, err));
    return r;
}

/* From here on; a reset during the boot itself is a failure of the boot. */
static int step_follow(struct boot *b, struct pv_err *err)
{
    struct pv_instance *i = b->g->instance;

    return pv_instance_machine(i)->follow
               ? pv_vm_allow_resets(pv_instance_vm(i), true, b->patience.deadline, err)
               : 0;
}

static const struct {
    const char *what;
    int (*fn)(struct boot *b, struct pv_err *err);
} steps[] = {
    {"looking for KVM", step_accel},
    {"reading the kernel", step_kernel},
    {"sharing a directory", step_shares},
    {"building the initramfs", step_initramfs},
    {"making the channel", step_channel},
    {"starting QEMU", step_qemu},
    {"booting", step_agent},
    {"letting it reboot", step_follow},
};

static void boot_disk_retries(struct pv_guest *g)
{
    for (size_t i = 0; g->instance && i < pv_instance_machine(g->instance)->n_disks; i++) {
        const struct pv_machine_disk *d = &pv_instance_machine(g->instance)->disks[i];

        if (d->served)
            pv_guest_disk_retries_off(g, d->name, d->bus);
    }
}

/* In a running guest, so that its agent can be asked for the missing part. */
static int boot_vsock_device(struct boot *b, struct pv_err *err)
{
    struct pv_guest *g = b->g;

    if (!pv_instance_machine(g->instance)->hotplug_port)
        return 0;
    if (pv_guest_attach_vsock(g, b->patience.deadline, err) == 0 &&
        pv_guest_await_vsock(g, b->patience.deadline, err) == 0)
        return 0;
    pv_guest_kill(g);
    return pv_err_wrap(err, "cannot boot %s", g->name);
}

static int boot_nics(struct boot *b, struct pv_err *err)
{
    if (b->g->met_again(b->g, b->patience.deadline, err) == 0)
        return 0;
    pv_guest_kill(b->g);
    return pv_err_wrap(err, "cannot boot %s", b->g->name);
}

/* The guest runs: systemctl is a command in it. */
static int boot_system(struct boot *b, struct pv_err *err)
{
    if (!b->again)
        b->g->last_waits = pv_choose(b->o->wait_system, b->g->profile->wait_system);
    if (!b->g->last_waits)
        return 0;
    pv_guest_phase(b->g, "waiting for systemd");
    if (pv_guest_await_systemd(b->g, b->patience.deadline, err) == 0)
        return 0;
    pv_guest_kill(b->g);
    return pv_err_wrap(err, "cannot boot %s", b->g->name);
}

static int boot_run_steps(struct boot *b, struct pv_err *err)
{
    uint64_t console = pv_spool_end(pv_guest_console(b->g, false));
    int64_t start = pv_now();
    int r = 0;

    for (size_t i = 0; r == 0 && i < PV_ARRAY_LEN(steps); i++) {
        pv_guest_phase(b->g, steps[i].what);
        r = steps[i].fn(b, err);
        pv_debug(b->g->name, "%s: done after %.1f ms", steps[i].what, (double)(pv_now() - start) / 1e6);
    }
    if (r < 0)
        pv_guest_initramfs_why(b->g, b->kernel.release, console, err);
    pv_machine_free(b->machine);
    pv_kernel_fini(&b->kernel);
    pv_close(&b->initrd_fd);
    return r;
}

/* One boot, from the lease to READY.  The guest has ended when it fails after pv_guest_begin. */
static int boot_once(struct pv_guest *g, const struct pv_boot_opts *o, struct pv_err *err)
{
    static const struct pv_boot_opts none;
    bool again = !o && g->last;
    struct boot b = {.g = g, .o = o ? o : &none, .again = again, .initrd_fd = -1};
    int64_t timeout = o && (o->timeout_ns || o->gdb) ? o->timeout_ns : g->profile->boot_timeout_ns;
    struct pv_vm_lease *lease;

    b.serial = again ? g->last_serial : boot_wants_serial(g, b.o);
    if (pv_guest_check_time(g, "boot", err) < 0)
        return -1;
    lease = boot_check_opts(&b, err) < 0
                ? NULL
                : pv_vm_lease_acquire(&g->env->pool, g->name, b.machine->memory, b.machine->cpus, NULL, err);
    if (!lease) {
        pv_machine_free(b.machine);
        return pv_err_wrap(err, "cannot boot %s", g->name);
    }
    if (!timeout && !b.o->gdb)
        timeout = DEFAULT_TIMEOUT;
    b.patience = pv_patience_begin(g, timeout);
    pv_guest_begin(g);
    pv_guest_adopt(g, pv_instance_new(g->env->host.loop, lease));
    if (boot_run_steps(&b, err) < 0) {
        if (err && err->cls == PV_E_TIMEOUT)
            pv_err_wrap(err, "cannot boot %s within %.3g s", g->name, (double)timeout / 1e9);
        else
            pv_err_wrap(err, "cannot boot %s", g->name);
        pv_guest_end(g, PV_GUEST_DEAD, "it did not boot");
        return -1;
    }
    pv_guest_set_running(g);
    boot_disk_retries(g);
    return boot_nics(&b, err) < 0 || boot_vsock_device(&b, err) < 0 ? -1 : boot_system(&b, err);
}

int pv_guest_check_off(struct pv_guest *g, struct pv_err *err)
{
    if (g->state != PV_GUEST_BOOTING && pv_guest_state(g) != PV_GUEST_RUNNING)
        return 0;
    return pv_err_set(err, PV_E_USAGE,
                      "cannot boot: %s is %s (vm:reboot, vm:power_cycle, or create another one)", g->name,
                      pv_guest_state_name(g->state));
}

/* True when the boot failed by the fault that pv_emulation_one_thread tells of, as far as can be known. */
static bool boot_was_lost(const struct pv_guest *g, const struct pv_err *err)
{
    return err->cls == PV_E_GUEST_DIED && err->died == PV_DIED_STUCK && g->lossy;
}

/* A boot that was lost is tried once more. */
static int guest_boot(struct pv_guest *g, const struct pv_boot_opts *o, struct pv_err *err)
{
    const struct pv_guest_observer *observer = &g->env->observer;
    struct pv_err why = PV_ERR_INIT;
    cleanup_free char *line = NULL;

    if (pv_guest_check_off(g, err) < 0)
        return -1;
    if (boot_once(g, o, &why) == 0)
        return 0;
    if (boot_was_lost(g, &why)) {
        line = pv_xasprintf(
            "%s stood still while it booted with tcg_thread = \"multi\", as can happen with this "
            "QEMU (provium doctor says more); it is booted once more",
            g->name);
        if (observer->notice)
            observer->notice(line, observer->arg);
        return boot_once(g, o, err);
    }
    if (err)
        *err = why;
    return -1;
}

int pv_guest_boot(struct pv_guest *g, const struct pv_boot_opts *o, struct pv_err *err)
{
    int r;

    if (pv_guest_operation_begin(g, "boot", err) < 0)
        return -1;
    r = guest_boot(g, o, err);
    pv_guest_operation_end(g);
    return r;
}
