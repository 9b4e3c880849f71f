/* SPDX-License-Identifier: MIT */
/*
 * One door to every compression that a Linux kernel uses, for its own payload and for its modules.
 * Everything goes through libarchive's filters (raw format), except lzo, which Debian's libarchive lacks.
 */
#ifndef PV_IMAGE_DECOMPRESS_H
#define PV_IMAGE_DECOMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "image/magic.h"

struct pv_err;

/* Takes decompressed bytes; -1 with err set stops the work. */
typedef int pv_sink_fn(void *arg, const void *data, size_t n, struct pv_err *err);

/*
 * Decompresses data (format `c`, not NONE) into `sink`.  More than `max` bytes of output, damaged or
 * truncated input: error class usage that does not name the file (the caller does).  Never blocks.
 */
int pv_decompress(enum pv_comp c, const void *data, size_t n, uint64_t max, pv_sink_fn *sink, void *arg,
                  struct pv_err *err);

#endif
