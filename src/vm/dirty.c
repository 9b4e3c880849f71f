/* SPDX-License-Identifier: MIT */
/*
 * /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst) tells which pages of a private mapping are no
 * longer the file's: bit 63 present, 62 swapped, 61 a page of the file.  /proc/PID/mem reads and writes them,
 * for a parent.
 */
#include "vm/dirty.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/err.h"
#include "util/path.h"
#include "vm/internal.h"

enum { PAGE = 4096, MAPS_MAX = 64, CHUNK_PAGES = 256, PAGEMAP_AT_ONCE = 8192 };

#define PRESENT (UINT64_C(1) << 63)
#define SWAPPED (UINT64_C(1) << 62)
#define OF_FILE (UINT64_C(1) << 61)

/* A part of the guest memory's mapping: the kernel may show one mapping as several. */
struct map {
    uint64_t lo, hi, offset;
};

struct maps {
    struct map v[MAPS_MAX];
    size_t n;
};

static int proc_open(const struct pv_vm *vm, const char *name, int flags, struct pv_err *err)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pv_vm_pid(vm), name);
    fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        pv_err_sys(err, errno, "cannot open %s of QEMU (kernel.yama.ptrace_scope above 1?)", name);
    return fd;
}

/* Adds a mapping that continues the last one, or starts anew with it.  False: it is no part of the memory. */
static bool maps_add(struct maps *maps, const struct map *m)
{
    const struct map *last = maps->n ? &maps->v[maps->n - 1] : NULL;

    if (last && (m->lo != last->hi || m->offset != last->offset + (last->hi - last->lo)))
        maps->n = 0;
    if ((maps->n == 0 && m->offset != 0) || maps->n == MAPS_MAX)
        return false;
    maps->v[maps->n++] = *m;
    return true;
}

/*
 * Finds the private mappings that begin at the start of a file and, one behind the other, have the size of the
 * memory.  (Inode and device do not identify the file: stacked file systems show others here than stat does.)
 */
static int maps_find(const struct pv_vm *vm, struct maps *maps, struct pv_err *err)
{
    cleanup_close int fd = proc_open(vm, "maps", O_RDONLY, err);
    bool found = false;
    char line[4096];
    FILE *f;

    if (fd < 0)
        return -1;
    f = fdopen(fd, "r");
    if (!f)
        return pv_err_sys(err, errno, "cannot read the mappings of QEMU");
    fd = -1; /* f owns it now */
    maps->n = 0;
    while (!found && fgets(line, sizeof(line), f)) {
        struct map m;
        char mode[8];
        unsigned long inode;

        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %lu", &m.lo, &m.hi, mode, &m.offset,
                   &inode) != 5 ||
            strcmp(mode, "rw-p") != 0 || !inode) {
            maps->n = 0;
            continue;
        }
        found = maps_add(maps, &m) && m.offset + (m.hi - m.lo) == vm->memory_file;
    }
    fclose(f);
    return found ? 0
                 : pv_err_set(err, PV_E_HOST, "cannot find the guest's memory among the mappings of QEMU");
}

static void dirty_add(struct pv_dirty *d, size_t *cap, uint64_t page)
{
    struct pv_dirty_run *last = d->n_runs ? &d->runs[d->n_runs - 1] : NULL;

    d->n_pages++;
    if (last && last->first + last->n == page) {
        last->n++;
        return;
    }
    if (d->n_runs == *cap) {
        *cap = *cap ? *cap * 2 : 256;
        d->runs = pv_xrealloc(d->runs, *cap * sizeof(*d->runs));
    }
    d->runs[d->n_runs++] = (struct pv_dirty_run){page, 1};
}

static int dirty_scan(int pagemap, const struct map *m, struct pv_dirty *d, size_t *cap, struct pv_err *err)
{
    cleanup_free uint64_t *entries = pv_xmalloc(PAGEMAP_AT_ONCE * sizeof(*entries));
    uint64_t left = (m->hi - m->lo) / PAGE, at = m->lo / PAGE, page = m->offset / PAGE;

    while (left) {
        uint64_t want = left < PAGEMAP_AT_ONCE ? left : PAGEMAP_AT_ONCE;
        ssize_t n = pread(pagemap, entries, want * sizeof(*entries), (off_t)(at * sizeof(*entries)));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < (ssize_t)sizeof(*entries))
            return pv_err_sys(err, n < 0 ? errno : EIO, "cannot read the page map of QEMU");
        want = (uint64_t)n / sizeof(*entries);
        for (uint64_t i = 0; i < want; i++)
            if (entries[i] & (PRESENT | SWAPPED) && !(entries[i] & OF_FILE))
                dirty_add(d, cap, page + i);
        left -= want;
        at += want;
        page += want;
    }
    return 0;
}

/* The address of the file's page in QEMU; without maps its offset in the file. */
static uint64_t page_address(const struct maps *maps, uint64_t page)
{
    if (!maps)
        return page * PAGE;
    for (size_t i = 0; i < maps->n; i++) {
        const struct map *m = &maps->v[i];

        if (page * PAGE >= m->offset && page * PAGE - m->offset < m->hi - m->lo)
            return m->lo + (page * PAGE - m->offset);
    }
    return 0;
}

/* Copies n bytes from one file to another, through buf. */
static int copy_bytes(int from, off_t from_at, int to, off_t to_at, char *buf, size_t n)
{
    ssize_t got = pv_pread_all(from, buf, n, from_at);

    if (got >= 0 && (size_t)got < n) {
        errno = EIO;
        return -1;
    }
    return got < 0 ? -1 : pv_pwrite_all(to, buf, n, to_at);
}

/*
 * Copies all runs between the packed file d->fd and mem: QEMU's memory, or without maps a memory file.
 * to_packed: from mem to d->fd.
 */
static int dirty_copy(const struct pv_dirty *d, const struct maps *maps, int mem, bool to_packed,
                      struct pv_err *err)
{
    cleanup_free char *buf = pv_xmalloc(CHUNK_PAGES * PAGE);
    uint64_t packed = 0;

    for (size_t i = 0; i < d->n_runs; i++) {
        for (uint64_t done = 0; done < d->runs[i].n;) {
            uint64_t page = d->runs[i].first + done, n = d->runs[i].n - done, at;

            if (n > CHUNK_PAGES)
                n = CHUNK_PAGES;
            at = page_address(maps, page);
            if (page_address(maps, page + n - 1) != at + (n - 1) * PAGE)
                n = 1; /* the chunk spans two mappings */
            if ((to_packed ? copy_bytes(mem, (off_t)at, d->fd, (off_t)(packed * PAGE), buf, n * PAGE)
                           : copy_bytes(d->fd, (off_t)(packed * PAGE), mem, (off_t)at, buf, n * PAGE)) < 0)
                return pv_err_sys(err, errno, "cannot copy the memory of the VM");
            packed += n;
            done += n;
        }
    }
    return 0;
}

int pv_vm_read_dirty(const struct pv_vm *vm, struct pv_dirty *out, struct pv_err *err)
{
    cleanup_close int pagemap = -1, mem = -1;
    struct maps maps;
    size_t cap = 0;

    out->fd = -1;
    if (maps_find(vm, &maps, err) < 0)
        return -1;
    pagemap = proc_open(vm, "pagemap", O_RDONLY, err);
    mem = pagemap < 0 ? -1 : proc_open(vm, "mem", O_RDONLY, err);
    if (mem < 0)
        return -1;
    for (size_t i = 0; i < maps.n; i++)
        if (dirty_scan(pagemap, &maps.v[i], out, &cap, err) < 0)
            return -1;
    out->fd = memfd_create("provium-pages", MFD_CLOEXEC);
    if (out->fd < 0)
        return pv_err_sys(err, errno, "cannot keep the memory of the VM");
    return dirty_copy(out, &maps, mem, true, err);
}

int pv_vm_write_dirty(const struct pv_vm *vm, const struct pv_dirty *dirty, struct pv_err *err)
{
    cleanup_close int mem = -1;
    struct maps maps;

    if (maps_find(vm, &maps, err) < 0)
        return -1;
    mem = proc_open(vm, "mem", O_RDWR, err);
    return mem < 0 ? -1 : dirty_copy(dirty, &maps, mem, false, err);
}

int pv_dirty_apply(const struct pv_dirty *dirty, int memory_fd, struct pv_err *err)
{
    return dirty_copy(dirty, NULL, memory_fd, false, err);
}

void pv_dirty_fini(struct pv_dirty *dirty)
{
    free(dirty->runs);
    if (dirty->n_runs || dirty->fd > 0)
        pv_close(&dirty->fd);
    *dirty = (struct pv_dirty){.fd = -1};
}
