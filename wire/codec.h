/* SPDX-License-Identifier: MIT */
/*
 * Encoding and decoding of frame payloads: no allocation, no descriptor.  All bytes of the peer are decoded
 * here.  An encoder that runs out of room, or a decoder that runs past the end, becomes `bad` and stays so;
 * check once at the end.
 *
 *     struct pv_enc e = {.p = buf, .cap = sizeof(buf)};
 *     pv_enc_begin(&e, PV_MSG_READ_FILE);
 *     pv_enc_u32(&e, id);
 *     pv_enc_bytes(&e, path, strlen(path));
 *     n = pv_enc_end(&e);                    // frame length, or 0 when it did not fit
 *
 *     struct pv_dec d = {.p = payload, .n = length};
 *     id = pv_dec_u32(&d);
 *     data = pv_dec_bytes(&d, &len);         // points into the payload
 *     if (!pv_dec_done(&d)) ...              // short, or bytes left over
 */
#ifndef PV_WIRE_CODEC_H
#define PV_WIRE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_enc {
    uint8_t *p;
    size_t cap, len;
    bool bad;
};

void pv_enc_begin(struct pv_enc *e, unsigned type); /* len is set to the header's size */
void pv_enc_u32(struct pv_enc *e, uint32_t v);
void pv_enc_u64(struct pv_enc *e, uint64_t v);
void pv_enc_bytes(struct pv_enc *e, const void *data, size_t n);
/* Completes the header; returns the length of the frame, or 0 if it did not fit or exceeds PV_FRAME_MAX. */
size_t pv_enc_end(struct pv_enc *e);

struct pv_dec {
    const uint8_t *p;
    size_t n; /* bytes left */
    bool bad;
};

uint32_t pv_dec_u32(struct pv_dec *d); /* 0 when bad */
uint64_t pv_dec_u64(struct pv_dec *d);
/* Borrowed pointer into the payload, *n its length; "" and 0 when bad. */
const void *pv_dec_bytes(struct pv_dec *d, size_t *n);
/* Copies a `str` to dst, NUL-terminated; bad when it holds a NUL byte or has cap bytes or more. */
void pv_dec_str(struct pv_dec *d, char *dst, size_t cap);
/* True when the whole payload was decoded and none of it was bad. */
bool pv_dec_done(const struct pv_dec *d);

/* Decodes the header of a frame: false when the length exceeds PV_FRAME_MAX or the type is unknown. */
bool pv_frame_header(const uint8_t header[static 5], unsigned *type, uint32_t *length);
void pv_frame_put_header(uint8_t header[static 5], unsigned type, uint32_t length);

#endif
