/* SPDX-License-Identifier: MIT */
/* The Internet checksum (RFC 1071) and where headers have it. */
#ifndef PV_NET_CHECKSUM_H
#define PV_NET_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Adds n bytes to a sum that begins with 0; an odd count is as if a zero byte followed, so only the last may be odd. */
uint32_t pv_sum_add(uint32_t sum, const void *data, size_t n);
/* The checksum, to be stored in network order. */
uint16_t pv_sum_end(uint32_t sum);
/*
 * Of a TCP, UDP or ICMPv6 message of n bytes with the pseudo-header of RFC 9293 or RFC 8200, 8.1; addresses of
 * n_addr bytes, 4 or 16.
 */
uint16_t pv_sum_message(const uint8_t *from, const uint8_t *to, size_t n_addr, uint8_t protocol,
                        const void *message, size_t n);

#endif
