/* SPDX-License-Identifier: MIT */
#include "guest/emulation.h"

#include <stdio.h>
#include <string.h>

#include "guest/machine.h"
#include "util/mem.h"
#include "util/spawn.h"
#include "vm/accel.h"
#include "vm/version.h"

bool pv_takes_kvm(enum pv_accel want, const struct pv_accel_probe *probe)
{
    return want == PV_ACCEL_KVM ? probe->works : want == PV_ACCEL_AUTO && probe->kvm;
}

/* A later -smp in qemu_args wins over Provium's own. */
static bool has_several_cpus(const struct pv_machine *m)
{
    const struct pv_strv *args = &m->profile->qemu_args;

    for (size_t i = 0; i < args->n; i++)
        if (!strcmp(args->v[i], "-smp") || !strcmp(args->v[i], "--smp"))
            return true;
    return m->cpus > 1;
}

static const char *machine_qemu_version(const struct pv_machine *m)
{
    cleanup_free char *qemu = pv_qemu_find(m->profile->qemu, NULL);

    return qemu ? pv_qemu_known_version(qemu) : NULL;
}

bool pv_emulation_garbles_flags(const struct pv_machine *m, const char *release)
{
    int major, minor;

    if (m->kvm || !pv_qemu_garbles_flags(machine_qemu_version(m)))
        return false;
    return !release || sscanf(release, "%3d.%3d", &major, &minor) != 2 || major > 6 ||
           (major == 6 && minor >= 5);
}

static bool emulates_smp(const struct pv_machine *m)
{
    return !m->kvm && has_several_cpus(m);
}

bool pv_emulation_one_thread(const struct pv_machine *m)
{
    return emulates_smp(m) && m->profile->tcg_thread != PV_TCG_THREAD_MULTI;
}

bool pv_emulation_is_lossy(const struct pv_machine *m)
{
    return emulates_smp(m) && m->profile->tcg_thread == PV_TCG_THREAD_MULTI;
}
