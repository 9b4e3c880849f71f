/* SPDX-License-Identifier: MIT */
#include "symbols/find.h"

#include <fts.h>
#include <string.h>

#include "util/mem.h"

enum { MAX_ENTRIES = 200000, MAX_FOUND = 16 };

/* NAME.ko or NAME.ko.debug */
static bool name_is_module(const char *name, const char *module)
{
    size_t n = strlen(module);

    for (size_t i = 0; i < n; i++) {
        char a = name[i] == '-' ? '_' : name[i], b = module[i] == '-' ? '_' : module[i];

        if (a != b) /* also at the end of name */
            return false;
    }
    return !strcmp(name + n, ".ko") || !strcmp(name + n, ".ko.debug");
}

bool pv_symbols_fits(const char *path, const char *module)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    if (module)
        return name_is_module(name, module);
    return !strcmp(name, "vmlinux") || !strncmp(name, "vmlinux-", strlen("vmlinux-"));
}

void pv_symbols_find(const char *dir, const char *module, struct pv_strv *found)
{
    char *roots[] = {(char *)dir, NULL};
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
    size_t n = 0;

    if (!fts)
        return;
    for (FTSENT *e = fts_read(fts); e && n < MAX_ENTRIES && found->n < MAX_FOUND; e = fts_read(fts), n++)
        if ((e->fts_info == FTS_F || e->fts_info == FTS_NSOK) && pv_symbols_fits(e->fts_path, module))
            pv_strv_add(found, e->fts_path);
    fts_close(fts);
}
