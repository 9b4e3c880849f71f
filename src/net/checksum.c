/* SPDX-License-Identifier: MIT */
#include "net/checksum.h"

uint32_t pv_sum_add(uint32_t sum, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)p[i] << 8 | p[i + 1];
    if (n % 2)
        sum += (uint32_t)p[n - 1] << 8;
    return (sum & 0xffff) + (sum >> 16);
}

uint16_t pv_sum_end(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

uint16_t pv_sum_message(const uint8_t *from, const uint8_t *to, size_t n_addr, uint8_t protocol,
                        const void *message, size_t n)
{
    uint32_t sum = pv_sum_add(pv_sum_add(0, from, n_addr), to, n_addr);
    return pv_sum_end(pv_sum_add(sum + protocol + (uint32_t)n, message, n));
}
