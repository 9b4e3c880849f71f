/* SPDX-License-Identifier: MIT */
/* Replies of an end of code that has an address: to ARP, ping, and IPv6's neighbour discovery.  Pure functions. */
#ifndef PV_NET_ANSWER_H
#define PV_NET_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "net/address.h"

struct pv_answerer {
    uint8_t mac[6];
    struct pv_ip ip;    /* IPv4 or IPv6 */
    struct pv_ip local; /* IPv6 link-local, see pv_ip_link_local */
};

/* fe80::/64 and the interface identifier of the MAC (RFC 4291, appendix A). */
struct pv_ip pv_ip_link_local(const uint8_t mac[static 6]);
/*
 * The reply to a frame of n bytes, in reply[max]: its size; 0: the frame is none that is replied to.  Replies to ARP
 * requests (RFC 826), echo requests (RFC 792, RFC 4443) and neighbour solicitations (RFC 4861) for one of the
 * addresses in a frame to its MAC or to a group; not to fragments.
 */
size_t pv_answer(const struct pv_answerer *a, const uint8_t *frame, size_t n, uint8_t *reply, size_t max);

/*
 * The frame with which an end with an address announces itself (RFC 5227, 3; RFC 4861, 7.2.6), so that others forget an
 * earlier end's MAC: its size, 0 without an address.  frame: PV_ANNOUNCE_MAX bytes.
 */
enum { PV_ANNOUNCE_MAX = 86 };
size_t pv_announce(const struct pv_answerer *a, uint8_t *frame);

#endif
