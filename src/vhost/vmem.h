/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory as QEMU describes it: up to eight regions, each a mapped part of a file.  All other code
 * of this room reaches guest memory through these translations.
 *
 * The guest may write while this process reads: copy first, then check the copy.
 */
#ifndef PV_VHOST_VMEM_H
#define PV_VHOST_VMEM_H

#include <stddef.h>
#include <stdint.h>

struct pv_err;

enum { PV_VMEM_REGIONS = 8 }; /* the limit of vhost-user without CONFIGURE_MEM_SLOTS */

struct pv_vmem_region {
    uint64_t gpa, size; /* guest-physical */
    uint64_t uva;       /* QEMU's virtual address; ring addresses are given in it */
    uint8_t *at;        /* this process's address */
    void *map;          /* the mapping, which starts at or before `at` */
    size_t map_len;
};

struct pv_vmem {
    struct pv_vmem_region r[PV_VMEM_REGIONS];
    unsigned n;
};

/*
 * Maps `size` bytes at `offset` of fd as a region; the caller keeps fd.  -1: class protocol for an empty
 * region, overflow, overlap, a range beyond the file's end, and a file that could shrink (a SIGBUS on
 * access): only a memfd sealed against shrinking is accepted, as QEMU's memory-backend-memfd makes it; else
 * class host.
 */
int pv_vmem_add(struct pv_vmem *m, uint64_t gpa, uint64_t size, uint64_t uva, uint64_t offset, int fd,
                struct pv_err *err);

/* Unmaps all and leaves an empty table. */
void pv_vmem_clear(struct pv_vmem *m);

/*
 * The address of guest-physical gpa; *got (1..n) bytes from there on are contiguous, the rest of n may lie in
 * the next region.  NULL if gpa is in no region, or gpa + n overflows.
 */
uint8_t *pv_vmem_gpa(const struct pv_vmem *m, uint64_t gpa, uint64_t n, uint64_t *got);

/* The address of QEMU's [uva, uva + n); NULL unless it lies inside one region. */
void *pv_vmem_uva(const struct pv_vmem *m, uint64_t uva, uint64_t n);

#endif
