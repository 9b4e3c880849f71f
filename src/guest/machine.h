/* SPDX-License-Identifier: MIT */
/* What a machine is made of, apart from its profile: all that QEMU's command line must say again at a resume.
 */
#ifndef PV_GUEST_MACHINE_H
#define PV_GUEST_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_config;
struct pv_err;
struct pv_profile;
struct pv_vm_disk;
struct pv_vm_spec;

struct pv_machine_disk {
    char *path, *format;
    bool readonly, snapshot;
    int *backing; /* see struct pv_vm_disk; descriptors of our own */
    size_t n_backing;
    int top; /* -1: the overlay begins empty */
};

struct pv_machine {
    const struct pv_profile *profile;
    uint64_t memory; /* bytes */
    unsigned cpus;
    bool kvm;
    bool vsock;                    /* it has a port for a vsock device of its own (plug.c) */
    struct pv_machine_disk *disks; /* the profile's rootfs too */
    size_t n_disks;
};

struct pv_machine *pv_machine_new(const struct pv_profile *profile, uint64_t memory, unsigned cpus, bool kvm);
/* paths are copied. */
struct pv_machine_disk *pv_machine_add_disk(struct pv_machine *m, const char *path, const char *format,
                                            bool readonly, bool snapshot);
/* With descriptors of its own. NULL: out of descriptors. */
struct pv_machine *pv_machine_copy(const struct pv_machine *m, struct pv_err *err);
void pv_machine_free(struct pv_machine *m); /* NULL is fine */

/* Class usage unless nothing that it writes to is anybody's file. `what`: "save", "clone". */
int pv_machine_check_savable(const struct pv_machine *m, const char *name, struct pv_err *err);

/*
 * The machine's part of *spec; *disks (an array, the caller frees) is what spec->disks points to.  It borrows
 * from the machine and its profile.
 */
void pv_machine_spec(const struct pv_machine *m, struct pv_vm_spec *spec, struct pv_vm_disk **disks);

/* As a JSON object (the caller frees), and back; the disks' backing chains are counted, not opened. */
char *pv_machine_to_json(const struct pv_machine *m);
struct pv_machine *pv_machine_from_json(const char *json, const struct pv_config *config, struct pv_err *err);

#endif
