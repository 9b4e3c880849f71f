/* SPDX-License-Identifier: MIT */
#include "symbols/dwarf.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"

struct pv_dwarf {
    Dwfl *dwfl;
    Dwfl_Module *module;
    int n_symbols;
};

static int no_debuginfo(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, const char *file,
                        const char *link, GElf_Word crc, char **found)
{
    (void)module, (void)data, (void)name, (void)base, (void)file, (void)link, (void)crc, (void)found;
    return -1;
}

/* The file itself has the DWARF: nothing else of the system is searched. */
static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
                                         .find_debuginfo = no_debuginfo,
                                         .section_address = dwfl_offline_section_address};

struct pv_build_id pv_build_id_of(const char *path)
{
    struct pv_build_id id = {.n = 0};
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    const void *bytes;
    ssize_t n;
    Elf *elf;

    elf_version(EV_CURRENT);
    elf = fd >= 0 ? elf_begin(fd, ELF_C_READ_MMAP, NULL) : NULL;
    n = elf ? dwelf_elf_gnu_build_id(elf, &bytes) : 0;
    if (n > 0 && n <= PV_BUILD_ID_MAX) {
        id.n = (size_t)n;
        memcpy(id.bytes, bytes, id.n);
    }
    elf_end(elf);
    return id;
}

struct pv_dwarf *pv_dwarf_open(const char *path)
{
    struct pv_dwarf *d = pv_xcalloc(1, sizeof(*d));
    Dwarf_Addr bias;

    d->dwfl = dwfl_begin(&callbacks);
    if (d->dwfl)
        d->module = dwfl_report_offline(d->dwfl, "", path, -1);
    if (d->module)
        dwfl_report_end(d->dwfl, NULL, NULL);
    if (!d->module || !dwfl_module_getdwarf(d->module, &bias)) {
        pv_dwarf_close(d);
        return NULL;
    }
    d->n_symbols = dwfl_module_getsymtab(d->module);
    return d;
}

void pv_dwarf_close(struct pv_dwarf *d)
{
    if (!d)
        return;
    if (d->dwfl)
        dwfl_end(d->dwfl);
    free(d);
}

/*
 * kallsyms takes a symbol's size up to the next symbol, the file has it without the padding between functions
 * (16 bytes, or 64 with more alignment).
 */
static bool size_fits(uint64_t told, uint64_t size)
{
    return size <= told && told - size < 64;
}

/* The address of the only function of this name and size; false: none or several. */
static bool find_function(struct pv_dwarf *d, const char *symbol, uint64_t size, Dwarf_Addr *found)
{
    bool any = false;

    for (int i = 0; i < d->n_symbols; i++) {
        GElf_Sym sym;
        GElf_Addr addr;
        const char *name = dwfl_module_getsym_info(d->module, i, &sym, &addr, NULL, NULL, NULL);

        if (!name || strcmp(name, symbol) != 0 || !size_fits(size, sym.st_size) || sym.st_shndx == SHN_UNDEF)
            continue;
        if (any && *found != addr)
            return false;
        any = true;
        *found = addr;
    }
    return any;
}

/* Without the directory that the unit was compiled in, and without a leading "./". */
static const char *short_path(const char *path, const char *dir)
{
    size_t n = dir ? strlen(dir) : 0;

    if (n && !strncmp(path, dir, n) && path[n] == '/')
        path += n + 1;
    return !strncmp(path, "./", 2) ? path + 2 : path;
}

static const char *unit_dir(Dwarf_Die *unit)
{
    Dwarf_Attribute attr;

    return dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attr));
}

static bool attr_number(Dwarf_Die *die, unsigned name, Dwarf_Word *value)
{
    Dwarf_Attribute attr;

    return dwarf_formudata(dwarf_attr(die, name, &attr), value) == 0;
}

/* ", inlined at FILE:LINE" for each function that was inlined around the address, innermost first. */
static void add_inlined(Dwarf_Die *unit, Dwarf_Addr pc, const char *dir, struct pv_buf *out)
{
    Dwarf_Die *scopes = NULL, inner;
    Dwarf_Files *files = NULL;
    int n = dwarf_getscopes(unit, pc, &scopes);

    if (n >
        0) { /* the scopes of an inlined function go on where it was written, those of a DIE where it was called */
        inner = scopes[0];
        free(scopes);
        scopes = NULL;
        n = dwarf_getscopes_die(&inner, &scopes);
    }
    if (n > 0 && dwarf_getsrcfiles(unit, &files, NULL) == 0)
        for (int i = 0; i < n; i++) {
            Dwarf_Word file, line;
            const char *path, *name;

            if (dwarf_tag(&scopes[i]) != DW_TAG_inlined_subroutine)
                continue;
            name = dwarf_diename(&scopes[i]);
            if (!attr_number(&scopes[i], DW_AT_call_file, &file) ||
                !attr_number(&scopes[i], DW_AT_call_line, &line))
                break;
            path = dwarf_filesrc(files, file, NULL, NULL);
            if (!path)
                break;
            pv_buf_addf(out, " in %s, inlined at %s:%llu", name ? name : "?", short_path(path, dir),
                        (unsigned long long)line);
        }
    free(scopes);
}

/* The compilation unit of an address. clang writes no .debug_aranges: without a row there each unit is asked. */
static Dwarf_Die *find_unit(struct pv_dwarf *d, Dwarf_Addr addr, Dwarf_Addr *bias)
{
    Dwarf_Die *unit = dwfl_module_addrdie(d->module, addr, bias), *next = NULL;

    while (!unit && (next = dwfl_module_nextcu(d->module, next, bias)) != NULL)
        if (dwarf_haspc(next, addr - *bias) > 0)
            unit = next;
    return unit;
}

bool pv_dwarf_place(struct pv_dwarf *d, const char *symbol, uint64_t offset, uint64_t size, bool call,
                    struct pv_buf *out)
{
    Dwarf_Addr addr, bias = 0;
    const char *path, *dir;
    Dwarf_Die *unit;
    Dwarf_Line *at;
    int line;

    if (offset > size || !find_function(d, symbol, size, &addr))
        return false;
    addr += offset - (call && offset ? 1 : 0);
    unit = find_unit(d, addr, &bias);
    at = unit ? dwarf_getsrc_die(unit, addr - bias) : NULL;
    path = at ? dwarf_linesrc(at, NULL, NULL) : NULL;
    if (!path || dwarf_lineno(at, &line) != 0)
        return false;
    dir = unit_dir(unit);
    pv_buf_addf(out, " (%s:%d", short_path(path, dir), line);
    add_inlined(unit, addr - bias, dir, out);
    pv_buf_addc(out, ')');
    return true;
}

bool pv_dwarf_source(struct pv_dwarf *d, uint64_t address, struct pv_buf *path, int *line)
{
    Dwarf_Addr bias = 0;
    Dwarf_Die *unit = find_unit(d, address, &bias);
    Dwarf_Line *at = unit ? dwarf_getsrc_die(unit, address - bias) : NULL;
    const char *file = at ? dwarf_linesrc(at, NULL, NULL) : NULL, *dir;

    if (!file || dwarf_lineno(at, line) != 0)
        return false;
    dir = *file == '/' ? NULL : unit_dir(unit);
    if (dir)
        pv_buf_addf(path, "%s/", dir);
    pv_buf_adds(path, !strncmp(file, "./", 2) ? file + 2 : file);
    return true;
}
