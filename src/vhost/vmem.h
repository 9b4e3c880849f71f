/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory as QEMU hands it over: up to eight regions, each a piece of a descriptor that is
 * mapped here.  Everything else in this room reaches guest memory through these translations.
 *
 * The guest writes to it while we read: copy, then check; never check in place.
 */
#ifndef PV_VHOST_VMEM_H
#define PV_VHOST_VMEM_H

#include <stddef.h>
#include <stdint.h>

struct pv_err;

enum { PV_VMEM_REGIONS = 8 }; /* vhost-user without memory slots sends no more */

struct pv_vmem_region {
    uint64_t gpa, size; /* guest-physical */
    uint64_t uva;       /* where QEMU itself has it: the addresses of rings are in these terms */
    uint8_t *at;        /* where we have it */
    void *map;          /* what was mapped (starts at or before `at`) */
    size_t map_len;
};

struct pv_vmem {
    struct pv_vmem_region r[PV_VMEM_REGIONS];
    unsigned n;
};

/*
 * Maps `size` bytes at `offset` of fd and adds them.  The descriptor stays the caller's.  Refuses (class
 * protocol): nothing, overflow, overlap, more than the file holds, and a file that could shrink under us
 * (anything but a memfd sealed against it, which is what QEMU's memory-backend-memfd makes): touching a
 * page that went away would be a SIGBUS.
 */
int pv_vmem_add(struct pv_vmem *m, uint64_t gpa, uint64_t size, uint64_t uva, uint64_t offset, int fd,
                struct pv_err *err);

/* Unmaps all and leaves an empty table. */
void pv_vmem_clear(struct pv_vmem *m);

/*
 * Where guest-physical [gpa, gpa + n) is.  *got (1..n) says how much of it is contiguous here: the rest
 * may lie in the next region.  NULL when gpa is outside, or the range runs past 2^64.
 */
uint8_t *pv_vmem_gpa(const struct pv_vmem *m, uint64_t gpa, uint64_t n, uint64_t *got);

/* Where QEMU's [uva, uva + n) is, or NULL when it is not all inside one region. */
void *pv_vmem_uva(const struct pv_vmem *m, uint64_t uva, uint64_t n);

#endif
