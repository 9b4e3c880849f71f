/* SPDX-License-Identifier: MIT */
/* A slice of the frame gets shorter with each header; each reader looks at the slice's length first. */
#include "net/describe.h"

#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "net/address.h"
#include "util/mem.h"

enum { VLAN_TAG = 4, EXTENSIONS_MAX = 8, ICMP_HEAD = 8, UDP_HEAD = 8, TCP_HEAD = 20, ARP_SIZE = 28 };

struct slice {
    const uint8_t *p;
    size_t n;
};

struct word {
    unsigned value;
    const char *text;
};

static unsigned slice_u16(const struct slice *s, size_t at)
{
    return (unsigned)s->p[at] << 8 | s->p[at + 1];
}

static unsigned long slice_u32(const struct slice *s, size_t at)
{
    return (unsigned long)slice_u16(s, at) << 16 | slice_u16(s, at + 2);
}

static void slice_skip(struct slice *s, size_t n)
{
    n = n < s->n ? n : s->n;
    s->p += n;
    s->n -= n;
}

static void add_word(struct pv_buf *out, const struct word *words, unsigned value, const char *other)
{
    while (words->text && words->value != value)
        words++;
    if (words->text)
        pv_buf_adds(out, words->text);
    else
        pv_buf_addf(out, "%s %u", other, value);
}

static void add_ip(struct pv_buf *out, const uint8_t *addr, unsigned n)
{
    struct pv_ip ip = {.n = n};
    char text[PV_IP_TEXT];

    memcpy(ip.addr, addr, n);
    pv_buf_adds(out, pv_ip_text(&ip, text));
}

static void add_mac(struct pv_buf *out, const uint8_t *mac)
{
    char text[PV_MAC_TEXT];

    pv_buf_adds(out, pv_mac_text(mac, text));
}

/* ---- above IP ---- */

struct addresses {
    const uint8_t *from, *to;
    unsigned n;
};

static void add_addresses(struct pv_buf *out, const struct addresses *a)
{
    add_ip(out, a->from, a->n);
    pv_buf_adds(out, " > ");
    add_ip(out, a->to, a->n);
}

static void add_ports(struct pv_buf *out, const struct addresses *a, const struct slice *s)
{
    static const char *const open = "[", *const shut = "]";

    pv_buf_adds(out, a->n == 16 ? open : "");
    add_ip(out, a->from, a->n);
    pv_buf_addf(out, "%s:%u > %s", a->n == 16 ? shut : "", slice_u16(s, 0), a->n == 16 ? open : "");
    add_ip(out, a->to, a->n);
    pv_buf_addf(out, "%s:%u", a->n == 16 ? shut : "", slice_u16(s, 2));
}

static void describe_tcp(struct pv_buf *out, const struct addresses *a, struct slice s)
{
    static const char *const flags[] = {"fin", "syn", "rst", "psh", "ack", "urg"};
    size_t head = (size_t)(s.p[12] >> 4) * 4;

    add_ports(out, a, &s);
    pv_buf_adds(out, " TCP");
    for (size_t i = 0; i < PV_ARRAY_LEN(flags); i++)
        if (s.p[13] & 1u << i)
            pv_buf_addf(out, " %s", flags[i]);
    pv_buf_addf(out, ", seq %lu, ack %lu, window %u, %zu bytes", slice_u32(&s, 4), slice_u32(&s, 8),
                slice_u16(&s, 14), s.n > head ? s.n - head : 0);
}

static void describe_udp(struct pv_buf *out, const struct addresses *a, struct slice s)
{
    add_ports(out, a, &s);
    pv_buf_addf(out, " UDP, %zu bytes", s.n - UDP_HEAD);
}

static void describe_icmp4(struct pv_buf *out, const struct addresses *a, struct slice s)
{
    static const struct word types[] = {{ICMP_ECHOREPLY, "echo reply"},
                                        {ICMP_DEST_UNREACH, "destination unreachable"},
                                        {ICMP_REDIRECT, "redirect"},
                                        {ICMP_ECHO, "echo request"},
                                        {ICMP_TIME_EXCEEDED, "time exceeded"},
                                        {ICMP_PARAMETERPROB, "parameter problem"},
                                        {0, NULL}};

    add_addresses(out, a);
    pv_buf_adds(out, " ICMP ");
    add_word(out, types, s.p[0], "type");
    if (s.p[0] == ICMP_ECHO || s.p[0] == ICMP_ECHOREPLY)
        pv_buf_addf(out, ", id %u, seq %u, %zu bytes", slice_u16(&s, 4), slice_u16(&s, 6), s.n);
    else
        pv_buf_addf(out, ", code %u", s.p[1]);
}

static void describe_icmp6(struct pv_buf *out, const struct addresses *a, struct slice s)
{
    static const struct word types[] = {{ICMP6_DST_UNREACH, "destination unreachable"},
                                        {ICMP6_PACKET_TOO_BIG, "packet too big"},
                                        {ICMP6_TIME_EXCEEDED, "time exceeded"},
                                        {ICMP6_PARAM_PROB, "parameter problem"},
                                        {ICMP6_ECHO_REQUEST, "echo request"},
                                        {ICMP6_ECHO_REPLY, "echo reply"},
                                        {ND_ROUTER_SOLICIT, "router solicitation"},
                                        {ND_ROUTER_ADVERT, "router advertisement"},
                                        {ND_NEIGHBOR_SOLICIT, "neighbour solicitation"},
                                        {ND_NEIGHBOR_ADVERT, "neighbour advertisement"},
                                        {143, "multicast listener report"},
                                        {0, NULL}};

    add_addresses(out, a);
    pv_buf_adds(out, " ICMPv6 ");
    add_word(out, types, s.p[0], "type");
    if ((s.p[0] == ND_NEIGHBOR_SOLICIT || s.p[0] == ND_NEIGHBOR_ADVERT) && s.n >= 24) {
        pv_buf_adds(out, " of ");
        add_ip(out, s.p + 8, 16);
    } else if (s.p[0] == ICMP6_ECHO_REQUEST || s.p[0] == ICMP6_ECHO_REPLY) {
        pv_buf_addf(out, ", id %u, seq %u, %zu bytes", slice_u16(&s, 4), slice_u16(&s, 6), s.n);
    }
}

static void describe_message(struct pv_buf *out, const struct addresses *a, unsigned protocol, struct slice s)
{
    static const struct {
        unsigned protocol;
        size_t min;
        void (*describe)(struct pv_buf *out, const struct addresses *a, struct slice s);
    } protocols[] = {{IPPROTO_TCP, TCP_HEAD, describe_tcp},
                     {IPPROTO_UDP, UDP_HEAD, describe_udp},
                     {IPPROTO_ICMP, ICMP_HEAD, describe_icmp4},
                     {IPPROTO_ICMPV6, ICMP_HEAD, describe_icmp6}};

    for (size_t i = 0; i < PV_ARRAY_LEN(protocols); i++)
        if (protocols[i].protocol == protocol && s.n >= protocols[i].min) {
            protocols[i].describe(out, a, s);
            return;
        }
    add_addresses(out, a);
    pv_buf_addf(out, " IP protocol %u, %zu bytes", protocol, s.n);
}

/* ---- IP and ARP ---- */

static bool describe_ip4(struct pv_buf *out, struct slice s)
{
    struct addresses a = {s.p + 12, s.p + 16, 4};
    size_t head, size;
    unsigned protocol, fragment;

    if (s.n < 20 || s.p[0] >> 4 != 4)
        return false;
    head = (size_t)(s.p[0] & 15) * 4;
    size = slice_u16(&s, 2);
    protocol = s.p[9];
    fragment = slice_u16(&s, 6) & IP_OFFMASK;
    if (head < 20 || size < head || size > s.n)
        return false;
    s.n = size;
    slice_skip(&s, head);
    if (!fragment) {
        describe_message(out, &a, protocol, s);
        return true;
    }
    add_addresses(out, &a);
    pv_buf_addf(out, " IP fragment at %u, %zu bytes", fragment * 8, s.n);
    return true;
}

static bool describe_ip6(struct pv_buf *out, struct slice s)
{
    struct addresses a = {s.p + 8, s.p + 24, 16};
    unsigned next;
    size_t size;

    if (s.n < 40 || s.p[0] >> 4 != 6)
        return false;
    next = s.p[6];
    size = slice_u16(&s, 4);
    slice_skip(&s, 40);
    if (size > s.n)
        return false;
    s.n = size;
    for (unsigned i = 0; i < EXTENSIONS_MAX && s.n >= 8; i++) {
        if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS)
            break;
        next = s.p[0];
        slice_skip(&s, ((size_t)s.p[1] + 1) * 8);
    }
    describe_message(out, &a, next, s);
    return true;
}

static bool describe_arp(struct pv_buf *out, struct slice s)
{
    static const uint8_t ethernet_ip4[] = {0, 1, 8, 0, 6, 4};

    if (s.n < ARP_SIZE || memcmp(s.p, ethernet_ip4, sizeof(ethernet_ip4)) != 0)
        return false;
    if (slice_u16(&s, 6) == 1) {
        pv_buf_adds(out, "ARP who has ");
        add_ip(out, s.p + 24, 4);
        pv_buf_adds(out, ", tell ");
        add_ip(out, s.p + 14, 4);
    } else {
        pv_buf_adds(out, "ARP ");
        add_ip(out, s.p + 14, 4);
        pv_buf_adds(out, " is at ");
        add_mac(out, s.p + 8);
    }
    return true;
}

void pv_frame_describe(const uint8_t *frame, size_t n, struct pv_buf *out)
{
    struct slice s = {frame, n};
    bool known = false;
    unsigned type;

    if (n < 14) {
        pv_buf_addf(out, "%zu bytes, no Ethernet header", n);
        return;
    }
    type = slice_u16(&s, 12);
    slice_skip(&s, 14);
    if (type == ETHERTYPE_VLAN && s.n >= VLAN_TAG) {
        pv_buf_addf(out, "VLAN %u ", slice_u16(&s, 0) & 0xfff);
        type = slice_u16(&s, 2);
        slice_skip(&s, VLAN_TAG);
    }
    if (type == ETHERTYPE_IP)
        known = describe_ip4(out, s);
    else if (type == ETHERTYPE_IPV6)
        known = describe_ip6(out, s);
    else if (type == ETHERTYPE_ARP)
        known = describe_arp(out, s);
    if (known)
        return;
    add_mac(out, frame + 6);
    pv_buf_adds(out, " > ");
    add_mac(out, frame);
    pv_buf_addf(out, " type 0x%04x, %zu bytes", type, s.n);
}
