/* SPDX-License-Identifier: MIT */
#include "cli/cache.h"

#include <string.h>

#include "util/cachedir.h"
#include "util/err.h"
#include "util/mem.h"

void pv_cache_notes(const char *history_notice, struct pv_strv *notes)
{
    static const char *const used[] = {NULL, "kernels", "modules"};
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *line = NULL;

    for (size_t i = 0; i < PV_ARRAY_LEN(used) && !line; i++)
        if (pv_cachedir_check(used[i], &err) < 0)
            line = pv_xasprintf("the cache is not used: %.500s", err.text);
    if (history_notice[0] && !(line && strstr(history_notice, err.text)))
        pv_strv_add(notes, history_notice);
    if (line)
        pv_strv_add(notes, line);
}
