/* SPDX-License-Identifier: MIT */
/* The kernels that `provium run --kernel` takes. */
#ifndef PV_CLI_KERNEL_H
#define PV_CLI_KERNEL_H

#include <stdbool.h>

struct pv_err;

/* The files of a kernel that --kernel names; strings are owned. */
struct hand_kernel {
    char *image;   /* absolute: a bzImage or vmlinux */
    char *modules; /* a modules tree; NULL: searched by the kernel's version */
    char *config;  /* its configuration; NULL: not found */
};

/*
 * spec: the path of a kernel; of a kernel's build tree; of a directory with a vmlinuz; of a linux-image package
 * (unpacked once into the cache, by dpkg-deb); the version of a kernel in /boot, or else of one of Debian's packages,
 * which apt-get downloads (blocks up to 10 minutes, with a line on standard error; kept in the cache).  Class usage: it
 * is none of these, and the text lists the kernels of /boot; host: dpkg-deb failed.
 */
int pv_hand_kernel(const char *spec, struct hand_kernel *k, struct pv_err *err);
void pv_hand_kernel_fini(struct hand_kernel *k);

/*
 * Class usage when the configuration says that this kernel cannot be a VM's here: which option it lacks, for what.
 * 0 without a configuration.  disk: the root is a disk image.
 */
int pv_hand_kernel_check(const struct hand_kernel *k, bool disk, struct pv_err *err);

#endif
