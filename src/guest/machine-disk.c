/* SPDX-License-Identifier: MIT */
#include "guest/machine-disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "disk/disk.h"
#include "disk/image.h"
#include "guest/guest.h"
#include "guest/machine.h"
#include "util/err.h"
#include "vm/plug.h"
#include "vm/qcow2.h"
#include "vm/spec.h"

static struct pv_machine_disk *disk_add(struct pv_machine *m, const char *path, const char *format,
                                        bool readonly, bool snapshot)
{
    m->disks = pv_xrealloc(m->disks, (m->n_disks + 1) * sizeof(*m->disks));
    m->disks[m->n_disks] = (struct pv_machine_disk){.name = pv_xasprintf("vd%c", 'a' + (char)m->n_disks),
                                                    .path = pv_xstrdup(path),
                                                    .format = pv_xstrdup(format),
                                                    .readonly = readonly,
                                                    .snapshot = snapshot,
                                                    .top = -1};
    return &m->disks[m->n_disks++];
}

static int file_check(const struct pv_guest_disk *d, struct pv_err *err)
{
    struct stat st;
    bool writes = !d->readonly && !d->snapshot;

    if (strcmp(d->format, "raw") != 0 && strcmp(d->format, "qcow2") != 0)
        return pv_err_set(err, PV_E_USAGE, "disk '%s': unknown format '%s'; expected \"raw\" or \"qcow2\"",
                          d->path, d->format);
    if (stat(d->path, &st) < 0)
        return pv_err_set_at(err, PV_E_USAGE, errno, __FILE__, __LINE__, "disk '%s'", d->path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return pv_err_set(err, PV_E_USAGE, "disk '%s' is neither a file nor a block device", d->path);
    if (access(d->path, writes ? R_OK | W_OK : R_OK) < 0)
        return pv_err_set_at(err, PV_E_USAGE, errno, __FILE__, __LINE__, "disk '%s' can not be %s%s", d->path,
                             writes ? "written" : "read",
                             writes ? " (readonly = true or snapshot = true?)" : "");
    return 0;
}

int pv_guest_disk_check(const struct pv_guest_disk *d, struct pv_err *err)
{
    if (d->path)
        return file_check(d, err) < 0 || pv_disk_chain(d->path, d->format, d->backing, NULL, NULL, err) < 0
                   ? -1
                   : 0;
    if (d->size > PV_DISK_SIZE_MAX)
        return pv_err_set(err, PV_E_USAGE, "disk '%s': size is more than 64 TiB", d->name ? d->name : "");
    return 0;
}

static const struct pv_machine_disk *disk_named(const struct pv_machine *m, const char *name)
{
    for (size_t i = 0; i < m->n_disks; i++)
        if (!strcmp(m->disks[i].name, name))
            return &m->disks[i];
    return NULL;
}

static int disk_from_opts(struct pv_machine *m, const struct pv_guest_disk *d, bool keep, struct pv_err *err)
{
    cleanup_free char *dflt = pv_xasprintf("vd%c", 'a' + (char)m->n_disks);
    const char *name = d->name ? d->name : dflt;
    struct pv_machine_disk *to;

    if (pv_guest_disk_check(d, err) < 0)
        return -1;
    if (disk_named(m, name))
        return pv_err_set(err, PV_E_USAGE, "two disks are called '%s': give one of them another name", name);
    to = disk_add(m, d->path ? d->path : "", d->format, d->readonly, d->path && (d->snapshot || keep));
    free(to->name);
    to->name = pv_xstrdup(name);
    to->bus = d->bus;
    to->served = d->faults || !d->path;
    to->sector = d->sector;
    to->size = d->size;
    to->image = d->image ? pv_disk_image_ref(d->image) : NULL;
    return 0;
}

int pv_machine_disk_add(struct pv_machine *m, const struct pv_guest_disk *d, struct pv_err *err)
{
    if (m->n_disks == PV_VM_DISKS_MAX)
        return pv_err_set(err, PV_E_USAGE, "a VM has at most %d disks", PV_VM_DISKS_MAX);
    if (disk_from_opts(m, d, false, err) < 0)
        return -1;
    m->disks[m->n_disks - 1].plain = !m->disks[m->n_disks - 1].served;
    m->disks[m->n_disks - 1].served = true;
    return 0;
}

void pv_machine_disk_remove(struct pv_machine *m, const char *name)
{
    for (size_t i = 0; i < m->n_disks; i++)
        if (!strcmp(m->disks[i].name, name)) {
            pv_machine_disk_fini(&m->disks[i]);
            memmove(&m->disks[i], &m->disks[i + 1], (--m->n_disks - i) * sizeof(m->disks[0]));
            return;
        }
}

int pv_machine_disks_from_opts(struct pv_machine *m, const struct pv_boot_opts *o, struct pv_err *err)
{
    const struct pv_profile *p = m->profile;

    if (p->rootfs && pv_disk_chain(p->rootfs, p->rootfs_format, p->rootfs_backing, NULL, NULL, err) < 0)
        return -1;
    if (p->rootfs)
        disk_add(m, p->rootfs, p->rootfs_format, true, false);
    if (m->n_disks + o->n_disks > PV_VM_DISKS_MAX)
        return pv_err_set(err, PV_E_USAGE, "%zu disks are too many for a VM; expected at most %d",
                          m->n_disks + o->n_disks, PV_VM_DISKS_MAX);
    for (size_t i = 0; i < o->n_disks; i++)
        if (disk_from_opts(m, &o->disks[i], o->keep_disks, err) < 0)
            return -1;
    return 0;
}

static int fd_dup(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* False: out of descriptors (errno). */
bool pv_machine_disk_copy(struct pv_machine *to, const struct pv_machine_disk *d)
{
    struct pv_machine_disk *c = disk_add(to, d->path, d->format, d->readonly, d->snapshot);

    free(c->name);
    c->name = pv_xstrdup(d->name);
    c->bus = d->bus;
    c->served = d->served;
    c->plain = d->plain;
    c->plug = d->plug;
    c->sector = d->sector;
    c->size = d->size;
    c->image = d->image ? pv_disk_image_ref(d->image) : NULL;
    c->backing = pv_xcalloc(d->n_backing, sizeof(*c->backing));
    for (; c->n_backing < d->n_backing; c->n_backing++) {
        int fd = fd_dup(d->backing[c->n_backing]);

        if (fd < 0)
            return false;
        c->backing[c->n_backing] = fd;
    }
    if (d->top >= 0)
        c->top = fd_dup(d->top);
    return d->top < 0 || c->top >= 0;
}

void pv_machine_disk_fini(struct pv_machine_disk *d)
{
    for (size_t i = 0; i < d->n_backing; i++)
        pv_close(&d->backing[i]);
    pv_close(&d->top);
    free(d->backing);
    pv_disk_image_unref(d->image);
    free(d->name);
    free(d->path);
    free(d->format);
}

void pv_machine_disks_to_spec(const struct pv_machine *m, struct pv_vm_spec *spec, struct pv_vm_disk **disks)
{
    size_t n = 0;

    *disks = pv_xcalloc(m->n_disks, sizeof(**disks));
    for (size_t i = 0; i < m->n_disks; i++) {
        const struct pv_machine_disk *d = &m->disks[i];

        if (d->plug) /* pv_guest_disks_replug */
            continue;
        (*disks)[n++] = (struct pv_vm_disk){.name = d->name,
                                            .sector = d->sector,
                                            .bus = d->bus,
                                            .served = d->served,
                                            .served_fd = -1,
                                            .path = d->path,
                                            .format = d->format,
                                            .readonly = d->readonly,
                                            .snapshot = d->snapshot,
                                            .backing = d->backing,
                                            .n_backing = d->n_backing,
                                            .copy_top = d->top >= 0,
                                            .top_fd = d->top};
    }
    spec->disks = *disks;
    spec->n_disks = n;
}

json_t *pv_machine_disks_to_json(const struct pv_machine *m, struct pv_err *err)
{
    json_t *disks = json_array();

    for (size_t i = 0; i < m->n_disks; i++) {
        const struct pv_machine_disk *d = &m->disks[i];
        json_t *j;

        j = json_pack("{s:s, s:i, s:i, s:i, s:s, s:s, s:b, s:b, s:b, s:I, s:I}", "name", d->name, "plug",
                      (int)d->plug, "sector", (int)d->sector, "bus", (int)d->bus, "path", d->path, "format",
                      d->format, "readonly", d->readonly, "snapshot", d->snapshot, "served", d->served,
                      "size", (json_int_t)d->size, "backing", (json_int_t)d->n_backing);
        if (!j) {
            pv_err_set(err, PV_E_USAGE,
                       "disk '%s': its name or path is not UTF-8, so the machine cannot be saved to a file",
                       d->path);
            json_decref(disks);
            return NULL;
        }
        json_array_append_new(disks, j);
    }
    return disks;
}

static bool disk_from_json(struct pv_machine *m, const json_t *j)
{
    const char *name, *path, *format;
    struct pv_machine_disk *d;
    json_int_t backing, size;
    int readonly, snapshot, served, sector, bus, plug;

    if (m->n_disks == PV_VM_DISKS_MAX ||
        json_unpack((json_t *)j, "{s:s, s:i, s:i, s:i, s:s, s:s, s:b, s:b, s:b, s:I, s:I !}", "name", &name,
                    "plug", &plug, "sector", &sector, "bus", &bus, "path", &path, "format", &format,
                    "readonly", &readonly, "snapshot", &snapshot, "served", &served, "size", &size, "backing",
                    &backing) < 0 ||
        size < 0 || (uint64_t)size > PV_DISK_SIZE_MAX || backing < 0 || backing > PV_VM_BACKING_MAX ||
        (sector != 0 && sector != 512 && sector != 4096) || bus < PV_VM_BUS_VIRTIO || bus > PV_VM_BUS_SCSI ||
        plug < 0 || plug > PV_VM_PLUGS_MAX || (plug && !served) || strlen(name) > PV_DISK_NAME)
        return false;
    d = disk_add(m, path, format, readonly, snapshot);
    free(d->name);
    d->name = pv_xstrdup(name);
    d->sector = (unsigned)sector;
    d->bus = (enum pv_vm_bus)bus;
    d->served = served;
    d->plug = (unsigned)plug;
    d->size = (uint64_t)size;
    d->backing = pv_xcalloc((size_t)backing, sizeof(*d->backing));
    for (d->n_backing = 0; d->n_backing < (size_t)backing; d->n_backing++)
        d->backing[d->n_backing] = -1;
    return true;
}

bool pv_machine_disks_from_json(struct pv_machine *m, const json_t *disks)
{
    const json_t *disk;
    size_t i;

    json_array_foreach(disks, i, disk)
    {
        if (!disk_from_json(m, disk))
            return false;
    }
    return true;
}
