/* SPDX-License-Identifier: MIT */
/* The cache of unpacked kernels: CACHE/kernels. */
#ifndef PV_IMAGE_KCACHE_H
#define PV_IMAGE_KCACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct pv_err;

struct pv_kcache_src {
    int fd;          /* the bzImage, open for reading */
    struct stat st;  /* of fd */
    uint64_t offset; /* of its payload */
    uint64_t length; /* of its payload */
    bool whole;      /* the file is the payload, and not what the kernel's build made of one */
};

/*
 * The path of the bzImage's unpacked vmlinux, which has a PVH note, and *fd, that file open for reading; the
 * caller frees and closes.  On a miss this unpacks the kernel, or blocks while another process unpacks one.
 * NULL with err set: the bzImage has to be booted as it is.
 */
char *pv_kcache_get(const struct pv_kcache_src *src, int *fd, struct pv_err *err);

#endif
