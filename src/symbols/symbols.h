/* SPDX-License-Identifier: MIT */
/*
 * Source lines in kernel reports: "crash_write+0x1b/0x30 [demo]" gets "(demo.c:31)" behind it, from the DWARF of a
 * vmlinux and of modules, with the functions that were inlined there.  elfutils' libdw reads them.
 *
 *     struct pv_symbols *s = pv_symbols_new(&profile->debug, profile->kernel, boot_path);
 *     cleanup_free char *text = pv_symbols_annotate(s, excerpt);
 *     pv_symbols_free(s);
 *
 * A wrong line is worse than none: a vmlinux must have the build ID of the kernel that ran, and a symbol is only
 * used when exactly one of its name has the size that the report tells.
 *
 * Debug files are the user's and trusted as far as libdw is; reports are a guest's bytes and only parsed here.
 * All functions block on the file system.
 */
#ifndef PV_SYMBOLS_SYMBOLS_H
#define PV_SYMBOLS_SYMBOLS_H

#include <stdbool.h>
#include <stdint.h>

struct pv_buf;
struct pv_strv;
struct pv_symbols;

/*
 * paths: files (vmlinux, NAME.ko, NAME.debug) and directories, which are searched for such files when they are
 * needed.  kernel: the profile's file; the vmlinux of its build tree and the system's /usr/lib/debug/.build-id are
 * looked at behind the paths.  booted: an ELF file of the same kernel with its build ID; NULL: not known, then
 * sizes of symbols alone are checked.  The strings are copied.  Opens nothing yet.
 */
struct pv_symbols *pv_symbols_new(const struct pv_strv *paths, const char *kernel, const char *booted);
/* NULL is fine. */
void pv_symbols_free(struct pv_symbols *s);

/*
 * The report with places behind its symbols, at most a few KiB longer; the caller frees.  NULL: no symbol of it
 * was found.
 */
char *pv_symbols_annotate(struct pv_symbols *s, const char *report);

/*
 * The source line of an address in the kernel's code, as its vmlinux has it: the path is appended.  False: no vmlinux
 * (pv_symbols_problem), or it knows no line there.
 */
bool pv_symbols_source(struct pv_symbols *s, uint64_t address, struct pv_buf *path, int *line);

/* Why no vmlinux of the given paths is used, a phrase for the user; NULL: one is used, or no path was given. */
const char *pv_symbols_problem(const struct pv_symbols *s);

#endif
