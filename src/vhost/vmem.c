/* SPDX-License-Identifier: MIT */
#include "vhost/vmem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "util/err.h"

static bool sum_overflows(uint64_t start, uint64_t n)
{
    return start > UINT64_MAX - n;
}

static bool ranges_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a < b + b_len && b < a + a_len;
}

static int check_range(const struct pv_vmem *m, uint64_t gpa, uint64_t size, uint64_t uva, uint64_t offset,
                       struct pv_err *err)
{
    if (m->n == PV_VMEM_REGIONS)
        return pv_err_set(err, PV_E_PROTOCOL, "QEMU sent more than %d memory regions", PV_VMEM_REGIONS);
    if (size == 0)
        return pv_err_set(err, PV_E_PROTOCOL, "QEMU sent an empty memory region");
    if (sum_overflows(gpa, size) || sum_overflows(uva, size) || sum_overflows(offset, size))
        return pv_err_set(err, PV_E_PROTOCOL,
                          "QEMU sent a memory region that runs past the end of the address space "
                          "(address 0x%" PRIx64 ", size 0x%" PRIx64 ")",
                          gpa, size);
    for (unsigned i = 0; i < m->n; i++) {
        const struct pv_vmem_region *r = &m->r[i];

        if (ranges_overlap(gpa, size, r->gpa, r->size) || ranges_overlap(uva, size, r->uva, r->size))
            return pv_err_set(err, PV_E_PROTOCOL,
                              "QEMU sent memory regions that overlap (0x%" PRIx64 " and 0x%" PRIx64 ")",
                              r->gpa, gpa);
    }
    return 0;
}

/* Checks the file.  *align is the required alignment of a mapping's offset. */
static int check_file(int fd, uint64_t end, uint64_t *align, struct pv_err *err)
{
    struct stat st;
    int seals;

    if (fstat(fd, &st) < 0)
        return pv_err_sys(err, errno, "cannot stat the descriptor of guest memory");
    if (!S_ISREG(st.st_mode))
        return pv_err_set(err, PV_E_PROTOCOL, "QEMU sent a descriptor for guest memory that is no file");
    if ((uint64_t)st.st_size < end)
        return pv_err_set(err, PV_E_PROTOCOL,
                          "QEMU sent a memory region that ends at 0x%" PRIx64 " of a file of 0x%" PRIx64
                          " bytes",
                          end, (uint64_t)st.st_size);
    seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return pv_err_set(err, PV_E_PROTOCOL,
                          "guest memory is not a memfd sealed against shrinking: use "
                          "memory-backend-memfd,share=on for a guest with this device");
    *align = 4096;
    if (st.st_blksize > 4096 && (st.st_blksize & (st.st_blksize - 1)) == 0)
        *align = (uint64_t)st.st_blksize; /* huge pages */
    return 0;
}

int pv_vmem_add(struct pv_vmem *m, uint64_t gpa, uint64_t size, uint64_t uva, uint64_t offset, int fd,
                struct pv_err *err)
{
    uint64_t align = 0, start;
    struct pv_vmem_region *r;
    void *map;

    if (check_range(m, gpa, size, uva, offset, err) < 0 || check_file(fd, offset + size, &align, err) < 0)
        return -1;
    start = offset & ~(align - 1);
    map = mmap(NULL, offset + size - start, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
    if (map == MAP_FAILED)
        return pv_err_sys(err, errno, "cannot map 0x%" PRIx64 " bytes of guest memory", size);
    madvise(map, offset + size - start, MADV_DONTDUMP);
    r = &m->r[m->n++];
    *r = (struct pv_vmem_region){.gpa = gpa,
                                 .size = size,
                                 .uva = uva,
                                 .at = (uint8_t *)map + (offset - start),
                                 .map = map,
                                 .map_len = offset + size - start};
    return 0;
}

void pv_vmem_clear(struct pv_vmem *m)
{
    for (unsigned i = 0; i < m->n; i++)
        munmap(m->r[i].map, m->r[i].map_len);
    memset(m, 0, sizeof(*m));
}

uint8_t *pv_vmem_gpa(const struct pv_vmem *m, uint64_t gpa, uint64_t n, uint64_t *got)
{
    if (sum_overflows(gpa, n))
        return NULL;
    for (unsigned i = 0; i < m->n; i++) {
        const struct pv_vmem_region *r = &m->r[i];
        uint64_t at = gpa - r->gpa;

        if (gpa >= r->gpa && at < r->size) {
            *got = n < r->size - at ? n : r->size - at;
            return r->at + at;
        }
    }
    return NULL;
}

void *pv_vmem_uva(const struct pv_vmem *m, uint64_t uva, uint64_t n)
{
    for (unsigned i = 0; i < m->n; i++) {
        const struct pv_vmem_region *r = &m->r[i];
        uint64_t at = uva - r->uva;

        if (uva >= r->uva && at < r->size && n <= r->size - at)
            return r->at + at;
    }
    return NULL;
}
