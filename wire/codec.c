/* SPDX-License-Identifier: MIT */
#include "codec.h"

#include <string.h>

#include "proto.h"

const char *pv_msg_name(unsigned type)
{
    switch (type) {
#define PV_MSG_CASE(name, number) \
    case number: \
        return #name;
        PV_MESSAGES(PV_MSG_CASE)
#undef PV_MSG_CASE
    default:
        return NULL;
    }
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

void pv_frame_put_header(uint8_t header[static 5], unsigned type, uint32_t length)
{
    header[0] = (uint8_t)type;
    put_u32(header + 1, length);
}

bool pv_frame_header(const uint8_t header[static 5], unsigned *type, uint32_t *length)
{
    *type = header[0];
    *length = (uint32_t)header[1] | (uint32_t)header[2] << 8 | (uint32_t)header[3] << 16 |
              (uint32_t)header[4] << 24;
    return *length <= PV_FRAME_MAX && pv_msg_name(*type) != NULL;
}

static void enc_raw(struct pv_enc *e, const void *data, size_t n)
{
    if (e->bad || n > e->cap - e->len) {
        e->bad = true;
        return;
    }
    if (n)
        memcpy(e->p + e->len, data, n);
    e->len += n;
}

void pv_enc_begin(struct pv_enc *e, unsigned type)
{
    uint8_t header[PV_FRAME_HEADER];

    e->len = 0;
    e->bad = false;
    pv_frame_put_header(header, type, 0);
    enc_raw(e, header, sizeof(header));
}

void pv_enc_u32(struct pv_enc *e, uint32_t v)
{
    uint8_t b[4];

    put_u32(b, v);
    enc_raw(e, b, sizeof(b));
}

void pv_enc_u64(struct pv_enc *e, uint64_t v)
{
    pv_enc_u32(e, (uint32_t)v);
    pv_enc_u32(e, (uint32_t)(v >> 32));
}

void pv_enc_bytes(struct pv_enc *e, const void *data, size_t n)
{
    if (n > PV_FRAME_MAX) {
        e->bad = true;
        return;
    }
    pv_enc_u32(e, (uint32_t)n);
    enc_raw(e, data, n);
}

size_t pv_enc_end(struct pv_enc *e)
{
    if (e->bad || e->len - PV_FRAME_HEADER > PV_FRAME_MAX)
        return 0;
    put_u32(e->p + 1, (uint32_t)(e->len - PV_FRAME_HEADER));
    return e->len;
}

static const uint8_t *dec_raw(struct pv_dec *d, size_t n)
{
    const uint8_t *p = d->p;

    if (d->bad || n > d->n) {
        d->bad = true;
        return NULL;
    }
    d->p += n;
    d->n -= n;
    return p;
}

uint32_t pv_dec_u32(struct pv_dec *d)
{
    const uint8_t *p = dec_raw(d, 4);

    if (!p)
        return 0;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t pv_dec_u64(struct pv_dec *d)
{
    uint64_t low = pv_dec_u32(d);

    return low | (uint64_t)pv_dec_u32(d) << 32;
}

const void *pv_dec_bytes(struct pv_dec *d, size_t *n)
{
    uint32_t len = pv_dec_u32(d);
    const uint8_t *p = dec_raw(d, len);

    *n = p ? len : 0;
    return p ? (const void *)p : "";
}

void pv_dec_str(struct pv_dec *d, char *dst, size_t cap)
{
    size_t n;
    const void *p = pv_dec_bytes(d, &n);

    if (d->bad || n >= cap || (n && memchr(p, '\0', n))) {
        d->bad = true;
        n = 0;
    }
    if (n)
        memcpy(dst, p, n);
    dst[n] = '\0';
}

bool pv_dec_done(const struct pv_dec *d)
{
    return !d->bad && d->n == 0;
}
