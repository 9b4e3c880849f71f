/* SPDX-License-Identifier: MIT */
/*
 * Decompression of kernel payloads and modules, in every format that a Linux kernel uses.  libarchive's
 * filters (raw format) do it, except for lzo, which Debian's libarchive lacks.
 */
#ifndef PV_IMAGE_DECOMPRESS_H
#define PV_IMAGE_DECOMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "image/magic.h"

struct pv_err;

/* Receives decompressed bytes, which it borrows; -1 with err set ends pv_decompress. */
typedef int pv_sink_fn(void *arg, const void *data, size_t n, struct pv_err *err);

/*
 * Decompresses data (format `c`, not NONE) into `sink`.  -1: class usage for more than `max` bytes of output
 * and for damaged or truncated input; the text does not name the file.  Blocks only in `sink`.
 */
int pv_decompress(enum pv_comp c, const void *data, size_t n, uint64_t max, pv_sink_fn *sink, void *arg,
                  struct pv_err *err);

#endif
