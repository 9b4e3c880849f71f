/* SPDX-License-Identifier: MIT */
/* A file of --save-failed, which may be anyone's: the input is the file, compressed or not. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pvsave/pvsave.h"
#include "util/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_pvsave s;
    int fd = memfd_create("pvsave", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
        abort();
    if (pv_pvsave_read(fd, "", &s, &err) < 0 && err.cls != PV_E_USAGE && err.cls != PV_E_HOST)
        abort();
    for (size_t i = 0; i < s.n_vms; i++)
        if (!s.vms[i].reason != !!s.vms[i].json && err.cls == PV_E_NONE)
            abort();
    pv_pvsave_fini(&s);
    close(fd);
    return 0;
}
