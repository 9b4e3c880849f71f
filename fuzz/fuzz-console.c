/* SPDX-License-Identifier: MIT */
/*
 * The guest's console bytes: the tail is harmless for a terminal and bounded.  Input: u8 size of the pieces
 * minus 1, then console bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"
#include "vm/console.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_console *c;
    struct pv_buf out = {0};
    size_t piece;

    if (size < 1)
        return 0;
    piece = (size_t)*data + 1;
    data++;
    size--;
    c = pv_console_new(NULL, "provium: fatal: ");
    for (size_t at = 0; at < size; at += piece)
        pv_console_feed(c, data + at, size - at < piece ? size - at : piece);
    pv_console_finish(c);
    pv_console_tail(c, 64, &out);
    if (out.len > 64 * (size_t)516)
        abort();
    for (size_t i = 0; i < out.len; i++) {
        unsigned char b = (unsigned char)out.data[i];

        if ((b < 0x20 && b != '\n') || b == 0x7f || (b == 0xc2 && (unsigned char)out.data[i + 1] < 0xa0))
            abort();
    }
    if (pv_console_panic(c) && strpbrk(pv_console_panic(c), "\n\033"))
        abort();
    pv_buf_free(&out);
    pv_console_free(c);
    return 0;
}
