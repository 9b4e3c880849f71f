/* SPDX-License-Identifier: MIT */
/* For tests: small kernel files with the parts that image/ reads; they cannot run. */
#ifndef PV_IMAGE_TEST_KERNEL_FILES_H
#define PV_IMAGE_TEST_KERNEL_FILES_H

#include <stdbool.h>

#include "image/magic.h"
#include "util/mem.h"

#define TEST_RELEASE "9.8.7-test+"
enum { TEST_ELF_SIZE = 700 << 10 };

/* An ELF64 x86-64 program of about `size` bytes, partly compressible, with or without a PVH note. */
void test_make_elf(struct pv_buf *elf, size_t size, bool pvh, unsigned seed);

/* Compresses data as the kernel's build does, without the appended length. */
void test_compress(enum pv_comp c, const void *data, size_t n, struct pv_buf *out);

/* A bzImage around a compressed payload, with the unpacked length appended except for gzip. */
void test_make_bzimage(struct pv_buf *bz, enum pv_comp c, const struct pv_buf *packed, size_t plain_len);

/* Writes a bzImage to `path`; elf gets its payload, unpacked. */
void test_make_kernel(const char *path, enum pv_comp c, unsigned seed, bool pvh, struct pv_buf *elf);

/* The default guest's directory: PROVIUM_GUEST_DIR, or the output of scripts/setup.  The caller frees. */
char *test_guest_dir(void);

void test_write(const char *path, const void *data, size_t n);

#endif
