/* SPDX-License-Identifier: MIT */
/* Decides whether QEMU can start a vmlinux directly, and finds its release.  All offsets are checked. */
#ifndef PV_IMAGE_ELF_H
#define PV_IMAGE_ELF_H

#include <stdint.h>

/*
 * NULL when fd (size bytes) is a whole ELF64 x86-64 program with a PVH entry note (XEN_ELFNOTE_PHYS32_ENTRY);
 * else a description of the file that follows "is " in a message, static text.
 */
const char *pv_elf_why_not_pvh(int fd, uint64_t size);

/* RELEASE of "Linux version RELEASE ...", searched in the loaded segments; NULL: none.  The caller frees. */
char *pv_elf_linux_release(int fd, uint64_t size);

#endif
