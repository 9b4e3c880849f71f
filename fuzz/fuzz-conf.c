/* SPDX-License-Identifier: MIT */
/* Settings of the guest init, and a kernel command line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), why[64], value[16];
    struct ag_conf c;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (ag_cmdline_get(text, "root=", value, sizeof(value)) && !memchr(value, '\0', sizeof(value)))
        abort();
    memset(&c, 0, sizeof(c));
    if (size < AG_CONF_MAX && ag_conf_parse(text, &c, why, sizeof(why)))
        for (size_t i = 0; i < c.n_modules; i++)
            if (strchr(c.modules[i], '/'))
                abort();
    free(text);
    return 0;
}
