/* SPDX-License-Identifier: MIT */
/*
 * What a guest changed of memory that QEMU maps privately: the pages that are no longer the file's.  The
 * kernel tells which in /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst): bit 63 present, 62
 * swapped, 61 a page of the file; and /proc/PID/mem reads and writes them, for a parent.
 */
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

/* A part of the mapping: the kernel may show one mapping as several. */
struct map {
    uint64_t lo, hi, offset;
};

static int open_proc(const struct pv_vm *vm, const char *name, int flags, struct pv_err *err)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pv_vm_pid(vm), name);
    fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        pv_err_sys(err, errno, "cannot open %s of QEMU (kernel.yama.ptrace_scope above 1?)", name);
    return fd;
}

/*
 * The private mappings that begin at the start of a file and, one behind the other, are as large as the
 * memory. (Inode and device do not help: stacked file systems show others here than stat does.)
 */
static int find_maps(const struct pv_vm *vm, struct map maps[static MAPS_MAX], size_t *n, struct pv_err *err)
{
    uint64_t size = pv_vm_csaving(vm)->memory;
    cleanup_close int fd = open_proc(vm, "maps", O_RDONLY, err);
    char line[4096];
    FILE *f;

    if (fd < 0)
        return -1;
    f = fdopen(fd, "r");
    if (!f)
        return pv_err_sys(err, errno, "cannot read the mappings of QEMU");
    fd = -1;
    *n = 0;
    while (fgets(line, sizeof(line), f)) {
        struct map m;
        char mode[8];
        unsigned long inode;

        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %lu", &m.lo, &m.hi, mode, &m.offset,
                   &inode) != 5 ||
            strcmp(mode, "rw-p") != 0 || !inode) {
            *n = 0;
            continue;
        }
        if (*n && (m.lo != maps[*n - 1].hi || m.offset != maps[*n - 1].offset + (m.lo - maps[*n - 1].lo)))
            *n = 0;
        if ((*n == 0 && m.offset != 0) || *n == MAPS_MAX)
            continue;
        maps[(*n)++] = m;
        if (m.offset + (m.hi - m.lo) == size) {
            fclose(f);
            return 0;
        }
    }
    fclose(f);
    return pv_err_set(err, PV_E_HOST, "cannot find the guest's memory among the mappings of QEMU");
}

static void add_page(struct pv_pages *p, size_t *cap, uint64_t page)
{
    struct pv_page_run *last = p->n_runs ? &p->runs[p->n_runs - 1] : NULL;

    p->n_pages++;
    if (last && last->first + last->n == page) {
        last->n++;
        return;
    }
    if (p->n_runs == *cap) {
        *cap = *cap ? *cap * 2 : 256;
        p->runs = pv_xrealloc(p->runs, *cap * sizeof(*p->runs));
    }
    p->runs[p->n_runs++] = (struct pv_page_run){page, 1};
}

static int scan(int pagemap, const struct map *m, struct pv_pages *p, size_t *cap, struct pv_err *err)
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
                add_page(p, cap, page + i);
        left -= want;
        at += want;
        page += want;
    }
    return 0;
}

/* Where a page of the file is in QEMU. */
static uint64_t address(const struct map *maps, size_t n, uint64_t page)
{
    for (size_t i = 0; i < n; i++)
        if (page * PAGE >= maps[i].offset && page * PAGE - maps[i].offset < maps[i].hi - maps[i].lo)
            return maps[i].lo + (page * PAGE - maps[i].offset);
    return 0;
}

/* n bytes from one file to another, by way of buf. */
static int move(int from, off_t from_at, int to, off_t to_at, char *buf, size_t n)
{
    ssize_t got = pv_pread_all(from, buf, n, from_at);

    if (got >= 0 && (size_t)got < n) {
        errno = EIO;
        return -1;
    }
    return got < 0 ? -1 : pv_pwrite_all(to, buf, n, to_at);
}

/* Copies all runs between the packed file and mem: QEMU's memory by address, or (maps NULL) a memory file. */
static int copy_runs(const struct pv_pages *p, const struct map *maps, size_t n_maps, int mem, bool get,
                     struct pv_err *err)
{
    cleanup_free char *buf = pv_xmalloc(CHUNK_PAGES * PAGE);
    uint64_t packed = 0;

    for (size_t i = 0; i < p->n_runs; i++) {
        for (uint64_t done = 0; done < p->runs[i].n;) {
            uint64_t page = p->runs[i].first + done, n = p->runs[i].n - done;
            off_t at;

            if (n > CHUNK_PAGES)
                n = CHUNK_PAGES;
            at = (off_t)(maps ? address(maps, n_maps, page) : page * PAGE);
            if (maps && address(maps, n_maps, page + n - 1) != (uint64_t)at + (n - 1) * PAGE)
                n = 1; /* across a seam */
            if ((get ? move(mem, at, p->fd, (off_t)(packed * PAGE), buf, n * PAGE)
                     : move(p->fd, (off_t)(packed * PAGE), mem, at, buf, n * PAGE)) < 0)
                return pv_err_sys(err, errno, "cannot copy the memory of the VM");
            packed += n;
            done += n;
        }
    }
    return 0;
}

int pv_vm_pages_get(const struct pv_vm *vm, struct pv_pages *out, struct pv_err *err)
{
    cleanup_close int pagemap = -1, mem = -1;
    struct map maps[MAPS_MAX];
    size_t n_maps, cap = 0;

    out->fd = -1;
    if (find_maps(vm, maps, &n_maps, err) < 0)
        return -1;
    pagemap = open_proc(vm, "pagemap", O_RDONLY, err);
    mem = pagemap < 0 ? -1 : open_proc(vm, "mem", O_RDONLY, err);
    if (mem < 0)
        return -1;
    for (size_t i = 0; i < n_maps; i++)
        if (scan(pagemap, &maps[i], out, &cap, err) < 0)
            return -1;
    out->fd = memfd_create("provium-pages", MFD_CLOEXEC);
    if (out->fd < 0)
        return pv_err_sys(err, errno, "cannot keep the memory of the VM");
    return copy_runs(out, maps, n_maps, mem, true, err);
}

int pv_vm_pages_put(const struct pv_vm *vm, const struct pv_pages *p, struct pv_err *err)
{
    cleanup_close int mem = -1;
    struct map maps[MAPS_MAX];
    size_t n_maps;

    if (find_maps(vm, maps, &n_maps, err) < 0)
        return -1;
    mem = open_proc(vm, "mem", O_RDWR, err);
    return mem < 0 ? -1 : copy_runs(p, maps, n_maps, mem, false, err);
}

int pv_pages_apply(const struct pv_pages *p, int memory_fd, struct pv_err *err)
{
    return copy_runs(p, NULL, 0, memory_fd, false, err);
}

void pv_pages_fini(struct pv_pages *p)
{
    free(p->runs);
    if (p->n_runs || p->fd > 0)
        pv_close(&p->fd);
    *p = (struct pv_pages){.fd = -1};
}
