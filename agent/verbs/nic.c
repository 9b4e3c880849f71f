/* SPDX-License-Identifier: MIT */
/* NIC: finds a network interface by its MAC address and gives it all that a network needs, over rtnetlink. */
#include "agent/verb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_MAX = 512, REPLY_MAX = 32768, LIST_MAX = 64, NEIGHBOUR_ROUNDS = 64, ROUTE_METRIC = 1 };

struct nic_request {
    uint8_t mac[ETH_ALEN], to[ETH_ALEN];
    char name[IFNAMSIZ];
    uint32_t mtu, up, prefix;
    uint8_t ip[16], gateway[16];
    size_t n_ip, n_gateway; /* 0: none; else 4 or 16 */
};

/* ---- rtnetlink ---- */

struct nl_request {
    struct nlmsghdr h;
    uint8_t body[REQUEST_MAX];
};

static void *nl_begin(struct nl_request *r, int type, int flags, size_t n)
{
    memset(r, 0, sizeof(*r));
    r->h.nlmsg_len = (uint32_t)NLMSG_LENGTH(n);
    r->h.nlmsg_type = (uint16_t)type;
    r->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    return NLMSG_DATA(&r->h);
}

static void nl_add(struct nl_request *r, int type, const void *data, size_t n)
{
    struct rtattr *a = (struct rtattr *)(void *)((uint8_t *)r + NLMSG_ALIGN(r->h.nlmsg_len));

    a->rta_type = (uint16_t)type;
    a->rta_len = (uint16_t)RTA_LENGTH(n);
    memcpy(RTA_DATA(a), data, n);
    r->h.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->h.nlmsg_len) + RTA_ALIGN(a->rta_len));
}

static int nl_send(int fd, struct nl_request *r)
{
    return send(fd, r, r->h.nlmsg_len, 0) < 0 ? -1 : 0;
}

/* Sends a request and waits for its acknowledgement; -1 with errno. */
static int nl_do(int fd, struct nl_request *r)
{
    struct {
        struct nlmsghdr h;
        struct nlmsgerr e;
        uint8_t rest[REQUEST_MAX];
    } reply;

    r->h.nlmsg_flags |= NLM_F_ACK;
    if (nl_send(fd, r) < 0)
        return -1;
    do {
        if (recv(fd, &reply, sizeof(reply), 0) < 0)
            return -1;
    } while (reply.h.nlmsg_type != NLMSG_ERROR);
    errno = -reply.e.error;
    return reply.e.error ? -1 : 0;
}

/* Asks for a list and calls fn with each message until that returns non-zero. */
static int nl_each(int fd, struct nl_request *r, void (*fn)(const struct nlmsghdr *h, void *arg), void *arg)
{
    static uint8_t buf[REPLY_MAX] __attribute__((aligned(8)));

    r->h.nlmsg_flags |= NLM_F_DUMP;
    if (nl_send(fd, r) < 0)
        return -1;
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof(buf), 0);

        if (n <= 0)
            return -1;
        for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf; NLMSG_OK(h, (size_t)n);
             h = NLMSG_NEXT(h, n)) {
            if (h->nlmsg_type == NLMSG_DONE)
                return 0;
            if (h->nlmsg_type == NLMSG_ERROR) {
                errno = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
                return -1;
            }
            fn(h, arg);
        }
    }
}

/* ---- finding it ---- */

struct nic_found {
    const struct nic_request *q;
    int index; /* 0: none */
    unsigned flags;
    uint8_t mac[ETH_ALEN];
};

static void link_look(const struct nlmsghdr *h, void *arg)
{
    struct nic_found *f = arg;
    const struct ifinfomsg *i = NLMSG_DATA(h);
    size_t n = IFLA_PAYLOAD(h);

    if (h->nlmsg_type != RTM_NEWLINK)
        return;
    for (const struct rtattr *a = IFLA_RTA(i); RTA_OK(a, n); a = RTA_NEXT(a, n)) {
        bool now, then;

        if (a->rta_type != IFLA_ADDRESS || RTA_PAYLOAD(a) != ETH_ALEN)
            continue;
        now = !memcmp(RTA_DATA(a), f->q->to, ETH_ALEN);
        then = !memcmp(RTA_DATA(a), f->q->mac, ETH_ALEN);
        /* A bond or a bridge may have the same address: the oldest interface is the NIC. */
        if ((!now && !then) || f->index)
            continue;
        f->index = i->ifi_index;
        f->flags = i->ifi_flags;
        memcpy(f->mac, RTA_DATA(a), ETH_ALEN);
    }
}

static int nic_find(int fd, const struct nic_request *q, struct nic_found *f)
{
    struct nl_request r;
    struct ifinfomsg *i = nl_begin(&r, RTM_GETLINK, 0, sizeof(*i));

    *f = (struct nic_found){.q = q};
    if (nl_each(fd, &r, link_look, f) < 0)
        return -1;
    errno = ENODEV;
    return f->index ? 0 : -1;
}

/* ---- its link ---- */

static int link_set(int fd, int index, unsigned flags, unsigned change, int attribute, const void *data,
                    size_t n)
{
    struct nl_request r;
    struct ifinfomsg *i = nl_begin(&r, RTM_NEWLINK, 0, sizeof(*i));

    i->ifi_index = index;
    i->ifi_flags = flags;
    i->ifi_change = change;
    if (attribute)
        nl_add(&r, attribute, data, n);
    return nl_do(fd, &r);
}

static int link_up(int fd, int index, bool up)
{
    return link_set(fd, index, up ? IFF_UP : 0, IFF_UP, 0, NULL, 0);
}

/* The action that failed; NULL: none. */
static const char *link_make(int fd, const struct nic_request *q, const struct nic_found *f)
{
    bool renumber = memcmp(f->mac, q->to, ETH_ALEN) != 0;

    if ((renumber || q->name[0]) && (f->flags & IFF_UP) && link_up(fd, f->index, false) < 0)
        return "take it down";
    if (renumber && link_set(fd, f->index, 0, 0, IFLA_ADDRESS, q->to, ETH_ALEN) < 0)
        return "set its MAC address";
    if (q->name[0] && link_set(fd, f->index, 0, 0, IFLA_IFNAME, q->name, strlen(q->name) + 1) < 0)
        return "name it";
    if (q->mtu && link_set(fd, f->index, 0, 0, IFLA_MTU, &q->mtu, sizeof(q->mtu)) < 0)
        return "set its MTU";
    if (q->up && link_up(fd, f->index, true) < 0)
        return "bring it up";
    return NULL;
}

/* ---- its addresses ---- */

struct address_list {
    int index, n;
    struct {
        struct ifaddrmsg m;
        uint8_t local[16];
    } a[LIST_MAX];
};

/* Lists an address unless the kernel has made it by itself. */
static void address_look(const struct nlmsghdr *h, void *arg)
{
    struct address_list *l = arg;
    const struct ifaddrmsg *m = NLMSG_DATA(h);
    size_t n = IFA_PAYLOAD(h), most = m->ifa_family == AF_INET ? 4 : 16;

    if (h->nlmsg_type != RTM_NEWADDR || (int)m->ifa_index != l->index || l->n == LIST_MAX ||
        m->ifa_scope == RT_SCOPE_LINK)
        return;
    for (const struct rtattr *a = IFA_RTA(m); RTA_OK(a, n); a = RTA_NEXT(a, n))
        if (a->rta_type == (m->ifa_family == AF_INET ? IFA_LOCAL : IFA_ADDRESS) && RTA_PAYLOAD(a) == most) {
            l->a[l->n].m = *m;
            memcpy(l->a[l->n++].local, RTA_DATA(a), most);
            return;
        }
}

static int address_change(int fd, int type, int flags, const struct ifaddrmsg *m, const void *local, size_t n)
{
    struct nl_request r;
    struct ifaddrmsg *to = nl_begin(&r, type, flags, sizeof(*to));

    *to = *m;
    nl_add(&r, IFA_LOCAL, local, n);
    nl_add(&r, IFA_ADDRESS, local, n);
    if (n == 4 && type == RTM_NEWADDR && m->ifa_prefixlen < 31) {
        uint32_t broadcast;

        memcpy(&broadcast, local, 4);
        broadcast |= htonl(m->ifa_prefixlen ? UINT32_MAX >> m->ifa_prefixlen : UINT32_MAX);
        nl_add(&r, IFA_BROADCAST, &broadcast, 4);
    }
    return nl_do(fd, &r);
}

/* Addresses of the machine that this one is a copy of. */
static int addresses_drop(int fd, int index)
{
    static struct address_list l;
    struct nl_request r;
    struct ifaddrmsg *m = nl_begin(&r, RTM_GETADDR, 0, sizeof(*m));

    l.index = index;
    l.n = 0;
    if (nl_each(fd, &r, address_look, &l) < 0)
        return -1;
    for (int i = 0; i < l.n; i++)
        if (address_change(fd, RTM_DELADDR, 0, &l.a[i].m, l.a[i].local,
                           l.a[i].m.ifa_family == AF_INET ? 4 : 16) < 0 &&
            errno != EADDRNOTAVAIL)
            return -1;
    return 0;
}

static int address_set(int fd, int index, const struct nic_request *q)
{
    struct ifaddrmsg m = {.ifa_family = q->n_ip == 4 ? AF_INET : AF_INET6,
                          .ifa_prefixlen = (uint8_t)q->prefix,
                          .ifa_flags = q->n_ip == 4 ? 0 : IFA_F_NODAD,
                          .ifa_index = (unsigned)index};

    return address_change(fd, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, q->ip, q->n_ip);
}

static int route_set(int fd, int index, const struct nic_request *q)
{
    struct nl_request r;
    struct rtmsg *m = nl_begin(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*m));
    uint32_t metric = ROUTE_METRIC;

    m->rtm_family = q->n_gateway == 4 ? AF_INET : AF_INET6;
    m->rtm_table = RT_TABLE_MAIN;
    m->rtm_protocol = RTPROT_STATIC;
    m->rtm_scope = RT_SCOPE_UNIVERSE;
    m->rtm_type = RTN_UNICAST;
    nl_add(&r, RTA_GATEWAY, q->gateway, q->n_gateway);
    nl_add(&r, RTA_OIF, &index, sizeof(index));
    nl_add(&r, RTA_PRIORITY, &metric, sizeof(metric));
    return nl_do(fd, &r);
}

/* ---- its neighbours ---- */

struct neighbour_list {
    int index, n;
    struct {
        uint8_t family, ip[16];
    } a[LIST_MAX];
};

/* Lists a neighbour that the kernel has learned. */
static void neighbour_look(const struct nlmsghdr *h, void *arg)
{
    enum { KEPT = NUD_PERMANENT | NUD_NOARP | NUD_FAILED };
    struct neighbour_list *l = arg;
    const struct ndmsg *m = NLMSG_DATA(h);
    size_t n = h->nlmsg_len - NLMSG_SPACE(sizeof(*m)), size = m->ndm_family == AF_INET ? 4 : 16;

    if (h->nlmsg_type != RTM_NEWNEIGH || m->ndm_ifindex != l->index || l->n == LIST_MAX || !m->ndm_state ||
        m->ndm_state & KEPT || (m->ndm_family != AF_INET && m->ndm_family != AF_INET6))
        return;
    for (const struct rtattr *a =
             (const struct rtattr *)(const void *)((const uint8_t *)m + NLMSG_ALIGN(sizeof(*m)));
         RTA_OK(a, n); a = RTA_NEXT(a, n))
        if (a->rta_type == NDA_DST && RTA_PAYLOAD(a) == size) {
            l->a[l->n].family = m->ndm_family;
            memcpy(l->a[l->n++].ip, RTA_DATA(a), size);
            return;
        }
}

static int neighbour_drop(int fd, int index, uint8_t family, const uint8_t *ip)
{
    struct nl_request r;
    struct ndmsg *m = nl_begin(&r, RTM_DELNEIGH, 0, sizeof(*m));

    m->ndm_family = family;
    m->ndm_ifindex = index;
    nl_add(&r, NDA_DST, ip, family == AF_INET ? 4 : 16);
    return nl_do(fd, &r);
}

/*
 * Forgets what the kernel has learned, perhaps before this machine was saved: another one may have got the address since.  A
 * kernel that refuses that loses the first packets to such a one.
 */
static void neighbours_drop(int fd, int index)
{
    static struct neighbour_list l;

    for (int round = 0; round < NEIGHBOUR_ROUNDS; round++) {
        struct nl_request r;

        nl_begin(&r, RTM_GETNEIGH, 0, sizeof(struct ndmsg));
        l.index = index;
        l.n = 0;
        if (nl_each(fd, &r, neighbour_look, &l) < 0)
            return;
        for (int i = 0; i < l.n; i++)
            if (neighbour_drop(fd, index, l.a[i].family, l.a[i].ip) < 0 && errno != ENOENT)
                return;
        if (l.n < LIST_MAX)
            return;
    }
}

/* A kernel without packet sockets sends nothing: an old neighbour entry has to expire. */
static void packet_send(int index, uint16_t protocol, const uint8_t to[ETH_ALEN], const void *data, size_t n)
{
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(protocol),
                             .sll_ifindex = index,
                             .sll_halen = ETH_ALEN};
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return;
    memcpy(at.sll_addr, to, ETH_ALEN);
    sendto(fd, data, n, MSG_DONTWAIT, (struct sockaddr *)&at, sizeof(at));
    close(fd);
}

/* Tells the others on the network, which may remember an earlier owner of the address. */
static void arp_announce(int index, const struct nic_request *q)
{
    static const uint8_t all[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t arp[28] = {0, 1, 8, 0, ETH_ALEN, 4, 0, 1};

    memcpy(arp + 8, q->to, ETH_ALEN);
    memcpy(arp + 14, q->ip, 4);
    memcpy(arp + 24, q->ip, 4);
    packet_send(index, ETH_P_ARP, all, arp, sizeof(arp));
}

/* The Internet checksum (RFC 1071) of the n bytes at p, n even, and of what is summed already. */
static uint16_t checksum(const void *p, size_t n, uint32_t sum)
{
    const uint8_t *at = p;

    for (size_t i = 0; i < n; i += 2)
        sum += (uint32_t)(at[i] << 8 | at[i + 1]);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

/*
 * The same of IPv6: an advertisement that nobody asked for, to all nodes (RFC 4861, 4.4 and 7.2.6).  By a packet socket:
 * until the kernel has noticed the carrier, the address is tentative, and no socket can be bound to it.
 */
static void neighbour_announce(int index, const struct nic_request *q)
{
    struct {
        struct ip6_hdr ip;
        struct nd_neighbor_advert advert;
        struct nd_opt_hdr option;
        uint8_t mac[ETH_ALEN];
    } m = {.ip = {.ip6_flow = htonl(6U << 28), .ip6_nxt = IPPROTO_ICMPV6, .ip6_hlim = 255},
           .advert = {.nd_na_type = ND_NEIGHBOR_ADVERT, .nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE},
           .option = {.nd_opt_type = ND_OPT_TARGET_LINKADDR, .nd_opt_len = 1}};
    static const uint8_t all[ETH_ALEN] = {0x33, 0x33, 0, 0, 0, 1}; /* of ff02::1 (RFC 2464, 7) */
    enum { ICMP = sizeof(m) - sizeof(m.ip), ADDRESSES = 2 * sizeof(struct in6_addr) };

    m.ip.ip6_plen = htons(ICMP);
    memcpy(&m.ip.ip6_src, q->ip, sizeof(m.ip.ip6_src));
    inet_pton(AF_INET6, "ff02::1", &m.ip.ip6_dst);
    memcpy(&m.advert.nd_na_target, q->ip, sizeof(m.advert.nd_na_target));
    memcpy(m.mac, q->to, ETH_ALEN);
    /* The pseudo header (RFC 8200, 8.1): the addresses, which lie before the message, its length and its kind. */
    m.advert.nd_na_cksum = checksum(&m.ip.ip6_src, ADDRESSES + ICMP, ICMP + IPPROTO_ICMPV6);
    packet_send(index, ETH_P_IPV6, all, &m, sizeof(m));
}

/* ---- the request ---- */

static bool address_read(struct pv_dec *d, uint8_t to[16], size_t *n)
{
    const void *p = pv_dec_bytes(d, n);

    if (*n != 0 && *n != 4 && *n != 16)
        return false;
    memcpy(to, p, *n);
    return true;
}

static bool nic_read(struct pv_dec *d, struct nic_request *q)
{
    size_t n_mac, n_to;
    const void *mac = pv_dec_bytes(d, &n_mac), *to = pv_dec_bytes(d, &n_to);

    if (n_mac != ETH_ALEN || n_to != ETH_ALEN)
        return false;
    memcpy(q->mac, mac, ETH_ALEN);
    memcpy(q->to, to, ETH_ALEN);
    pv_dec_str(d, q->name, sizeof(q->name));
    q->mtu = pv_dec_u32(d);
    q->up = pv_dec_u32(d);
    if (!address_read(d, q->ip, &q->n_ip))
        return false;
    q->prefix = pv_dec_u32(d);
    return address_read(d, q->gateway, &q->n_gateway) && pv_dec_done(d) && q->up <= 1 && q->mtu <= 65535 &&
           q->prefix <= q->n_ip * 8;
}

/* The action that failed; NULL: none. */
static const char *nic_make(int fd, const struct nic_request *q, struct nic_found *f)
{
    const char *failed;

    if (nic_find(fd, q, f) < 0)
        return "find it";
    if (memcmp(f->mac, q->to, ETH_ALEN) != 0 && addresses_drop(fd, f->index) < 0)
        return "drop its addresses";
    failed = link_make(fd, q, f);
    if (failed)
        return failed;
    if (q->up)
        link_up(fd, 1, true); /* lo: a machine on a network can reach itself */
    neighbours_drop(fd, f->index);
    if (q->n_ip && address_set(fd, f->index, q) < 0)
        return "set its address";
    if (q->n_gateway && route_set(fd, f->index, q) < 0)
        return "set the default route";
    if (q->n_ip == 4 && q->up)
        arp_announce(f->index, q);
    if (q->n_ip == 16 && q->up)
        neighbour_announce(f->index, q);
    return NULL;
}

static bool nic_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct nic_request q = {0};
    struct nic_found f = {0};
    const char *failed;
    int fd;

    if (!nic_read(d, &q))
        return false;
    if (!s->w.in_guest) {
        ag_reply_error(s, id, EPERM, "set up a NIC of a machine that is no guest");
        return true;
    }
    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    failed = fd < 0 ? "open a netlink socket" : nic_make(fd, &q, &f);
    if (failed)
        ag_reply_error(s, id, errno, "NIC %02x:%02x:%02x:%02x:%02x:%02x: %s", q.to[0], q.to[1], q.to[2],
                       q.to[3], q.to[4], q.to[5], failed);
    else
        ag_reply_ok(s, id, (uint64_t)f.index);
    if (fd >= 0)
        close(fd);
    return true;
}

const struct ag_verb ag_verb_nic = {.message = PV_MSG_NIC, .start = nic_start};
