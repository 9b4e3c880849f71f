/* SPDX-License-Identifier: MIT */
/* The initramfs of a boot: the modules that the guest needs, injected files, and whether they fit. */
#ifndef PV_GUEST_INITRAMFS_H
#define PV_GUEST_INITRAMFS_H

#include <stdbool.h>
#include <stdint.h>

struct pv_boot_opts;
struct pv_err;
struct pv_guest;
struct pv_machine;

struct pv_initramfs {
    const struct pv_boot_opts *opts;
    const struct pv_machine *machine;
    const char *release; /* of the kernel; NULL: unknown */
    bool serial;         /* the agent's channel is virtio-serial */
    const char *why_9p;  /* as of pv_guest_shares_why_9p */
};

/*
 * Makes the initramfs in a memfd, which the caller closes.  -1: as pv_suppl_build, and class usage for one that
 * cannot fit into the machine's memory.
 */
int pv_guest_initramfs(struct pv_guest *g, const struct pv_initramfs *i, int *fd, struct pv_err *err);

/* Tells the observer that the boot reads this file of the host; NULL: none. */
void pv_guest_reads(const struct pv_guest *g, const char *path);

/*
 * After a boot that failed, whose console begins at the offset `from`: appends to err why the kernel could not unpack
 * the initramfs, if it said so, and where modules were looked for, if none were found.
 */
void pv_guest_initramfs_why(const struct pv_guest *g, const char *release, uint64_t from, struct pv_err *err);

#endif
