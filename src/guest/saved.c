/* SPDX-License-Identifier: MIT */
/* The life of a snapshot, and its files in the fixture cache. */
#include "guest/saved.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "disk/image.h"
#include "guest/disks.h"
#include "guest/machine.h"
#include "util/clock.h"
#include "util/copy.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

enum { SAVED_NAME = 48 };

struct pv_snapshot *pv_snapshot_new(struct pv_machine *m)
{
    struct pv_snapshot *s = pv_xcalloc(1, sizeof(*s));

    *s = (struct pv_snapshot){.refs = 1, .machine = m, .memory = -1, .vmstate = -1, .dirty = {.fd = -1}};
    return s;
}

struct pv_snapshot *pv_snapshot_ref(struct pv_snapshot *s)
{
    s->refs++;
    return s;
}

void pv_snapshot_unref(struct pv_snapshot *s)
{
    if (!s || --s->refs)
        return;
    pv_machine_free(s->machine);
    pv_close(&s->memory);
    pv_close(&s->vmstate);
    pv_dirty_fini(&s->dirty);
    free(s);
}

uint64_t pv_snapshot_memory(const struct pv_snapshot *s)
{
    return s->machine->memory;
}

unsigned pv_snapshot_cpus(const struct pv_snapshot *s)
{
    return s->machine->cpus;
}

const struct pv_guest_nic *pv_snapshot_nics(const struct pv_snapshot *s)
{
    return s->nics;
}

const char *pv_snapshot_profile(const struct pv_snapshot *s)
{
    return s->machine->profile->name;
}

/* ---- to and from the cache ---- */

bool pv_snapshot_memory_changed(const struct pv_snapshot *s)
{
    struct stat now;

    if (!s->loaded.st_size)
        return false;
    if (fstat(s->memory, &now) < 0 || now.st_size != s->loaded.st_size ||
        pv_timespec_ns(&now.st_mtim) != pv_timespec_ns(&s->loaded.st_mtim))
        return true;
    return now.st_nlink == s->loaded.st_nlink &&
           pv_timespec_ns(&now.st_ctim) != pv_timespec_ns(&s->loaded.st_ctim);
}

char *pv_snapshot_machine(const struct pv_snapshot *s, struct pv_err *err)
{
    return pv_machine_to_json(s->machine, err);
}

static void image_name(size_t disk, char name[static SAVED_NAME])
{
    snprintf(name, SAVED_NAME, "disk%zu.image", disk);
}

int pv_snapshot_write_file(const struct pv_snapshot *s, const char *name, int fd, struct pv_err *err)
{
    char of_disk[SAVED_NAME];

    for (size_t i = 0; i < s->machine->n_disks; i++) {
        image_name(i, of_disk);
        if (strcmp(name, of_disk) == 0)
            return pv_disk_image_save(s->machine->disks[i].image, fd, err);
    }
    if (pv_copy_sparse(s->memory, fd, err) < 0)
        return -1;
    return s->dirty.n_runs ? pv_dirty_apply(&s->dirty, fd, err) : 0;
}

void pv_snapshot_files(const struct pv_snapshot *s, struct pv_saved_file **files, size_t *n)
{
    struct pv_saved_file *b;
    size_t most = 3;

    for (size_t i = 0; i < s->machine->n_disks; i++)
        most += s->machine->disks[i].n_backing + 1;
    b = pv_xcalloc(most, sizeof(*b));
    *n = 0;
    b[(*n)++] = (struct pv_saved_file){"memory", s->dirty.n_runs ? -1 : s->memory};
    b[(*n)++] = (struct pv_saved_file){"state", s->vmstate};
    if (s->machine->initrd >= 0)
        b[(*n)++] = (struct pv_saved_file){"initrd", s->machine->initrd};
    for (size_t i = 0; i < s->machine->n_disks; i++)
        for (size_t j = 0; j < s->machine->disks[i].n_backing; j++, (*n)++) {
            snprintf(b[*n].name, sizeof(b[*n].name), "disk%zu.%zu", i, j);
            b[*n].fd = s->machine->disks[i].backing[j];
        }
    for (size_t i = 0; i < s->machine->n_disks; i++)
        if (s->machine->disks[i].image) {
            image_name(i, b[*n].name);
            b[(*n)++].fd = -1;
        }
    *files = b;
}

static int saved_file_load(int (*file)(const char *name, void *arg), void *arg, const char *name, int *out,
                           struct pv_err *err)
{
    int fd = file(name, arg);

    if (fd < 0)
        return pv_err_set(err, PV_E_HOST, "the saved machine has no '%s'", name);
    *out = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return *out < 0 ? pv_err_sys(err, errno, "cannot keep '%s'", name) : 0;
}

/* The initramfs, for a reset; without it the machine can be resumed all the same. */
static int initrd_load(struct pv_machine *m, int (*file)(const char *name, void *arg), void *arg,
                       struct pv_err *err)
{
    return m->append && file("initrd", arg) >= 0 ? saved_file_load(file, arg, "initrd", &m->initrd, err) : 0;
}

/* The content of a served disk, which is checked as any file that was kept. */
static int image_load(struct pv_machine_disk *d, size_t disk, int (*file)(const char *name, void *arg),
                      void *arg, struct pv_err *err)
{
    cleanup_close int fd = -1;
    char name[SAVED_NAME];

    if (!d->served)
        return 0;
    image_name(disk, name);
    if (saved_file_load(file, arg, name, &fd, err) < 0)
        return -1;
    d->image = pv_disk_image_load(fd, pv_temp_dir(), err);
    return d->image ? 0 : pv_err_wrap(err, "'%s'", name);
}

static int saved_files_load(struct pv_snapshot *s, int (*file)(const char *name, void *arg), void *arg,
                            struct pv_err *err)
{
    char name[SAVED_NAME];

    if (saved_file_load(file, arg, "memory", &s->memory, err) < 0 ||
        saved_file_load(file, arg, "state", &s->vmstate, err) < 0 ||
        initrd_load(s->machine, file, arg, err) < 0)
        return -1;
    if (fstat(s->memory, &s->loaded) < 0)
        return pv_err_sys(err, errno, "cannot stat the memory of a saved machine");
    for (size_t i = 0; i < s->machine->n_disks; i++) {
        if (image_load(&s->machine->disks[i], i, file, arg, err) < 0)
            return -1;
        for (size_t j = 0; j < s->machine->disks[i].n_backing; j++) {
            snprintf(name, sizeof(name), "disk%zu.%zu", i, j);
            if (saved_file_load(file, arg, name, &s->machine->disks[i].backing[j], err) < 0)
                return -1;
        }
    }
    return 0;
}

struct pv_snapshot *pv_snapshot_load(const char *machine, int (*file)(const char *name, void *arg), void *arg,
                                     const struct pv_config *config, struct pv_err *err)
{
    struct pv_machine *m = pv_machine_from_json(machine, config, err);
    struct pv_snapshot *s = m ? pv_snapshot_new(m) : NULL;

    if (!s)
        return NULL;
    if (saved_files_load(s, file, arg, err) == 0)
        return s;
    pv_snapshot_unref(s);
    return NULL;
}
