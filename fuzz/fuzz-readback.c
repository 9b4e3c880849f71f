/* SPDX-License-Identifier: MIT */
/* A JSON report that another machine wrote: the input is the file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "report/readback.h"
#include "util/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_file_report f = {0};
    struct pv_readback *r;
    char path[64];
    int fd = memfd_create("report", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = pv_readback_open(path, &err);
    if (!r && err.cls != PV_E_USAGE)
        abort();
    while (r && pv_readback_next(r, &f, &err) == 1)
        pv_readback_fini(&f);
    pv_readback_free(r);
    close(fd);
    return 0;
}
