/* SPDX-License-Identifier: MIT */
/* File types by magic number, for choosing a decompressor and for error messages.  Pure. */
#ifndef PV_IMAGE_MAGIC_H
#define PV_IMAGE_MAGIC_H

#include <stddef.h>
#include <stdint.h>

enum pv_comp {
    PV_COMP_NONE,
    PV_COMP_GZIP,
    PV_COMP_BZIP2,
    PV_COMP_LZMA, /* the old .lzma format, 13-byte header */
    PV_COMP_XZ,
    PV_COMP_LZO, /* lzop's container */
    PV_COMP_LZ4, /* the legacy frame, the only one that the kernel supports */
    PV_COMP_ZSTD,
    PV_COMP_COUNT
};

/* The functions below get the first PV_MAGIC_BYTES of a file, or all of a shorter one. */
enum { PV_MAGIC_BYTES = 2048 };

/* The compression of a stream; PV_COMP_NONE for one that the kernel does not support. */
enum pv_comp pv_magic_comp(const void *data, size_t n);

/* The number in n bytes, at most 8, the lowest one first. */
uint64_t pv_little_endian(const uint8_t *p, unsigned n);

/* "gzip", "xz", ... */
const char *pv_comp_name(enum pv_comp c);

/* A description that follows "is " in a message: "empty", "a text file", "a qcow2 disk image".  Static. */
const char *pv_magic_describe(const void *data, size_t n);

#endif
