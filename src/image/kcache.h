/* SPDX-License-Identifier: MIT */
/* The cache of kernels that were unpacked on the host: CACHE/kernels. */
#ifndef PV_IMAGE_KCACHE_H
#define PV_IMAGE_KCACHE_H

#include <stdint.h>
#include <sys/stat.h>

struct pv_err;

struct pv_kcache_src {
    int fd;          /* the bzImage, open for reading */
    struct stat st;  /* of fd */
    uint64_t offset; /* its payload */
    uint64_t length;
};

/*
 * The path of the unpacked vmlinux with a PVH note, made if it is not there yet (then this takes as long as
 * the unpacking does, and waits for another process that is unpacking just now).  The caller frees.  NULL
 * with err set when there is none: the caller boots the bzImage, so this is for a trace only.
 */
char *pv_kcache_get(const struct pv_kcache_src *src, struct pv_err *err);

#endif
