/* SPDX-License-Identifier: MIT */
/* The socket of a VM for a debugger of its kernel (boot option `gdb`). */
#ifndef PV_GUEST_GDB_H
#define PV_GUEST_GDB_H

#include <stdbool.h>

#define PV_GDB_SUFFIX ".gdb" /* of the socket's name */
#define PV_GDB_VMLINUX \
    ".vmlinux" /* behind it: a link to the file with the kernel's symbols, if there is one */

struct pv_err;
struct pv_guest;
struct pv_profile;

/*
 * Makes and announces the socket NAME.gdb in the directory of the console logs, for the guest's instance, which
 * removes it with its end.  limited: the boot has a limit of time.  The listening descriptor, which the caller
 * closes; -1.
 */
int pv_gdb_listen(struct pv_guest *g, bool limited, struct pv_err *err);

/* The file with the symbols of the profile's kernel; NULL: none is known.  The caller frees. */
char *pv_gdb_vmlinux(const struct pv_profile *p);

#endif
