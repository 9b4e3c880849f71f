/* SPDX-License-Identifier: MIT */
/* Kernels: ELF files and bzImages, with any payload, and archives.  The input is the file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image/elf.h"
#include "image/image.h"
#include "image/magic.h"
#include "util/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_kernel k = {0};
    int fd = memfd_create("kernel", MFD_CLOEXEC);
    char path[64];

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    pv_elf_why_not_pvh(fd, size);
    free(pv_elf_linux_release(fd, size));
    if (pv_kernel_open(path, false, &k, &err) < 0 && err.cls != PV_E_USAGE)
        abort();
    pv_kernel_fini(&k);
    err = (struct pv_err)PV_ERR_INIT;
    if (pv_initrd_check(path, &err) < 0 && err.cls != PV_E_USAGE)
        abort();
    pv_magic_describe(data, size);
    close(fd);
    return 0;
}
