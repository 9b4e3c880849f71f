/* SPDX-License-Identifier: MIT */
/* One ELF file with DWARF, by libdw. Private to symbols. */
#ifndef PV_SYMBOLS_DWARF_H
#define PV_SYMBOLS_DWARF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_buf;
struct pv_dwarf;

enum { PV_BUILD_ID_MAX = 64 };
struct pv_build_id {
    unsigned char bytes[PV_BUILD_ID_MAX];
    size_t n; /* 0: there is none */
};

/* The GNU build ID of an ELF file, from its notes. Blocks on the file system. */
struct pv_build_id pv_build_id_of(const char *path);

/* NULL: no ELF file, or it has no DWARF. Reads symbols only when they are asked for. */
struct pv_dwarf *pv_dwarf_open(const char *path);
void pv_dwarf_close(struct pv_dwarf *d);

/*
 * Appends " (FILE:LINE)" of symbol+offset, with the functions inlined there; false: no such symbol, more than one
 * that could be meant, or no line is known.  size: of the symbol as kallsyms has it, which is up to the next
 * symbol.  call: offset is a return address, so the line is that of the byte before.
 */
bool pv_dwarf_place(struct pv_dwarf *d, const char *symbol, uint64_t offset, uint64_t size, bool call,
                    struct pv_buf *out);

/*
 * The source line of an address as the file has it: the path (with the directory that its unit was compiled in) is
 * appended.  False: none is known.
 */
bool pv_dwarf_source(struct pv_dwarf *d, uint64_t address, struct pv_buf *path, int *line);

#endif
