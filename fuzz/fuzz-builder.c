/* SPDX-License-Identifier: MIT */
/* Messages of a fixture's builder, which its script may have corrupted: what is decoded lies within the message. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "testfile/builder-link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1); /* of its own, for a sanitizer to see the end of */
    const char *end = (const char *)copy + size;
    struct tf_builder_message m;

    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    if (pv_tf_builder_decode(&m, copy, size)) {
        if (m.cls >= PV_CLASS_COUNT || m.text + m.text_len != end ||
            (m.vm != NULL) != (m.kind == TF_MSG_TAIL))
            abort();
        if (memchr(m.text, '\0', m.text_len) || (m.vm && m.vm + strlen(m.vm) + 1 != m.text))
            abort();
    }
    free(copy);
    return 0;
}
