/* SPDX-License-Identifier: MIT */
/*
 * A machine, described once: made from a profile and a boot call's options, turned into QEMU's command line,
 * saved as JSON beside a snapshot, and read back for a resume.
 *
 * A new scalar option is a member of pv_boot_opts and of pv_machine, and one row of the table in machine.c.
 */
#ifndef PV_GUEST_MACHINE_H
#define PV_GUEST_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/mem.h"
#include "vm/nic.h"
#include "vm/share.h"
#include "vm/spec.h"

struct pv_boot_opts;
struct pv_config;
struct pv_disk_image;
struct pv_err;
struct pv_profile;

struct pv_machine_disk {
    char *name;          /* at most PV_DISK_NAME bytes; the guest sees it as the serial number */
    char *path, *format; /* path "": no file of the host */
    bool readonly, snapshot;
    enum pv_vm_bus bus;
    unsigned sector;             /* 0: the device's default */
    bool served;                 /* by a pv_disk of this process: see disks.h */
    bool plain;                  /* served because it was attached, without faults = true */
    unsigned plug;               /* of one that was attached: its slot (vm/plug.h) + 1 */
    uint64_t size;               /* of a served disk without a file and an image */
    struct pv_disk_image *image; /* what a served disk starts with; NULL: its file, or zeroes */
    int *backing;                /* see struct pv_vm_disk; owned descriptors */
    size_t n_backing;
    int top; /* owned; -1: the overlay begins empty */
};

struct pv_machine {
    const struct pv_profile *profile; /* borrowed */
    uint64_t memory;                  /* bytes */
    unsigned cpus;
    bool kvm;          /* false when made: probing KVM is the boot's task */
    bool no_cx16;      /* pv_emulation_garbles_flags: false when made, as kvm */
    bool follow;       /* a reset by the guest starts the machine again, instead of ending it */
    bool hotplug_port; /* an empty PCIe root port for a vsock device (vsock-device.h) */
    bool nic_bridge;   /* a place for NICs */
    struct pv_vm_nic nics[PV_VM_NICS_MAX]; /* those that the machine has now, by slot; not in JSON */
    struct pv_machine_disk *disks;         /* the profile's rootfs is the first one */
    size_t n_disks;
    struct pv_vm_share shares[PV_VM_SHARES_MAX]; /* owned; not in JSON: such a machine is not saved */
    unsigned n_shares;
    char *append; /* the whole kernel command line; NULL: the machine has no kernel */
    int initrd;   /* the initramfs, owned; -1: none is known */
};

/*
 * Checks the options and makes the machine.  savable: its transport can be saved, so that a vsock device of
 * the guest's own is hotplugged (see pv_boot_opts.vsock).  Errors: class usage; looks at disk files.
 */
struct pv_machine *pv_machine_new(const struct pv_profile *profile, const struct pv_boot_opts *o,
                                  bool savable, struct pv_err *err);
/* A copy that owns descriptors of its own.  Class host: out of descriptors. */
struct pv_machine *pv_machine_copy(const struct pv_machine *m, struct pv_err *err);
void pv_machine_free(struct pv_machine *m); /* NULL is fine */

/* Keeps copies of command line and initramfs (a duplicate of the descriptor): a reset boots from them, too. */
int pv_machine_set_boot(struct pv_machine *m, const char *append, int initrd, struct pv_err *err);

/* Class usage if the guest writes directly to a disk's file, or has a directory of the host.  name: the VM's, for the message. */
int pv_machine_check_savable(const struct pv_machine *m, const char *name, struct pv_err *err);

/* True when it has a served disk, which belongs to a guest. */
bool pv_machine_is_served(const struct pv_machine *m);

/* The arrays that a pv_vm_spec borrows from pv_machine_to_spec. */
struct pv_machine_arrays {
    struct pv_vm_disk *disks;
    struct pv_strv args;
};

/*
 * Fills in the machine's part of *spec, which borrows from the machine, its profile and *arrays
 * (zero-initialised; pv_machine_arrays_fini frees it).
 */
void pv_machine_to_spec(const struct pv_machine *m, struct pv_vm_spec *spec,
                        struct pv_machine_arrays *arrays);
void pv_machine_arrays_fini(struct pv_machine_arrays *arrays);

/*
 * The machine as a JSON object (the caller frees).  A backing chain is saved as its length: the images are
 * files of their own.  Class usage: a path is not UTF-8, as JSON needs it.
 */
char *pv_machine_to_json(const struct pv_machine *m, struct pv_err *err);
/*
 * Reads a saved machine; the descriptors of backing chains are -1.  Class host when `json` is no saved
 * machine; the errors of pv_config_profile for its profile.
 */
struct pv_machine *pv_machine_from_json(const char *json, const struct pv_config *config, struct pv_err *err);

#endif
