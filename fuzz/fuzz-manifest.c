/* SPDX-License-Identifier: MIT */
/* A fixture's manifest with any content, with and without a correct checksum. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fixture/internal.h"
#include "fixture/manifest.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writing, reading and writing again gives the same text; a flipped bit is found. */
static void round_trip(const struct pv_manifest *m)
{
    size_t len, again_len;
    cleanup_free char *text = pv_manifest_write(m, &len), *again = NULL;
    struct pv_manifest *second = pv_manifest_read(text, len, NULL);

    if (!second)
        abort();
    again = pv_manifest_write(second, &again_len);
    if (len != again_len || memcmp(text, again, len) != 0)
        abort();
    pv_manifest_free(second);
    text[len / 2] = (char)(text[len / 2] ^ 1);
    if (pv_manifest_read(text, len, NULL))
        abort(); /* the checksum missed a flipped bit */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_manifest *m;

    if (size > 1 << 20)
        return 0;
    pv_manifest_free(pv_manifest_read((const char *)data, size, NULL));
    m = pv_manifest_read_body((const char *)data, size, NULL);
    if (m)
        round_trip(m);
    pv_manifest_free(m);
    return 0;
}
