/* SPDX-License-Identifier: MIT */
#include "net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"
#include "util/mem.h"

struct taken {
    struct taken *next;
    struct pv_ip ip;
    char *owner;
};

struct pv_subnet {
    struct pv_ip base;
    unsigned prefix;
    char text[PV_IP_TEXT + 4];
    uint64_t hosts;       /* numbers 1 to hosts are hosts' */
    uint64_t first, last; /* where the search goes on, upward and downward */
    struct taken *taken;
};

static int ip_family(const struct pv_ip *ip)
{
    return ip->n == 4 ? AF_INET : AF_INET6;
}

int pv_ip_parse(struct pv_ip *ip, const char *text, struct pv_err *err)
{
    *ip = (struct pv_ip){.n = strchr(text, ':') ? 16 : 4};
    if (inet_pton(ip_family(ip), text, ip->addr) != 1)
        return pv_err_set(err, PV_E_USAGE, "'%s' is not an IP address, such as \"10.7.0.9\" or \"fd00::9\"",
                          text);
    return 0;
}

const char *pv_ip_text(const struct pv_ip *ip, char *to)
{
    if (!ip->n || !inet_ntop(ip_family(ip), ip->addr, to, PV_IP_TEXT))
        to[0] = 0;
    return to;
}

int pv_mac_scan(uint8_t mac[static 6], const char *text)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    if (strlen(text) != PV_MAC_TEXT - 1)
        return -1;
    for (unsigned i = 0; i < 6; i++, text += 3) {
        if (strspn(text, digits) != 2 || text[2] != (i < 5 ? ':' : 0))
            return -1;
        mac[i] = (uint8_t)strtoul(text, NULL, 16);
    }
    return 0;
}

int pv_mac_parse(uint8_t mac[static 6], const char *text, struct pv_err *err)
{
    static const uint8_t none[6];
    if (pv_mac_scan(mac, text) < 0)
        return pv_err_set(err, PV_E_USAGE, "'%s' is not a MAC address, such as \"52:54:00:00:00:09\"", text);
    if (mac[0] & 1 || memcmp(mac, none, sizeof none) == 0)
        return pv_err_set(err, PV_E_USAGE, "'%s' is %s, which no NIC has", text,
                          mac[0] & 1 ? "a group address" : "no address");
    return 0;
}

const char *pv_mac_text(const uint8_t mac[static 6], char *to)
{
    snprintf(to, PV_MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
             mac[5]);
    return to;
}

void pv_mac_next(uint8_t mac[static 6])
{
    static uint32_t count; /* the address 52:54:00 is QEMU's own habit for virtual NICs */
    uint32_t n = ++count;
    const uint8_t made[6] = {0x52, 0x54, 0x00, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    memcpy(mac, made, sizeof made);
}

/* The host's number within the subnet: the bits behind the prefix, at most 63 of them. */
static bool host_number(const struct pv_subnet *s, const struct pv_ip *ip, uint64_t *number)
{
    if (ip->n != s->base.n)
        return false;
    *number = 0;
    for (unsigned bit = 0; bit < ip->n * 8; bit++) {
        unsigned b = ip->addr[bit / 8] >> (7 - bit % 8) & 1;
        if (bit < s->prefix && b != (s->base.addr[bit / 8] >> (7 - bit % 8) & 1u))
            return false;
        if (bit >= s->prefix)
            *number = *number << 1 | b;
    }
    return true;
}

bool pv_subnet_has(const struct pv_subnet *s, const struct pv_ip *ip)
{
    uint64_t number;
    return host_number(s, ip, &number) && number >= 1 && number <= s->hosts;
}

static struct pv_ip host_address(const struct pv_subnet *s, uint64_t number)
{
    struct pv_ip ip = s->base;
    for (unsigned i = ip.n; i-- > 0 && number; number >>= 8)
        ip.addr[i] |= (uint8_t)number;
    return ip;
}

bool pv_subnet_overlaps(const struct pv_subnet *a, const struct pv_subnet *b)
{
    unsigned prefix = a->prefix < b->prefix ? a->prefix : b->prefix;
    if (a->base.n != b->base.n)
        return false;
    for (unsigned bit = 0; bit < prefix; bit++)
        if ((a->base.addr[bit / 8] ^ b->base.addr[bit / 8]) >> (7 - bit % 8) & 1)
            return false;
    return true;
}

/* The kind of addresses that the kernel lets no NIC have or others reach; NULL: the subnet has none of them. */
static const char *subnet_reserved(const struct pv_subnet *s)
{
    const uint8_t first = s->base.addr[0], second = s->base.addr[1];
    static const uint8_t loopback[8];
    if (s->base.n == 4)
        return !first         ? "\"this host\""
               : first == 127 ? "loopback"
               : first >= 224 ? "multicast or reserved"
                              : NULL;
    if (first == 0xff)
        return "multicast";
    if (first == 0xfe && (second & 0xc0) == 0x80)
        return "link-local, which each NIC has by itself,";
    return memcmp(s->base.addr, loopback, sizeof loopback) == 0 ? "reserved" : NULL;
}

struct pv_subnet *pv_subnet_new(const char *text, struct pv_err *err)
{
    struct pv_subnet s = {0};
    uint64_t number;
    char *end = (char[]){""}, *copy = pv_xstrdup(text), *slash = strchr(copy, '/');
    if (slash)
        *slash++ = 0;
    unsigned long prefix = slash && *slash >= '0' && *slash <= '9' ? strtoul(slash, &end, 10) : 999;
    bool is_bad = pv_ip_parse(&s.base, copy, NULL) < 0 || *end;
    free(copy);
    if (is_bad || prefix < (s.base.n == 4 ? 1 : 64) || prefix > s.base.n * 8 - 2) {
        pv_err_set(err, PV_E_USAGE,
                   "'%s' is not a subnet such as \"10.7.0.0/24\" (a prefix of 1 to 30) or \"fd00:7::/64\" "
                   "(64 to 126)",
                   text);
        return NULL;
    }
    s.prefix = (unsigned)prefix;
    /* Only the first 2^32 hosts of an IPv6 subnet are given out; host 0 is the network's, or any router's, own. */
    unsigned bits = s.base.n * 8 - s.prefix;
    s.hosts = bits >= 32 ? UINT32_MAX : (UINT64_C(1) << bits) - 2;
    s.first = 1;
    s.last = s.hosts;
    snprintf(s.text, sizeof s.text, "%s", text);
    host_number(&s, &s.base, &number);
    if (number) {
        struct pv_ip network = s.base;
        char is[PV_IP_TEXT];
        for (unsigned bit = s.prefix; bit < network.n * 8; bit++)
            network.addr[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
        pv_err_set(err, PV_E_USAGE, "subnet '%s' has bits behind its prefix; \"%s/%u\" is meant?", text,
                   pv_ip_text(&network, is), s.prefix);
        return NULL;
    }
    const char *kind = subnet_reserved(&s);
    if (kind) {
        pv_err_set(err, PV_E_USAGE,
                   "subnet '%s' has %s addresses; take one such as \"10.7.0.0/24\" or \"fd00:7::/64\"", text,
                   kind);
        return NULL;
    }
    struct pv_subnet *to = pv_xmalloc(sizeof *to);
    *to = s;
    return to;
}

void pv_subnet_free(struct pv_subnet *s)
{
    while (s && s->taken)
        pv_subnet_release(s, &s->taken->ip);
    free(s);
}

unsigned pv_subnet_prefix(const struct pv_subnet *s)
{
    return s->prefix;
}

const char *pv_subnet_text(const struct pv_subnet *s)
{
    return s->text;
}

bool pv_ip_equal(const struct pv_ip *a, const struct pv_ip *b)
{
    return a->n == b->n && memcmp(a->addr, b->addr, a->n) == 0;
}

static struct taken **taken_find(struct pv_subnet *s, const struct pv_ip *ip)
{
    struct taken **at = &s->taken;
    while (*at && memcmp((*at)->ip.addr, ip->addr, ip->n) != 0)
        at = &(*at)->next;
    return at;
}

int pv_subnet_next(struct pv_subnet *s, bool last, const char *owner, struct pv_ip *ip, struct pv_err *err)
{
    uint64_t *at = last ? &s->last : &s->first;
    for (; *at >= 1 && *at <= s->hosts; *at += last ? UINT64_MAX : 1) {
        *ip = host_address(s, *at);
        if (!*taken_find(s, ip))
            return pv_subnet_take(s, ip, owner, err);
    }
    return pv_err_set(err, PV_E_USAGE, "subnet %s has no free address", s->text);
}

int pv_subnet_take(struct pv_subnet *s, const struct pv_ip *ip, const char *owner, struct pv_err *err)
{
    char is[PV_IP_TEXT];
    uint64_t number;
    pv_ip_text(ip, is);
    if (!host_number(s, ip, &number))
        return pv_err_set(err, PV_E_USAGE, "address %s is outside of subnet %s", is, s->text);
    if (!number)
        return pv_err_set(err, PV_E_USAGE, "address %s is the address of subnet %s itself", is, s->text);
    if (s->base.n == 4 && number == s->hosts + 1)
        return pv_err_set(err, PV_E_USAGE, "address %s is the broadcast address of subnet %s", is, s->text);
    struct taken **at = taken_find(s, ip);
    if (*at)
        return pv_err_set(err, PV_E_USAGE, "address %s of subnet %s is taken by '%s'", is, s->text,
                          (*at)->owner);
    *at = pv_xcalloc(1, sizeof **at);
    (*at)->ip = *ip;
    (*at)->owner = pv_xstrdup(owner);
    return 0;
}

unsigned pv_subnet_range(struct pv_subnet *s, unsigned most, const char *owner, struct pv_ip *first)
{
    unsigned n = 0;
    if (most > s->hosts / 4)
        most = (unsigned)(s->hosts / 4);
    for (uint64_t number = s->hosts; number >= 1 && n < most; number--) {
        *first = host_address(s, number);
        n = *taken_find(s, first) ? 0 : n + 1;
    }
    if (!n || n < most)
        return 0;
    uint64_t number = 0;
    host_number(s, first, &number);
    for (unsigned i = 0; i < n; i++) {
        struct pv_ip ip = host_address(s, number + i);
        pv_subnet_take(s, &ip, owner, NULL);
    }
    return n;
}

void pv_subnet_release(struct pv_subnet *s, const struct pv_ip *ip)
{
    struct taken **at = taken_find(s, ip);
    struct taken *t = *at;
    if (!t)
        return;
    uint64_t number;
    host_number(s, ip, &number);
    if (number < s->first)
        s->first = number;
    if (number > s->last && number <= s->hosts)
        s->last = number;
    *at = t->next;
    free(t->owner);
    free(t);
}

void pv_subnet_release_range(struct pv_subnet *s, const struct pv_ip *first, unsigned n)
{
    uint64_t number = 0;

    if (n)
        host_number(s, first, &number);
    for (unsigned i = 0; i < n; i++) {
        struct pv_ip ip = host_address(s, number + i);
        pv_subnet_release(s, &ip);
    }
}
