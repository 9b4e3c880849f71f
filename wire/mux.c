/* SPDX-License-Identifier: MIT */
#include "wire/mux.h"

#include <stddef.h>

static const struct {
    const char *name;
    unsigned type;
    uint32_t min, max;
} packets[] = {
#define PV_MUX_ROW(name, number, min, max) {#name, (number), (min), (max)},
    PV_MUX_PACKETS(PV_MUX_ROW)
#undef PV_MUX_ROW
};

const char *pv_mux_name(unsigned type)
{
    for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++)
        if (packets[i].type == type)
            return packets[i].name;
    return NULL;
}

uint32_t pv_mux_u32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void pv_mux_put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* Packets that concern the stream, not a channel. */
static bool is_stream_type(unsigned type)
{
    return type == PV_MUX_HELLO || type == PV_MUX_QUIESCE || type == PV_MUX_QUIESCED || type == PV_MUX_WAKE;
}

const char *pv_mux_header(const uint8_t bytes[static PV_MUX_HEADER], struct pv_mux_header *h)
{
    *h = (struct pv_mux_header){
        .type = bytes[0], .channel = (uint16_t)(bytes[2] | bytes[3] << 8), .length = pv_mux_u32(bytes + 4)};
    for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
        if (packets[i].type != h->type)
            continue;
        if (bytes[1])
            return "a header whose second byte is not 0";
        if (h->length < packets[i].min || h->length > packets[i].max)
            return "a packet whose length does not fit its type";
        if (is_stream_type(h->type) != (h->channel == 0) || h->channel > PV_MUX_CHANNELS)
            return "a packet whose channel does not fit its type";
        return NULL;
    }
    return "a packet of unknown type";
}

void pv_mux_put_header(uint8_t bytes[static PV_MUX_HEADER], unsigned type, uint16_t channel, uint32_t length)
{
    bytes[0] = (uint8_t)type;
    bytes[1] = 0;
    bytes[2] = (uint8_t)channel;
    bytes[3] = (uint8_t)(channel >> 8);
    pv_mux_put_u32(bytes + 4, length);
}
