/* SPDX-License-Identifier: MIT */
/* What a file is, told from its first bytes: for choosing a decompressor and for error messages. */
#ifndef PV_IMAGE_MAGIC_H
#define PV_IMAGE_MAGIC_H

#include <stddef.h>

enum pv_comp {
    PV_COMP_NONE,
    PV_COMP_GZIP,
    PV_COMP_BZIP2,
    PV_COMP_LZMA, /* the old .lzma format, 13-byte header */
    PV_COMP_XZ,
    PV_COMP_LZO, /* lzop's container */
    PV_COMP_LZ4, /* the legacy frame, the only one the kernel knows */
    PV_COMP_ZSTD,
    PV_COMP_COUNT
};

/* Bytes that the functions below want to see of a file (fewer are fine when it is shorter). */
enum { PV_MAGIC_BYTES = 2048 };

/* The compression that a stream starts with; PV_COMP_NONE when it is none that the kernel knows. */
enum pv_comp pv_magic_comp(const void *data, size_t n);

/* "gzip", "xz", ... */
const char *pv_comp_name(enum pv_comp c);

/* What a person would call a file that begins so: "empty", "a text file", "a qcow2 disk image". Static text.
 */
const char *pv_magic_describe(const void *data, size_t n);

#endif
