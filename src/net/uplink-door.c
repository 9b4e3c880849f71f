/* SPDX-License-Identifier: MIT */
#include "net/uplink-door.h"

#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

enum { ETHER = 14, ARP = 28, HEAD = 20, TCP = 20, UDP = 8, ICMP = 8, DHCP_SERVER = 67 };

static unsigned be16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static bool arp_is_whole(const uint8_t *arp, size_t n)
{
    static const uint8_t head[] = {0, 1, 8, 0, 6, 4}; /* Ethernet, IPv4, sizes of their addresses */

    return n >= ARP && memcmp(arp, head, sizeof(head)) == 0;
}

/* Whether the addresses are ones that a router forwards to (RFC 1122, 3.2.1.3; RFC 3927, 7). */
static bool address_is_routed(uint32_t to)
{
    return to >> 24 != 0 && to >> 24 != IN_LOOPBACKNET && to >> 16 != 0xa9fe && to >> 29 != 7;
}

static bool target_is_open(const struct uplink_door *d, const uint8_t *ip, size_t head, size_t size)
{
    uint32_t to = be32(ip + 16);

    if (to == d->gateway || to == d->nameserver)
        return true;
    if (to == INADDR_BROADCAST)
        return ip[9] == IPPROTO_UDP && size >= head + UDP && be16(ip + head + 2) == DHCP_SERVER;
    return (to & d->mask) != d->subnet && address_is_routed(to);
}

/* p: the transport's header; n: bytes from there to the packet's end. */
static enum uplink_frame transport_judge(unsigned protocol, const uint8_t *p, size_t n)
{
    size_t head;

    switch (protocol) {
    case IPPROTO_TCP:
        head = n >= TCP ? (size_t)(p[12] >> 4) * 4 : 0;
        if (head < TCP || head > n)
            return UPLINK_REFUSED;
        return (p[13] & (TH_SYN | TH_ACK)) == TH_SYN ? UPLINK_OPENS : UPLINK_PASSES;
    case IPPROTO_UDP:
        return n >= UDP && be16(p + 4) >= UDP && be16(p + 4) <= n ? UPLINK_OPENS : UPLINK_REFUSED;
    case IPPROTO_ICMP:
        return n >= ICMP ? UPLINK_OPENS : UPLINK_REFUSED;
    default:
        return UPLINK_REFUSED;
    }
}

enum uplink_frame uplink_judge(const struct uplink_door *d, const uint8_t *frame, size_t *n)
{
    const uint8_t *ip = frame + ETHER;
    size_t head, size;

    if (*n >= ETHER && be16(frame + 12) == ETHERTYPE_ARP)
        return arp_is_whole(ip, *n - ETHER) ? UPLINK_PASSES : UPLINK_REFUSED;
    if (*n < ETHER + HEAD || be16(frame + 12) != ETHERTYPE_IP || ip[0] >> 4 != 4)
        return UPLINK_REFUSED;
    head = (size_t)(ip[0] & 15) * 4;
    size = be16(ip + 2);
    if (head < HEAD || size < head || ETHER + size > *n ||
        be16(ip + 6) & 0x3fff || /* an offset, or more fragments */
        !target_is_open(d, ip, head, size))
        return UPLINK_REFUSED;
    *n = ETHER + size;
    return transport_judge(ip[9], ip + head, size - head);
}
