/* SPDX-License-Identifier: MIT */
#include "symbols/symbols.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "symbols/dwarf.h"
#include "symbols/find.h"
#include "util/mem.h"
#include "util/path.h"

enum { MAX_NAME = 128, MAX_MODULES = 16, MAX_ADDED = 8192 };

/* One opened file: the kernel's (module "") or a module's. */
struct symbol_file {
    char module[MAX_NAME];
    struct pv_dwarf *dwarf; /* NULL: there is none; it is not searched again */
};

struct pv_symbols {
    struct pv_strv paths;
    char *kernel;
    struct pv_build_id id; /* of the kernel that ran */
    struct symbol_file files[MAX_MODULES];
    size_t n_files;
    char *problem;
};

/* "name+0x1b/0x30 [module]" in a line. */
struct symbol_ref {
    char name[MAX_NAME], module[MAX_NAME];
    uint64_t offset, size;
    const char *end;
};

struct pv_symbols *pv_symbols_new(const struct pv_strv *paths, const char *kernel, const char *booted)
{
    struct pv_symbols *s = pv_xcalloc(1, sizeof(*s));

    for (size_t i = 0; i < paths->n; i++)
        pv_strv_add(&s->paths, paths->v[i]);
    s->kernel = pv_xstrdup(kernel);
    if (booted)
        s->id = pv_build_id_of(booted);
    return s;
}

void pv_symbols_free(struct pv_symbols *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_files; i++)
        pv_dwarf_close(s->files[i].dwarf);
    pv_strv_free(&s->paths);
    free(s->kernel);
    free(s->problem);
    free(s);
}

const char *pv_symbols_problem(const struct pv_symbols *s)
{
    return s->problem;
}

/* Opens a vmlinux that is of the kernel that ran.  The reason why one that the user named is not used is kept. */
static struct pv_dwarf *open_vmlinux(struct pv_symbols *s, const char *path, bool named)
{
    struct pv_build_id id = pv_build_id_of(path);
    bool same = !s->id.n || (id.n == s->id.n && !memcmp(id.bytes, s->id.bytes, id.n));
    struct pv_dwarf *d = same ? pv_dwarf_open(path) : NULL;

    if (!d && named && !s->problem)
        s->problem = pv_xasprintf("'%s' %s", path,
                                  same ? "has no DWARF debug information"
                                       : "is of another build of the kernel than the one that was booted");
    return d;
}

/* Appends the file that debuggers look for by the build ID. */
static void add_system_file(const struct pv_build_id *id, struct pv_strv *found)
{
    cleanup_buf struct pv_buf path = {0};

    if (id->n < 2)
        return;
    pv_buf_addf(&path, "/usr/lib/debug/.build-id/%02x/", id->bytes[0]);
    for (size_t i = 1; i < id->n; i++)
        pv_buf_addf(&path, "%02x", id->bytes[i]);
    pv_buf_adds(&path, ".debug");
    pv_strv_add(found, path.data);
}

/* The top of the build tree that has the kernel at its place (arch/x86/boot/bzImage); NULL: it lies elsewhere. */
static char *build_tree(const char *kernel)
{
    static const char place[] = "/arch/x86/boot/bzImage";
    size_t n = strlen(kernel), m = sizeof(place) - 1;

    return n > m && !strcmp(kernel + n - m, place) ? pv_xstrndup(kernel, n - m) : NULL;
}

/* Files of the given paths that may have the symbols of the module (NULL: of the kernel). */
static void find_named(const struct pv_symbols *s, const char *module, struct pv_strv *found)
{
    struct stat st;

    for (size_t i = 0; i < s->paths.n; i++) {
        const char *path = s->paths.v[i];

        if (stat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            pv_symbols_find(path, module, found);
        else if (pv_symbols_fits(path, module) || (!module && !strstr(path, ".ko")))
            pv_strv_add(found, path);
    }
}

/* The same in the places where they usually lie. */
static void find_usual(const struct pv_symbols *s, const char *module, struct pv_strv *found)
{
    cleanup_free char *tree = build_tree(s->kernel);

    if (tree && module)
        pv_symbols_find(tree, module, found);
    else if (tree)
        pv_strv_addf(found, "%s/vmlinux", tree);
    if (!module) {
        pv_strv_add(found, s->kernel); /* a vmlinux can be booted itself */
        add_system_file(&s->id, found);
    }
}

static struct pv_dwarf *open_file(struct pv_symbols *s, const char *module)
{
    cleanup_strv struct pv_strv found = {0};
    struct pv_dwarf *d = NULL;
    size_t n_named;

    find_named(s, *module ? module : NULL, &found);
    n_named = found.n;
    find_usual(s, *module ? module : NULL, &found);
    for (size_t i = 0; i < found.n && !d; i++) {
        if (access(found.v[i], R_OK) < 0)
            continue;
        d = *module ? pv_dwarf_open(found.v[i]) : open_vmlinux(s, found.v[i], i < n_named);
    }
    if (!*module && d) {
        free(s->problem);
        s->problem = NULL;
    }
    return d;
}

static struct pv_dwarf *file_of(struct pv_symbols *s, const char *module)
{
    struct symbol_file *f;

    for (size_t i = 0; i < s->n_files; i++)
        if (!strcmp(s->files[i].module, module))
            return s->files[i].dwarf;
    if (s->n_files == MAX_MODULES)
        return NULL;
    f = &s->files[s->n_files++];
    strcpy(f->module, module);
    f->dwarf = open_file(s, module);
    return f->dwarf;
}

bool pv_symbols_source(struct pv_symbols *s, uint64_t address, struct pv_buf *path, int *line)
{
    struct pv_dwarf *d = file_of(s, "");

    return d && pv_dwarf_source(d, address, path, line);
}

static bool is_symbol_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '$';
}

/* The number behind "0x"; false: there is none. */
static bool read_hex(const char **p, uint64_t *value)
{
    char *end;

    if ((*p)[0] != '0' || (*p)[1] != 'x' || !isxdigit((unsigned char)(*p)[2]))
        return false;
    errno = 0;
    *value = strtoull(*p, &end, 16);
    *p = end;
    return errno == 0;
}

/* Reads a reference whose '+' is at `plus`; the line begins at `line`. */
static bool read_ref(const char *line, const char *plus, struct symbol_ref *r)
{
    const char *name = plus, *p = plus + 1;
    size_t n;

    while (name > line && is_symbol_char(name[-1]))
        name--;
    n = (size_t)(plus - name);
    if (!n || n >= MAX_NAME || !read_hex(&p, &r->offset) || *p++ != '/' || !read_hex(&p, &r->size))
        return false;
    memcpy(r->name, name, n);
    r->name[n] = 0;
    r->module[0] = 0;
    if (p[0] == ' ' && p[1] == '[') {
        n = strspn(p + 2, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
        if (n && n < MAX_NAME && (p[2 + n] == ']' || p[2 + n] == ' ')) { /* a build ID may follow */
            memcpy(r->module, p + 2, n);
            r->module[n] = 0;
            p += 2 + strcspn(p + 2, "]\n");
            p += *p == ']';
        }
    }
    r->end = p;
    return true;
}

/* Whether the offsets of a line are addresses of instructions; those of a call trace are where calls return to. */
static bool line_is_exact(const char *line, size_t n)
{
    return memmem(line, n, "RIP:", 4) || memmem(line, n, "WARNING:", 8);
}

/* Copies a line with the places behind its symbols. */
static bool annotate_line(struct pv_symbols *s, const char *line, size_t n, struct pv_buf *out)
{
    const char *end = line + n, *done = line, *p = line;
    bool exact = line_is_exact(line, n), any = false;
    struct symbol_ref r;

    while ((p = memchr(p, '+', (size_t)(end - p))) != NULL) {
        struct pv_dwarf *d;

        if (!read_ref(line, p, &r) || r.end > end) {
            p++;
            continue;
        }
        pv_buf_add(out, done, (size_t)(r.end - done));
        d = file_of(s, r.module);
        any |= d && pv_dwarf_place(d, r.name, r.offset, r.size, !exact, out);
        done = p = r.end;
    }
    pv_buf_add(out, done, (size_t)(end - done));
    return any;
}

char *pv_symbols_annotate(struct pv_symbols *s, const char *report)
{
    cleanup_buf struct pv_buf out = {0};
    size_t most = strlen(report) + MAX_ADDED;
    bool any = false;

    for (const char *line = report; *line;) {
        size_t n = strcspn(line, "\n");

        if (out.len < most)
            any |= annotate_line(s, line, n, &out);
        else
            pv_buf_add(&out, line, n);
        line += n;
        if (*line) {
            pv_buf_addc(&out, '\n');
            line++;
        }
    }
    return any ? pv_steal(&out.data) : NULL;
}
