/* SPDX-License-Identifier: MIT */
/* Starting QEMU: the descriptors that it inherits, at the numbers that its command line names. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "util/err.h"
#include "util/log.h"
#include "util/spawn.h"
#include "vm/confine.h"
#include "vm/internal.h"
#include "vm/nic.h"
#include "vm/overlay.h"
#include "vm/share.h"

enum { FIXED_FDS = 12 };

enum { FDS_MAX = FIXED_FDS + PV_VM_DISKS_MAX + PV_VM_BACKING_MAX + PV_VM_NICS_MAX + PV_VM_SHARES_MAX };

_Static_assert((int)FDS_MAX <= (int)PV_SPAWN_FDS, "pv_spawn passes on the descriptors of all disks");
_Static_assert((int)PV_QEMU_FD_NIC + (int)PV_VM_NICS_MAX <= (int)PV_QEMU_FD_SHARE, "descriptor numbers");

struct inherited {
    struct pv_spawn_fd fds[FDS_MAX];
    size_t n;
};

static void inherit_fd(struct inherited *in, int from, int to)
{
    in->fds[in->n++] = (struct pv_spawn_fd){from, to};
}

static int inherit_disks(struct pv_vm *vm, const struct pv_vm_spec *spec, struct inherited *in,
                         struct pv_err *err)
{
    int backing = 0;

    if (spec->n_disks > PV_VM_DISKS_MAX)
        return pv_err_set(err, PV_E_USAGE, "%zu disks are too many for a VM; expected at most %d",
                          spec->n_disks, PV_VM_DISKS_MAX);
    for (size_t i = 0; i < spec->n_disks; i++) {
        const struct pv_vm_disk *d = &spec->disks[i];

        if (d->served) {
            inherit_fd(in, d->served_fd, PV_QEMU_FD_OVERLAY + (int)i);
            continue;
        }
        if (backing + d->n_backing > PV_VM_BACKING_MAX)
            return pv_err_set(err, PV_E_USAGE,
                              "the backing chains of the disks have more than %d images: fixtures are nested "
                              "too deep",
                              PV_VM_BACKING_MAX);
        for (size_t j = 0; j < d->n_backing; j++)
            inherit_fd(in, d->backing[j], PV_QEMU_FD_BACKING + backing++);
        if (!d->snapshot || d->readonly)
            continue;
        vm->overlays[i] = pv_overlay_open(d, err);
        if (vm->overlays[i] < 0)
            return -1;
        inherit_fd(in, vm->overlays[i], PV_QEMU_FD_OVERLAY + (int)i);
    }
    return 0;
}

/* The VM keeps a copy of load_fd and the save file itself for pv_vm_save. */
static int inherit_state(struct pv_vm *vm, const struct pv_vm_spec *spec, struct inherited *in,
                         struct pv_err *err)
{
    struct pv_vm_migration *m = &vm->migration;

    if (spec->memory.kind != PV_VM_MEMORY_OWN) {
        vm->memory_file = pv_vm_memory_size(spec->memory.size);
        inherit_fd(in, spec->memory.fd, PV_QEMU_FD_MEMORY);
    }
    if (spec->state.incoming) {
        m->load_fd = fcntl(spec->state.load_fd, F_DUPFD_CLOEXEC, 3);
        if (m->load_fd < 0)
            return pv_err_sys(err, errno, "cannot keep a descriptor");
        inherit_fd(in, spec->state.load_fd, PV_QEMU_FD_LOAD);
    }
    if (!spec->state.savable)
        return 0;
    m->save_fd = memfd_create("provium-save", MFD_CLOEXEC);
    if (m->save_fd < 0)
        return pv_err_sys(err, errno, "cannot make a file in memory");
    inherit_fd(in, m->save_fd, PV_QEMU_FD_SAVE);
    return 0;
}

int pv_vm_spawn(struct pv_vm *vm, const struct pv_vm_spec *spec, const struct pv_vm_ends *ends,
                struct pv_err *err)
{
    struct inherited in = {.n = 0};
    cleanup_strv struct pv_strv argv = {0}, env = {0};
    cleanup_free char *program = NULL;
    cleanup_close int ruleset = -1, core = -1;
    struct pv_spawn sp = {.fds = in.fds, .no_core = true};

    inherit_fd(&in, ends->errors, 2);
    inherit_fd(&in, ends->qmp, PV_QEMU_FD_QMP);
    inherit_fd(&in, ends->console, PV_QEMU_FD_CONSOLE);
    inherit_fd(&in, ends->input, PV_QEMU_FD_CONSOLE_IN);
    if (spec->channel.kind)
        inherit_fd(&in, spec->channel.fd, PV_QEMU_FD_VSOCK);
    if (spec->initrd_fd >= 0)
        inherit_fd(&in, spec->initrd_fd, PV_QEMU_FD_INITRD);
    if (spec->kernel && spec->kernel_fd > 0)
        inherit_fd(&in, spec->kernel_fd, PV_QEMU_FD_KERNEL);
    if (spec->gdb_fd > 0)
        inherit_fd(&in, spec->gdb_fd, PV_QEMU_FD_GDB);
    if (spec->core && (core = pv_vm_core_pipe(vm, err)) < 0)
        return -1;
    if (spec->core)
        inherit_fd(&in, core, PV_QEMU_FD_CORE);
    if (inherit_state(vm, spec, &in, err) < 0 || inherit_disks(vm, spec, &in, err) < 0)
        return -1;
    for (int i = 0; spec->nic_fds && i < PV_VM_NICS_MAX; i++)
        if (spec->nic_fds[i] >= 0)
            inherit_fd(&in, spec->nic_fds[i], PV_QEMU_FD_NIC + i);
    for (unsigned i = 0; i < spec->n_shares; i++)
        if (spec->shares[i].by == PV_SHARE_VIRTIOFS)
            inherit_fd(&in, spec->shares[i].qemu_fd, PV_QEMU_FD_SHARE + (int)i);
    pv_vm_args(spec, &argv);
    pv_confine_env(&env);
    sp.file = argv.v[0];
    sp.argv = argv.v;
    sp.envp = env.v;
    program = pv_find_program(sp.file);
    if (program && !spec->unconfined)
        ruleset = pv_confine_ruleset(spec, program, in.fds, (unsigned)in.n);
    if (ruleset >= 0) {
        inherit_fd(&in, ruleset, PV_QEMU_FD_RULESET);
        sp.ruleset = PV_QEMU_FD_RULESET;
        vm->end.confined_args = spec->extra_args && spec->extra_args[0];
    }
    sp.n_fds = in.n;
    for (size_t i = 0; pv_log_on && i < argv.n; i++)
        pv_debug("vm", "argv[%zu] %s", i, argv.v[i]);
    vm->process.pid = pv_spawn(&sp, &vm->process.pidfd, err);
    if (vm->process.pid < 0 && err && err->cls == PV_E_MISSING)
        pv_err_append(err, "; install it: apt install qemu-system-x86");
    return vm->process.pid < 0 ? -1 : 0;
}
