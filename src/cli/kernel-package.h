/* SPDX-License-Identifier: MIT */
/* Kernels out of Debian's packages, for pv_hand_kernel. */
#ifndef PV_CLI_KERNEL_PACKAGE_H
#define PV_CLI_KERNEL_PACKAGE_H

#include <stdbool.h>
#include <sys/types.h>

struct hand_kernel;
struct pv_err;

/*
 * The kernel of a linux-image package, a file; unpacked once into CACHE/packages, by dpkg-deb (up to 2 minutes).  A
 * signal that ends the program does so when nothing half-made is left.  Class usage: no such package; host, missing: it
 * cannot be unpacked here.
 */
int pv_hand_kernel_of_package(const char *package, struct hand_kernel *k, struct pv_err *err);

/* "6.1.0-57-rt-amd64": what follows linux-image- in the name of a package of Debian, and there is an apt-get. */
bool pv_hand_debian_version(const char *spec);

/*
 * The kernel of linux-image-VERSION, which apt-get downloads (up to 10 minutes; needs no root), with a line on standard
 * error; kept in CACHE/packages, so the next call asks no network.  Class usage: apt-get cannot get it, with its words.
 */
int pv_hand_kernel_of_debian(const char *version, struct hand_kernel *k, struct pv_err *err);

/* ---- of kernel.c ---- */

/* path is there, and of this kind (S_IFREG, S_IFDIR); links are followed. */
bool pv_hand_is_kind(const char *path, mode_t kind);
/* Takes path: returns it when it is of this kind, else frees it and returns NULL. */
char *pv_hand_path_if(char *path, mode_t kind);
/* DIR/vmlinuz-VERSION of the highest version; NULL: none.  The caller frees. */
char *pv_hand_image_versioned(const char *dir);

#endif
