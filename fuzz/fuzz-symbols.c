/* SPDX-License-Identifier: MIT */
/* A kernel report, whose symbols are looked up in this program. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/symbols.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pv_symbols *s;
    static unsigned runs;
    cleanup_free char *report = pv_xstrndup((const char *)data, strnlen((const char *)data, size));
    cleanup_free char *text = NULL;

    if (runs++ % 64 == 0) { /* names of modules are remembered, and their number is bounded */
        struct pv_strv paths = {0};

        pv_symbols_free(s);
        pv_strv_add(&paths, "/proc/self/exe");
        s = pv_symbols_new(&paths, "/nonexistent", NULL);
        pv_strv_free(&paths);
    }
    text = pv_symbols_annotate(s, report);
    if (text && strlen(text) < strlen(report))
        abort();
    return 0;
}
