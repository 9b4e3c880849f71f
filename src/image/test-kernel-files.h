/* SPDX-License-Identifier: MIT */
/* For tests: small kernels with everything that image/ looks at, and nothing that could run. */
#ifndef PV_IMAGE_TEST_KERNEL_FILES_H
#define PV_IMAGE_TEST_KERNEL_FILES_H

#include <stdbool.h>

#include "image/magic.h"
#include "util/mem.h"

#define TEST_RELEASE "9.8.7-test+"
enum { TEST_ELF_SIZE = 700 << 10 };

/* An ELF64 x86-64 program of about `size` bytes, partly compressible, with or without a PVH note. */
void test_make_elf(struct pv_buf *elf, size_t size, bool pvh, unsigned seed);

/* data as the kernel's build compresses it, without the length behind it. */
void test_compress(enum pv_comp c, const void *data, size_t n, struct pv_buf *out);

/* A bzImage around a compressed payload; the length of what is in it is added but for gzip. */
void test_make_bzimage(struct pv_buf *bz, enum pv_comp c, const struct pv_buf *packed, size_t plain_len);

/* All of it: writes a bzImage to `path`; elf gets what is in it. */
void test_make_kernel(const char *path, enum pv_comp c, unsigned seed, bool pvh, struct pv_buf *elf);

/* Where the default guest should be: PROVIUM_GUEST_DIR, or what scripts/setup makes. The caller frees. */
char *test_guest_dir(void);

void test_write(const char *path, const void *data, size_t n);

#endif
