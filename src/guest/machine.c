/* SPDX-License-Identifier: MIT */
#include "guest/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "util/err.h"
#include "util/mem.h"
#include "vm/spec.h"

enum { MACHINE_VERSION = 2 };

struct pv_machine *pv_machine_new(const struct pv_profile *profile, uint64_t memory, unsigned cpus, bool kvm)
{
    struct pv_machine *m = pv_xcalloc(1, sizeof(*m));

    *m = (struct pv_machine){.profile = profile, .memory = memory, .cpus = cpus, .kvm = kvm};
    return m;
}

struct pv_machine_disk *pv_machine_add_disk(struct pv_machine *m, const char *path, const char *format,
                                            bool readonly, bool snapshot)
{
    m->disks = pv_xrealloc(m->disks, (m->n_disks + 1) * sizeof(*m->disks));
    m->disks[m->n_disks] = (struct pv_machine_disk){.path = pv_xstrdup(path),
                                                    .format = pv_xstrdup(format),
                                                    .readonly = readonly,
                                                    .snapshot = snapshot,
                                                    .top = -1};
    return &m->disks[m->n_disks++];
}

static int dup_fd(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

struct pv_machine *pv_machine_copy(const struct pv_machine *m, struct pv_err *err)
{
    struct pv_machine *c = pv_machine_new(m->profile, m->memory, m->cpus, m->kvm);
    bool ok = true;

    c->vsock = m->vsock;
    for (size_t i = 0; i < m->n_disks && ok; i++) {
        const struct pv_machine_disk *d = &m->disks[i];
        struct pv_machine_disk *to = pv_machine_add_disk(c, d->path, d->format, d->readonly, d->snapshot);

        to->backing = pv_xcalloc(d->n_backing, sizeof(*to->backing));
        for (; to->n_backing < d->n_backing && ok; to->n_backing += ok) {
            to->backing[to->n_backing] = dup_fd(d->backing[to->n_backing]);
            ok = to->backing[to->n_backing] >= 0;
        }
        if (d->top >= 0 && ok) {
            to->top = dup_fd(d->top);
            ok = to->top >= 0;
        }
    }
    if (ok)
        return c;
    pv_err_sys(err, errno, "cannot keep the descriptors of a machine");
    pv_machine_free(c);
    return NULL;
}

void pv_machine_free(struct pv_machine *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_disks; i++) {
        struct pv_machine_disk *d = &m->disks[i];

        for (size_t j = 0; j < d->n_backing; j++)
            pv_close(&d->backing[j]);
        pv_close(&d->top);
        free(d->backing);
        free(d->path);
        free(d->format);
    }
    free(m->disks);
    free(m);
}

int pv_machine_check_savable(const struct pv_machine *m, const char *name, struct pv_err *err)
{
    for (size_t i = 0; i < m->n_disks; i++)
        if (!m->disks[i].readonly && !m->disks[i].snapshot)
            return pv_err_set(
                err, PV_E_USAGE,
                "cannot save %s: its disk '%s' is written to directly, and what is in it can not be "
                "put back; attach it with snapshot = true",
                name, m->disks[i].path);
    return 0;
}

void pv_machine_spec(const struct pv_machine *m, struct pv_vm_spec *spec, struct pv_vm_disk **disks)
{
    *disks = pv_xcalloc(m->n_disks, sizeof(**disks));
    for (size_t i = 0; i < m->n_disks; i++) {
        const struct pv_machine_disk *d = &m->disks[i];

        (*disks)[i] = (struct pv_vm_disk){.path = d->path,
                                          .format = d->format,
                                          .readonly = d->readonly,
                                          .snapshot = d->snapshot,
                                          .backing = d->backing,
                                          .n_backing = d->n_backing,
                                          .copy_top = d->top >= 0,
                                          .top_fd = d->top};
    }
    spec->kvm = m->kvm;
    spec->hotplug_port = m->vsock;
    spec->machine = m->profile->machine;
    spec->cpu = m->profile->cpu;
    spec->extra_args = m->profile->qemu_args.v;
    spec->memory.size = m->memory;
    spec->cpus = m->cpus;
    spec->disks = *disks;
    spec->n_disks = m->n_disks;
}

char *pv_machine_to_json(const struct pv_machine *m)
{
    json_t *disks = json_array(), *j;
    char *text, *copy;

    for (size_t i = 0; i < m->n_disks; i++) {
        const struct pv_machine_disk *d = &m->disks[i];

        json_array_append_new(disks, json_pack("{s:s, s:s, s:b, s:b, s:I}", "path", d->path, "format",
                                               d->format, "readonly", d->readonly, "snapshot", d->snapshot,
                                               "layers", (json_int_t)d->n_backing));
    }
    j = json_pack("{s:i, s:s, s:I, s:I, s:b, s:b, s:o}", "version", MACHINE_VERSION, "profile",
                  m->profile->name, "memory", (json_int_t)m->memory, "cpus", (json_int_t)m->cpus, "kvm",
                  m->kvm, "vsock", m->vsock, "disks", disks);
    text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    copy = pv_xstrdup(text ? text : "{}"); /* a path that is no UTF-8: refused by whoever reads it */
    free(text);
    return copy;
}

static int add_disk(struct pv_machine *m, const json_t *j, struct pv_err *err)
{
    const char *path, *format;
    struct pv_machine_disk *d;
    json_int_t layers;
    int ro, snapshot;

    if (json_unpack((json_t *)j, "{s:s, s:s, s:b, s:b, s:I !}", "path", &path, "format", &format, "readonly",
                    &ro, "snapshot", &snapshot, "layers", &layers) < 0 ||
        layers < 0 || layers > PV_VM_BACKING_MAX)
        return pv_err_set(err, PV_E_HOST, "the description of a disk makes no sense");
    d = pv_machine_add_disk(m, path, format, ro, snapshot);
    d->backing = pv_xcalloc((size_t)layers, sizeof(*d->backing));
    for (d->n_backing = 0; d->n_backing < (size_t)layers; d->n_backing++)
        d->backing[d->n_backing] = -1;
    return 0;
}

struct pv_machine *pv_machine_from_json(const char *json, const struct pv_config *config, struct pv_err *err)
{
    json_t *j = json_loads(json, 0, NULL), *disks, *disk;
    const struct pv_profile *profile = NULL;
    struct pv_machine *m = NULL;
    json_int_t memory, cpus;
    const char *name;
    int version, kvm, vsock;
    size_t i;

    if (!j ||
        json_unpack(j, "{s:i, s:s, s:I, s:I, s:b, s:b, s:o !}", "version", &version, "profile", &name,
                    "memory", &memory, "cpus", &cpus, "kvm", &kvm, "vsock", &vsock, "disks", &disks) < 0 ||
        version != MACHINE_VERSION || memory <= 0 || cpus <= 0 || cpus > 1024 || !json_is_array(disks)) {
        pv_err_set(err, PV_E_HOST, "the description of the machine makes no sense");
        goto out;
    }
    profile = pv_config_profile(config, name, err);
    if (!profile)
        goto out;
    m = pv_machine_new(profile, (uint64_t)memory, (unsigned)cpus, kvm);
    m->vsock = vsock;
    json_array_foreach(disks, i, disk)
    {
        if (add_disk(m, disk, err) < 0) {
            pv_machine_free(m);
            m = NULL;
            goto out;
        }
    }
out:
    json_decref(j);
    return m;
}
