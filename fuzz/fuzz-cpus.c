/* SPDX-License-Identifier: MIT */
/* Prints of registers, as QEMU's monitor sends them: the input's lines "=" separate the prints of a window. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"
#include "vm/cpus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = pv_xstrndup((const char *)data, size), *at = text;
    struct pv_cpus c = {0};
    struct pv_buf places = {0};

    while (at) {
        char *next = strstr(at, "\n=\n");

        if (next)
            *next = '\0';
        if (!pv_cpus_add(&c, at))
            pv_cpus_fini(&c);
        /* The same print again is a CPU that does not advance. */
        for (int i = 0; c.n && i < PV_CPUS_ENOUGH && pv_cpus_add(&c, at); i++)
            ;
        pv_cpus_judge(&c);
        pv_cpus_places(&c, &places);
        at = next ? next + 3 : NULL;
    }
    pv_cpus_fini(&c);
    pv_buf_free(&places);
    free(text);
    return 0;
}
