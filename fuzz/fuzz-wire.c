/* SPDX-License-Identifier: MIT */
/*
 * The decoders on any bytes.  Input: frames, as on a socket.  A decoded payload must encode to the same
 * bytes, and nothing is read behind a payload's end.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/codec.h"
#include "wire/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decodes the payload as a sequence of types that depends on the frame's type, and encodes it again. */
static void check_payload(unsigned type, const uint8_t *p, size_t n)
{
    static uint8_t out[PV_FRAME_HEADER + PV_FRAME_MAX];
    struct pv_dec d = {.p = p, .n = n};
    struct pv_enc e = {.p = out, .cap = sizeof(out)};
    unsigned order = type;
    size_t len;

    pv_enc_begin(&e, type);
    while (d.n && !d.bad) {
        struct pv_dec before = d;

        switch (order++ % 4) {
        case 0:
            pv_enc_u64(&e, pv_dec_u64(&d));
            break;
        case 1: {
            char text[32];
            struct pv_dec str = d;
            const void *b = pv_dec_bytes(&d, &len);

            pv_dec_str(&str, text, sizeof(text));
            if (!memchr(text, '\0', sizeof(text)) || (!str.bad && strlen(text) != len))
                abort();
            pv_enc_bytes(&e, b, len);
            break;
        }
        default:
            pv_enc_u32(&e, pv_dec_u32(&d));
        }
        if (!d.bad && (d.n > before.n || d.p != before.p + (before.n - d.n)))
            abort();
    }
    if (!pv_dec_done(&d)) {
        if (pv_dec_u32(&d) && d.bad)
            abort();
        return;
    }
    if (pv_enc_end(&e) != PV_FRAME_HEADER + n || memcmp(out + PV_FRAME_HEADER, p, n) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    while (size >= PV_FRAME_HEADER) {
        unsigned type;
        uint32_t n;
        uint8_t header[PV_FRAME_HEADER];

        if (!pv_frame_header(data, &type, &n))
            return 0;
        if (!pv_msg_name(type) || n > PV_FRAME_MAX)
            abort();
        pv_frame_put_header(header, type, n);
        if (memcmp(header, data, sizeof(header)) != 0)
            abort();
        data += PV_FRAME_HEADER;
        size -= PV_FRAME_HEADER;
        if (n > size)
            n = (uint32_t)size;            /* cut off */
        uint8_t *copy = malloc(n ? n : 1); /* of its own, for a sanitizer to see the end of */

        memcpy(copy, data, n);
        check_payload(type, copy, n);
        free(copy);
        data += n;
        size -= n;
    }
    return 0;
}
