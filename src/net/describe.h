/* SPDX-License-Identifier: MIT */
/* Frames in words, for reports. */
#ifndef PV_NET_DESCRIBE_H
#define PV_NET_DESCRIBE_H

#include <stddef.h>
#include <stdint.h>

struct pv_buf;

/*
 * Adds a line without its newline: addresses, then ARP, ICMP, TCP or UDP in words, such as
 * "10.7.0.1:40000 > 10.7.0.2:80 TCP syn, seq 1, ack 0, window 64240, 0 bytes".  The bytes are a guest's: any are
 * described, no byte of a payload is shown.
 */
void pv_frame_describe(const uint8_t *frame, size_t n, struct pv_buf *out);

#endif
