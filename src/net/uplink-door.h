/* SPDX-License-Identifier: MIT */
/* Which frames of guests libslirp gets.  Pure. */
#ifndef PV_NET_UPLINK_DOOR_H
#define PV_NET_UPLINK_DOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uplink_door {
    uint32_t subnet, mask, gateway, nameserver; /* host order */
};

enum uplink_frame {
    UPLINK_REFUSED,
    UPLINK_PASSES,
    UPLINK_OPENS, /* may make libslirp open a socket */
};

/*
 * Judges a frame of *n bytes, and leaves its padding out of *n.  Admitted are whole ARP packets for IPv4, and well-formed
 * IPv4 packets with TCP, UDP or ICMP to the gateway, the nameserver, the DHCP server's broadcast, and addresses outside of
 * the subnet that a router may forward to: none of 0/8, 127/8, 169.254/16 and from 224/3 on.  Fragments are refused:
 * malformed ones make libslirp 4.7 write through pointers that it has taken from their bytes.
 */
enum uplink_frame uplink_judge(const struct uplink_door *d, const uint8_t *frame, size_t *n);

#endif
