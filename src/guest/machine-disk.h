/* SPDX-License-Identifier: MIT */
/* The disks of a machine, for machine.c: checked options, QEMU's description, JSON.  Private to the room. */
#ifndef PV_GUEST_MACHINE_DISK_H
#define PV_GUEST_MACHINE_DISK_H

#include <jansson.h>
#include <stdbool.h>

struct pv_boot_opts;
struct pv_err;
struct pv_guest_disk;
struct pv_machine;
struct pv_machine_disk;
struct pv_vm_disk;
struct pv_vm_spec;

/* Adds the rootfs and the disks of a boot call.  Class usage; looks at the files. */
int pv_machine_disks_from_opts(struct pv_machine *m, const struct pv_boot_opts *o, struct pv_err *err);
/* Adds one that will be served while the machine runs.  Class usage. */
int pv_machine_disk_add(struct pv_machine *m, const struct pv_guest_disk *d, struct pv_err *err);
void pv_machine_disk_remove(struct pv_machine *m, const char *name);
/* The checks of one disk that do not depend on other disks.  Class usage, the text names the disk. */
int pv_guest_disk_check(const struct pv_guest_disk *d, struct pv_err *err);
/* Adds a copy with descriptors of its own.  False: out of descriptors (errno). */
bool pv_machine_disk_copy(struct pv_machine *to, const struct pv_machine_disk *d);
void pv_machine_disk_fini(struct pv_machine_disk *d);
/* Sets spec->disks to a new array, also in *disks, that borrows from the machine; the caller frees. */
void pv_machine_disks_to_spec(const struct pv_machine *m, struct pv_vm_spec *spec, struct pv_vm_disk **disks);
/* NULL with *err (class usage): a path is not UTF-8, or a disk cannot be kept in a file. */
json_t *pv_machine_disks_to_json(const struct pv_machine *m, struct pv_err *err);
/* False: the array makes no sense. */
bool pv_machine_disks_from_json(struct pv_machine *m, const json_t *disks);

#endif
