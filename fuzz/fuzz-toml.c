/* SPDX-License-Identifier: MIT */
/* provium.toml, as text and as a file with profiles. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/config.h"
#include "config/config_toml.h"
#include "util/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_toml *t = pv_toml_parse((const char *)data, size, "provium.toml", &err);
    struct pv_config *c;
    char path[64];
    int fd;

    if (!t && err.cls != PV_E_USAGE)
        abort();
    pv_toml_free(t);
    fd = memfd_create("provium.toml", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    c = pv_config_load(path, NULL, &err);
    for (size_t i = 0; c && i < c->n_profiles; i++)
        if (!c->profiles[i].name || !c->profiles[i].kernel)
            abort();
    pv_config_free(c);
    close(fd);
    return 0;
}
