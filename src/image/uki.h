/* SPDX-License-Identifier: MIT */
/* Unified kernel images: a PE program with a kernel in its section ".linux" (UAPI group, "Unified Kernel Image"). */
#ifndef PV_IMAGE_UKI_H
#define PV_IMAGE_UKI_H

#include <stdint.h>

struct pv_err;

/*
 * Copies the kernel of the image fd (size bytes) into a memfd, which the caller closes.  -1 with err untouched: fd
 * is no PE program, or has no section ".linux".  -1 with err set: class usage for sections that lie outside of the
 * file, class host.  `path` is for messages.
 */
int pv_uki_kernel(const char *path, int fd, uint64_t size, struct pv_err *err);

#endif
