/* SPDX-License-Identifier: MIT */
#include "net/answer.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <stdbool.h>
#include <string.h>

#include "net/checksum.h"

/* Offsets: the headers follow each other without padding, and a frame's bytes may be unaligned. */
enum {
    ETH = 14,
    ARP_SIZE = 28,
    IP4 = ETH,
    ICMP4 = ETH + 20,
    IP6 = ETH,
    ICMP6 = ETH + 40,
    NS_SIZE = 24,
    NA_SIZE = 32
};

struct pv_ip pv_ip_link_local(const uint8_t mac[static 6])
{
    const struct pv_ip ip = {
        .n = 16,
        .addr = {0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]},
    };
    return ip;
}

static uint16_t read_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void write_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static bool is_mine(const struct pv_answerer *a, const uint8_t *addr, unsigned n)
{
    return (a->ip.n == n && memcmp(a->ip.addr, addr, n) == 0) ||
           (a->local.n == n && memcmp(a->local.addr, addr, n) == 0);
}

static void reply_ethernet(const struct pv_answerer *a, const uint8_t *frame, uint8_t *reply)
{
    memcpy(reply, frame + 6, 6);
    memcpy(reply + 6, a->mac, 6);
    memcpy(reply + 12, frame + 12, 2);
}

/* Of Ethernet and IPv4; the operation is behind it. */
static const uint8_t arp_head[] = {0, ARPHRD_ETHER, ETHERTYPE_IP >> 8, ETHERTYPE_IP & 0xff, 6, 4, 0};

static size_t announce_arp(const struct pv_answerer *a, uint8_t *frame)
{
    uint8_t *arp = frame + ETH;
    memset(frame, 0xff, 6);
    memcpy(frame + 6, a->mac, 6);
    write_u16(frame + 12, ETHERTYPE_ARP);
    memcpy(arp, arp_head, sizeof arp_head);
    arp[7] = ARPOP_REQUEST;
    memcpy(arp + 8, a->mac, 6);
    memcpy(arp + 14, a->ip.addr, 4);
    memset(arp + 18, 0, 6);
    memcpy(arp + 24, a->ip.addr, 4);
    return ETH + ARP_SIZE;
}

static size_t answer_arp(const struct pv_answerer *a, const uint8_t *frame, size_t n, uint8_t *reply)
{
    const uint8_t *arp = frame + ETH;
    if (n < ETH + ARP_SIZE || memcmp(arp, arp_head, sizeof arp_head) != 0 || arp[7] != ARPOP_REQUEST ||
        !is_mine(a, arp + 24, 4))
        return 0;
    uint8_t *to = reply + ETH;
    memcpy(to, arp_head, sizeof arp_head);
    to[7] = ARPOP_REPLY;
    memcpy(to + 8, a->mac, 6);
    memcpy(to + 14, arp + 24, 4);
    memcpy(to + 18, arp + 8, 10); /* the sender's addresses */
    reply_ethernet(a, frame, reply);
    memcpy(reply, arp + 8, 6);
    return ETH + ARP_SIZE;
}

static size_t answer_ip4(const struct pv_answerer *a, const uint8_t *frame, size_t n, uint8_t *reply,
                         size_t max)
{
    const uint8_t *ip = frame + IP4;
    if (n < ICMP4 + 8 || ip[0] != 0x45 || ip[9] != IPPROTO_ICMP || read_u16(ip + 6) & (IP_MF | IP_OFFMASK) ||
        frame[ICMP4] != ICMP_ECHO || !is_mine(a, ip + 16, 4) || pv_sum_end(pv_sum_add(0, ip, 20)) != 0)
        return 0;
    size_t size = ETH + (size_t)read_u16(ip + 2);
    if (size > n || size < ICMP4 + 8 || size > max ||
        pv_sum_end(pv_sum_add(0, frame + ICMP4, size - ICMP4)) != 0)
        return 0;
    memcpy(reply, frame, size);
    reply_ethernet(a, frame, reply);
    memcpy(reply + IP4 + 12, ip + 16, 4);
    memcpy(reply + IP4 + 16, ip + 12, 4);
    reply[IP4 + 8] = IPDEFTTL;
    write_u16(reply + IP4 + 10, 0);
    write_u16(reply + IP4 + 10, pv_sum_end(pv_sum_add(0, reply + IP4, 20)));
    reply[ICMP4] = ICMP_ECHOREPLY;
    write_u16(reply + ICMP4 + 2, 0);
    write_u16(reply + ICMP4 + 2, pv_sum_end(pv_sum_add(0, reply + ICMP4, size - ICMP4)));
    return size;
}

/* The headers of a reply whose ICMPv6 message of `size` bytes is there but for its checksum. */
static size_t reply_ip6(const struct pv_answerer *a, const uint8_t *frame, const uint8_t *from,
                        const uint8_t *to, size_t size, uint8_t *reply)
{
    uint8_t *ip = reply + IP6;
    reply_ethernet(a, frame, reply);
    memset(ip, 0, 40);
    ip[0] = 0x60;
    write_u16(ip + 4, (uint16_t)size);
    ip[6] = IPPROTO_ICMPV6;
    ip[7] = 255; /* RFC 4861, 7.1.2 wants it of an advertisement */
    memmove(ip + 8, from, 16);
    memmove(ip + 24, to, 16);
    write_u16(reply + ICMP6 + 2, 0);
    write_u16(reply + ICMP6 + 2, pv_sum_message(ip + 8, ip + 24, 16, IPPROTO_ICMPV6, reply + ICMP6, size));
    return ICMP6 + size;
}

static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};

/* A neighbour advertisement with the flags of RFC 4861, 4.4. */
static void advertisement_make(const struct pv_answerer *a, const uint8_t *target, uint8_t flags, uint8_t *na)
{
    memset(na, 0, NA_SIZE);
    na[0] = ND_NEIGHBOR_ADVERT;
    na[4] = flags;
    memcpy(na + 8, target, 16);
    na[24] = ND_OPT_TARGET_LINKADDR;
    na[25] = 1; /* of 8 bytes */
    memcpy(na + 26, a->mac, 6);
}

static size_t announce_advertisement(const struct pv_answerer *a, uint8_t *frame)
{
    /* as if all nodes had asked */
    static const uint8_t asked[ETH] = {[6] = 0x33,           0x33, 0, 0, 0, 1, ETHERTYPE_IPV6 >> 8,
                                       ETHERTYPE_IPV6 & 0xff};
    advertisement_make(a, a->ip.addr, 0x20, frame + ICMP6); /* override */
    return reply_ip6(a, asked, a->ip.addr, all_nodes, NA_SIZE, frame);
}

size_t pv_announce(const struct pv_answerer *a, uint8_t *frame)
{
    switch (a->ip.n) {
    case 4:
        return announce_arp(a, frame);
    case 16:
        return announce_advertisement(a, frame);
    default:
        return 0;
    }
}

static size_t answer_solicitation(const struct pv_answerer *a, const uint8_t *frame, size_t size,
                                  uint8_t *reply)
{
    static const uint8_t unspecified[16];
    const uint8_t *target = frame + ICMP6 + 8, *from = frame + IP6 + 8;
    bool has_source = memcmp(from, unspecified, 16) != 0;
    if (size < NS_SIZE || !is_mine(a, target, 16))
        return 0;
    advertisement_make(a, target, has_source ? 0x60 : 0x20, reply + ICMP6); /* solicited, override */
    return reply_ip6(a, frame, target, has_source ? from : all_nodes, NA_SIZE, reply);
}

static size_t answer_ip6(const struct pv_answerer *a, const uint8_t *frame, size_t n, uint8_t *reply,
                         size_t max)
{
    const uint8_t *ip = frame + IP6, *icmp = frame + ICMP6;
    if (n < ICMP6 + 8 || ip[0] >> 4 != 6 || ip[6] != IPPROTO_ICMPV6)
        return 0;
    size_t size = read_u16(ip + 4);
    if (size < 8 || ICMP6 + size > n || ICMP6 + size > max ||
        pv_sum_message(ip + 8, ip + 24, 16, IPPROTO_ICMPV6, icmp, size) != 0)
        return 0;
    if (icmp[0] == ND_NEIGHBOR_SOLICIT && ip[7] == 255)
        return answer_solicitation(a, frame, size, reply);
    if (icmp[0] != ICMP6_ECHO_REQUEST || !is_mine(a, ip + 24, 16))
        return 0;
    memcpy(reply + ICMP6, icmp, size);
    reply[ICMP6] = ICMP6_ECHO_REPLY;
    return reply_ip6(a, frame, ip + 24, ip + 8, size, reply);
}

size_t pv_answer(const struct pv_answerer *a, const uint8_t *frame, size_t n, uint8_t *reply, size_t max)
{
    if (n < ETH + 8 || max < ICMP6 + NA_SIZE || !(frame[0] & 1 || memcmp(frame, a->mac, 6) == 0))
        return 0;
    switch (read_u16(frame + 12)) {
    case ETHERTYPE_ARP:
        return answer_arp(a, frame, n, reply);
    case ETHERTYPE_IP:
        return answer_ip4(a, frame, n, reply, max);
    case ETHERTYPE_IPV6:
        return answer_ip6(a, frame, n, reply, max);
    default:
        return 0;
    }
}
