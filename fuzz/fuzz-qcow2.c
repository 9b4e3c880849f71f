/* SPDX-License-Identifier: MIT */
/* The first bytes of a qcow2 image. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"
#include "vm/qcow2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_qcow2 q;
    struct pv_err err = PV_ERR_INIT;

    if (size > PV_QCOW2_HEAD)
        return 0;
    if (pv_qcow2_parse(data, size, &q, &err) < 0) {
        if (err.cls != PV_E_USAGE || !err.text[0])
            abort();
        return 0;
    }
    if (strnlen(q.backing, sizeof(q.backing)) == sizeof(q.backing) ||
        strnlen(q.backing_format, sizeof(q.backing_format)) == sizeof(q.backing_format))
        abort();
    return 0;
}
