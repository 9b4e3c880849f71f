/* SPDX-License-Identifier: MIT */
/* Just enough ELF to know whether QEMU can start a vmlinux directly. All offsets are checked. */
#ifndef PV_IMAGE_ELF_H
#define PV_IMAGE_ELF_H

#include <stdint.h>

/*
 * NULL when fd (size bytes) is an ELF64 x86-64 program with a PVH entry note (Xen's XEN_ELFNOTE_PHYS32_ENTRY)
 * and all its segments; else what it is instead, a phrase that fits behind "is ". Static text.
 */
const char *pv_elf_why_not_pvh(int fd, uint64_t size);

/* The release in "Linux version RELEASE ..." inside the loaded segments. NULL: none. The caller frees. */
char *pv_elf_linux_release(int fd, uint64_t size);

#endif
