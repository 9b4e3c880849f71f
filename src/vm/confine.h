/* SPDX-License-Identifier: MIT */
/*
 * Confinement of a QEMU on the host: its environment, its limits, and, where the kernel has
 * Landlock, the files that it may open.  All of it is best effort: a host without Landlock confines less, and
 * `provium doctor` says so.
 */
#ifndef PV_VM_CONFINE_H
#define PV_VM_CONFINE_H

#include <stdint.h>

struct pv_spawn_fd;
struct pv_strv;
struct pv_vm_share;
struct pv_vm_spec;

/* The version of the kernel's Landlock that this process may use; 0: none. */
int pv_confine_landlock(void);

/*
 * A Landlock ruleset for the QEMU of `spec`, which is the program `qemu`: the system's programs and libraries
 * and the directory above qemu's own may be read, as may the kernel and read-only disks; disks that the guest
 * writes and the regular files among the n inherited descriptors may be written, too; nothing else may be
 * opened, made, listed or removed.  Without extra_args there is no TCP and no signal to other processes either.
 * The caller closes it; -1: none.
 */
int pv_confine_ruleset(const struct pv_vm_spec *spec, const char *qemu, const struct pv_spawn_fd *fds,
                       unsigned n);

/*
 * One for a daemon, the program `program`, that gives a guest this directory: it reads the same of the system, and what is
 * below the directory, which it may write if the guest may; it makes no devices there.  The caller closes it; -1: none.
 */
int pv_confine_share(const struct pv_vm_share *share, const char *program);

/* Adds the environment of a QEMU: of this process's, PROVIUM_*, and what finds programs and libraries. */
void pv_confine_env(struct pv_strv *env);

#endif
