/* SPDX-License-Identifier: MIT */
/* ICMP errors (RFC 792, RFC 4443) of a router, to the MAC that the packet came from. */
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "net/checksum.h"
#include "net/network.h"
#include "net/router-internal.h"

enum { QUOTED4 = 548, QUOTED6 = 1232, HEAD4 = 20, HEAD6 = 40, ICMP = 8, TTL = 64 };

static void write_u16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void error_send(struct router_if *in, const uint8_t *frame, unsigned type, uint8_t *error, size_t n)
{
    memcpy(error, frame + 6, 6);
    memcpy(error + 6, in->to.mac, 6);
    write_u16(error + 12, type);
    pv_net_send(in->end, error, n);
}

/* An error never causes another one (RFC 1122, 3.2.2; RFC 4443, 2.4). */
static bool may_tell4(const uint8_t *ip)
{
    size_t head = (size_t)(ip[0] & 15) * 4, size = (size_t)ip[2] << 8 | ip[3];
    bool fragment = ((ip[6] << 8 | ip[7]) & IP_OFFMASK) != 0;
    static const uint8_t queries[] = {ICMP_ECHOREPLY, ICMP_ECHO, ICMP_TIMESTAMP, ICMP_TIMESTAMPREPLY};

    if (fragment || ip[12] == 0 || ip[12] == 127 || ip[12] >= 224)
        return false;
    return ip[9] != IPPROTO_ICMP || (size > head && memchr(queries, ip[head], sizeof(queries)));
}

static void tell4(struct router_if *in, unsigned type, unsigned code, unsigned mtu, const uint8_t *frame)
{
    const uint8_t *ip = frame + ROUTER_ETHER;
    uint8_t error[ROUTER_ETHER + HEAD4 + ICMP + QUOTED4] = {0};
    uint8_t *to = error + ROUTER_ETHER, *icmp = to + HEAD4;
    size_t quoted = (size_t)ip[2] << 8 | ip[3];

    if (!may_tell4(ip) || in->to.ip.n != 4)
        return;
    quoted = quoted < QUOTED4 ? quoted : QUOTED4;
    to[0] = 0x45;
    write_u16(to + 2, (unsigned)(HEAD4 + ICMP + quoted));
    to[8] = TTL;
    to[9] = IPPROTO_ICMP;
    memcpy(to + 12, in->to.ip.addr, 4);
    memcpy(to + 16, ip + 12, 4);
    write_u16(to + 10, pv_sum_end(pv_sum_add(0, to, HEAD4)));
    icmp[0] = (uint8_t)type;
    icmp[1] = (uint8_t)code;
    write_u16(icmp + 6, mtu);
    memcpy(icmp + ICMP, ip, quoted);
    write_u16(icmp + 2, pv_sum_end(pv_sum_add(0, icmp, ICMP + quoted)));
    error_send(in, frame, ETHERTYPE_IP, error, ROUTER_ETHER + HEAD4 + ICMP + quoted);
}

static bool may_tell6(const uint8_t *ip, size_t n)
{
    static const uint8_t unspecified[16];

    if (ip[8] == 0xff || memcmp(ip + 8, unspecified, 16) == 0)
        return false;
    return ip[6] != IPPROTO_ICMPV6 || (n > HEAD6 && ip[HEAD6] & ICMP6_INFOMSG_MASK);
}

static void tell6(struct router_if *in, unsigned type, unsigned code, unsigned mtu, const uint8_t *frame,
                  size_t n)
{
    const uint8_t *ip = frame + ROUTER_ETHER;
    uint8_t error[ROUTER_ETHER + HEAD6 + ICMP + QUOTED6] = {0};
    uint8_t *to = error + ROUTER_ETHER, *icmp = to + HEAD6;
    size_t quoted = HEAD6 + ((size_t)ip[4] << 8 | ip[5]);

    if (!may_tell6(ip, n - ROUTER_ETHER))
        return;
    quoted = quoted < QUOTED6 ? quoted : QUOTED6;
    to[0] = 0x60;
    write_u16(to + 4, (unsigned)(ICMP + quoted));
    to[6] = IPPROTO_ICMPV6;
    to[7] = TTL;
    memcpy(to + 8, in->to.ip.n == 16 ? in->to.ip.addr : in->answerer.local.addr, 16);
    memcpy(to + 24, ip + 8, 16);
    icmp[0] = (uint8_t)type;
    icmp[1] = (uint8_t)code;
    write_u16(icmp + 6, mtu);
    memcpy(icmp + ICMP, ip, quoted);
    write_u16(icmp + 2, pv_sum_message(to + 8, to + 24, 16, IPPROTO_ICMPV6, icmp, ICMP + quoted));
    error_send(in, frame, ETHERTYPE_IPV6, error, ROUTER_ETHER + HEAD6 + ICMP + quoted);
}

void router_tell(struct router_if *in, enum router_error error, unsigned mtu, const uint8_t *frame, size_t n)
{
    static const struct {
        uint8_t type4, code4, type6, code6;
    } errors[] = {
        [ROUTER_EXPIRED] = {ICMP_TIME_EXCEEDED, ICMP_EXC_TTL, ICMP6_TIME_EXCEEDED, ICMP6_TIME_EXCEED_TRANSIT},
        [ROUTER_NO_ROUTE] = {ICMP_DEST_UNREACH, ICMP_NET_UNREACH, ICMP6_DST_UNREACH,
                             ICMP6_DST_UNREACH_NOROUTE},
        [ROUTER_NO_HOST] = {ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_ADDR},
        [ROUTER_TOO_BIG] = {ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, ICMP6_PACKET_TOO_BIG, 0},
        [ROUTER_NO_PORT] = {ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, ICMP6_DST_UNREACH,
                            ICMP6_DST_UNREACH_NOPORT},
    };

    if ((frame[12] << 8 | frame[13]) == ETHERTYPE_IP)
        tell4(in, errors[error].type4, errors[error].code4, mtu, frame);
    else
        tell6(in, errors[error].type6, errors[error].code6, mtu, frame, n);
}
