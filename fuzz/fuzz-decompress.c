/* SPDX-License-Identifier: MIT */
/* Every decompressor.  Input: a byte that chooses it (0: by the data's magic), then the compressed data. */
#include <stdint.h>
#include <stdlib.h>

#include "image/decompress.h"
#include "image/magic.h"
#include "util/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUTPUT_MAX = 1 << 20, KINDS = 8 };

static int on_data(void *arg, const void *data, size_t n, struct pv_err *err)
{
    size_t *total = arg;
    unsigned sum = 0;

    (void)err;
    for (size_t i = 0; i < n; i++)
        sum += ((const unsigned char *)data)[i];
    *total += n;
    if (*total > OUTPUT_MAX)
        abort();
    return sum == 1 ? -1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_err err = PV_ERR_INIT;
    size_t total = 0;
    enum pv_comp c;

    if (!size)
        return 0;
    c = data[0] % KINDS ? (enum pv_comp)(data[0] % KINDS) : pv_magic_comp(data + 1, size - 1);
    if (c == PV_COMP_NONE) /* the callers' part */
        return 0;
    pv_decompress(c, data + 1, size - 1, OUTPUT_MAX, on_data, &total, &err);
    return 0;
}
