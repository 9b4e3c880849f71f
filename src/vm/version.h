/* SPDX-License-Identifier: MIT */
#ifndef PV_VM_VERSION_H
#define PV_VM_VERSION_H

struct pv_err;

/*
 * The version of a QEMU program (NULL: qemu-system-x86_64), "7.2.22", by running it with --version; for
 * doctor.  Blocks for at most 10 s.  The caller frees.  Classes missing, timeout, host.
 */
char *pv_qemu_version(const char *qemu, struct pv_err *err);

#endif
