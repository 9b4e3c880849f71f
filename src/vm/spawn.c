/* SPDX-License-Identifier: MIT */
/* Starting QEMU: what it inherits, at the numbers that its command line names. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "util/err.h"
#include "util/log.h"
#include "util/spawn.h"
#include "vm/overlay.h"
#include "vm/internal.h"

enum { FIXED_FDS = 8 };

struct inherited {
    struct pv_spawn_fd fds[FIXED_FDS + PV_VM_DISKS_MAX + PV_VM_LAYERS_MAX];
    size_t n;
};

static void inherit(struct inherited *in, int from, int to)
{
    in->fds[in->n++] = (struct pv_spawn_fd){from, to};
}

static int inherit_disks(struct pv_saving *s, const struct pv_vm_spec *spec, struct inherited *in,
                         struct pv_err *err)
{
    int layers = 0;

    if (spec->n_disks > PV_VM_DISKS_MAX)
        return pv_err_set(err, PV_E_USAGE, "%zu disks are too many for a VM; expected at most %d",
                          spec->n_disks, PV_VM_DISKS_MAX);
    for (size_t i = 0; i < spec->n_disks; i++) {
        const struct pv_vm_disk *d = &spec->disks[i];

        if (layers + d->n_layers > PV_VM_LAYERS_MAX)
            return pv_err_set(err, PV_E_USAGE,
                              "the disks have more than %d layers: fixtures are nested too deep",
                              PV_VM_LAYERS_MAX);
        for (size_t j = 0; j < d->n_layers; j++)
            inherit(in, d->layers[j], PV_QEMU_FD_LAYER + layers++);
        if (!d->snapshot || d->readonly)
            continue;
        s->overlays[i] = pv_overlay_open(d, err);
        if (s->overlays[i] < 0)
            return -1;
        inherit(in, s->overlays[i], PV_QEMU_FD_OVERLAY + (int)i);
    }
    return 0;
}

/* Memory and state; copies of the descriptors are kept for pv_vm_save. */
static int inherit_state(struct pv_saving *s, const struct pv_vm_spec *spec, struct inherited *in,
                         struct pv_err *err)
{
    if (spec->memory_kind != PV_VM_MEMORY_OWN) {
        s->memory = pv_vm_memory_size(spec->memory);
        inherit(in, spec->memory_fd, PV_QEMU_FD_MEMORY);
    }
    if (spec->incoming) {
        s->load_fd = fcntl(spec->load_fd, F_DUPFD_CLOEXEC, 3);
        if (s->load_fd < 0)
            return pv_err_sys(err, errno, "cannot keep a descriptor");
        inherit(in, spec->load_fd, PV_QEMU_FD_LOAD);
    }
    if (!spec->savable)
        return 0;
    s->fd = memfd_create("provium-save", MFD_CLOEXEC);
    if (s->fd < 0)
        return pv_err_sys(err, errno, "cannot make a file in memory");
    inherit(in, s->fd, PV_QEMU_FD_SAVE);
    return 0;
}

pid_t pv_vm_spawn(const struct pv_vm_spec *spec, struct pv_saving *s, const struct pv_vm_ends *ends,
                  int *pidfd, struct pv_err *err)
{
    struct inherited in = {.n = 0};
    cleanup_strv struct pv_strv argv = {0};
    struct pv_spawn sp = {.fds = in.fds};
    pid_t pid;

    inherit(&in, ends->errors, 2);
    inherit(&in, ends->qmp, PV_QEMU_FD_QMP);
    inherit(&in, ends->console, PV_QEMU_FD_CONSOLE);
    if (spec->vsock_kind)
        inherit(&in, spec->vsock_fd, PV_QEMU_FD_VSOCK);
    if (spec->initrd_fd >= 0)
        inherit(&in, spec->initrd_fd, PV_QEMU_FD_INITRD);
    if (inherit_state(s, spec, &in, err) < 0 || inherit_disks(s, spec, &in, err) < 0)
        return -1;
    pv_vm_args(spec, &argv);
    sp.n_fds = in.n;
    sp.file = argv.v[0];
    sp.argv = argv.v;
    for (size_t i = 0; pv_log_on && i < argv.n; i++)
        pv_debug("vm", "argv[%zu] %s", i, argv.v[i]);
    pid = pv_spawn(&sp, pidfd, err);
    if (pid < 0 && err && err->cls == PV_E_MISSING)
        pv_err_append(err, "; install it: apt install qemu-system-x86");
    return pid;
}
