/* SPDX-License-Identifier: MIT */
/*
 * The served disks of a guest: each a pv_disk of this process, which QEMU reaches over an inherited socket.  They
 * live as long as the guest, so that a machine that boots again finds what is on them.
 */
#ifndef PV_GUEST_DISKS_H
#define PV_GUEST_DISKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk/disk.h"
#include "vm/spec.h"

struct pv_err;
struct pv_guest;
struct pv_guest_disk;
struct pv_machine;
struct pv_vm_disk;

struct pv_served; /* a disk, and what it was made of */

/* ---- for the room ---- */

/*
 * Makes the served disks of the machine.  `fresh`: all anew; else one that the guest has already is kept while the
 * machine describes it as before.  Others of the guest go.
 */
int pv_guest_disks_make(struct pv_guest *g, const struct pv_machine *m, bool fresh, struct pv_err *err);
/* Gives each served one of n disks its descriptor for QEMU, and serves the other end.  disks_close ends them. */
int pv_guest_disks_serve(struct pv_guest *g, struct pv_vm_disk *disks, size_t n, struct pv_err *err);
void pv_guest_disks_close(struct pv_vm_disk *disks, size_t n);
/* QEMU is gone: everything written arrives. */
void pv_guest_disks_settle(struct pv_guest *g);
/*
 * QEMU stands still (pv_vm_on_frozen; arg: the guest): it drains a disk that hangs, because its guest has reset the
 * controller or the machine.  The requests that hang are lost, as those of a disk are whose controller is reset.
 */
void pv_guest_disks_on_frozen(void *arg);
/* Brackets a stop of the machine: QEMU's flushes are none of the guest's. */
void pv_guest_disks_stopped(struct pv_guest *g, bool stopped);
/* Before the machine goes on: QEMU forgets that its nodes are flushed, which they are not. */
int pv_guest_disks_unflush(struct pv_guest *g, int64_t deadline, struct pv_err *err);
/* Hotplugs the disks that were attached when the machine was saved, each into its slot, before the vmstate is loaded. */
int pv_guest_disks_replug(struct pv_guest *g, int64_t deadline, struct pv_err *err);
/* Freezes the served disks into `image` of the machine's.  Class usage: one hangs, or was attached without faults. */
int pv_guest_disks_check_savable(const struct pv_guest *g, const char *what, struct pv_err *err);
int pv_guest_disks_freeze(struct pv_guest *g, struct pv_machine *m, struct pv_err *err);
void pv_guest_disks_free(struct pv_guest *g);

/* ---- for callers of the room ---- */

/* The served disk of that name.  NULL: class usage; the text says which disks there are, or what it needs. */
struct pv_disk *pv_guest_disk(const struct pv_guest *g, const char *name, struct pv_err *err);
/*
 * The disk of that name for a read or (write) a write of the host.  *own: one of a disk that is QEMU's alone, which
 * the caller frees, or NULL.  NULL: class usage when there is no way to it beside QEMU, else of pv_disk_open_file.
 */
struct pv_disk *pv_guest_disk_open(struct pv_guest *g, const char *name, bool write, struct pv_disk **own,
                                   struct pv_err *err);
/* Class usage unless the guest has a disk of that name, served or not. */
int pv_guest_disk_check_name(const struct pv_guest *g, const char *name, struct pv_err *err);
/*
 * The path of the disk's device in the guest ("/dev/vda"), which is found by its serial number; the caller frees.
 * Waits until it is there.  Blocks.  Classes as of agent.h; timeout: there is none.
 */
char *pv_guest_disk_device(struct pv_guest *g, const char *name, int64_t timeout_ns, struct pv_err *err);

/*
 * Makes the guest's driver pass a failure on at once, as it passes on one of virtio, instead of trying again.  An
 * old kernel without such a setting keeps trying.  Blocks for some seconds at most.
 */
void pv_guest_disk_retries_off(struct pv_guest *g, const char *name, enum pv_vm_bus bus);

/*
 * Hotplugs a disk, which is served, and waits until the guest has its device; name: the disk's.  timeout_ns 0: 30 s.
 * Blocks.
 */
int pv_guest_attach_disk(struct pv_guest *g, const struct pv_guest_disk *d, int64_t timeout_ns,
                         char name[static PV_DISK_NAME + 1], struct pv_err *err);
/* Unplugs a hotplugged disk; its content is lost unless it has a file.  Blocks. */
int pv_guest_detach_disk(struct pv_guest *g, const char *name, int64_t timeout_ns, struct pv_err *err);

/* pv_disk_set for the served disk of that name. */
int pv_guest_disk_set(struct pv_guest *g, const char *name, struct pv_disk_image *image, struct pv_err *err);

/* ---- power cuts ---- */

struct pv_power_cut {
    enum pv_disk_keep keep;
    bool torn;
    uint64_t seed;
    /* of a cut in the future: before the request number after + 1 of this kind on that disk; NULL: now */
    const char *at_disk;
    enum pv_disk_op at_op;
    uint64_t at_after;
};

/*
 * Ends the guest as a power failure does.  Class usage unless its machine is on and all disks that it may write
 * are served: the text names one that is not.  With at_disk it returns at once.
 */
int pv_guest_power_cut(struct pv_guest *g, const struct pv_power_cut *c, struct pv_err *err);

#endif
