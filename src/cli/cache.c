/* SPDX-License-Identifier: MIT */
#include "cli/cache.h"

#include <stdbool.h>
#include <string.h>

#include "util/cachedir.h"
#include "util/err.h"
#include "util/mem.h"

bool pv_cache_notes(const char *history_notice, struct pv_strv *notes)
{
    static const char *const used[] = {"kernels", "modules", "fixtures"};
    cleanup_cachedir struct pv_cachedir dir = PV_CACHEDIR_INIT;
    struct pv_err err = PV_ERR_INIT;
    bool ok = pv_cachedir_open(&dir, NULL, &err) == 0;

    for (size_t i = 0; i < PV_ARRAY_LEN(used) && ok; i++)
        ok = pv_cachedir_check(used[i], &err) == 0;
    if (history_notice[0] && (ok || !strstr(history_notice, err.text)))
        pv_strv_add(notes, history_notice);
    if (!ok)
        pv_strv_addf(notes, "the cache is not used: %.500s; this run has one of its own, which ends with it",
                     err.text);
    return ok;
}
