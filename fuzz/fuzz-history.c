/* SPDX-License-Identifier: MIT */
/* The history of durations: the input is the file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runner/history.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char notice[512] = "", path[64];
    int fd = memfd_create("history", MFD_CLOEXEC);
    struct pv_history *h;

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    h = pv_history_load("/p", path, notice);
    if (pv_history_duration(h, "/p/a.lua") < -1)
        abort();
    pv_history_failed(h, "/p/a.lua");
    pv_history_free(h);
    close(fd);
    return 0;
}
