/* SPDX-License-Identifier: MIT */
/*
 * NIC: malformed requests to the real agent binary over a socketpair; and the verb itself, as in a guest, on a pair of
 * interfaces in a network namespace of this process.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client.h"
#include "verb.h"

enum { ID = 7, REQUEST_MAX = 512, SKIP = 77, RANDOM_REQUESTS = 200000 };

static const uint8_t mac_a[6] = {0x52, 0x54, 0, 0, 0, 1}, mac_b[6] = {0x52, 0x54, 0, 0, 0, 2},
                     mac_c[6] = {0x52, 0x54, 0, 0, 0, 3};

/* A request as the host makes it; what is zero is kept. */
struct request {
    const uint8_t *mac, *to;
    const char *name;
    uint32_t mtu, up;
    const char *ip, *gateway;
    uint32_t prefix;
};

static void put_ip(struct pv_enc *e, const char *text)
{
    uint8_t ip[16];
    int n = !text ? 0 : strchr(text, ':') ? 16 : 4;

    if (n)
        assert_int_equal(inet_pton(n == 4 ? AF_INET : AF_INET6, text, ip), 1);
    pv_enc_bytes(e, ip, (size_t)n);
}

static void put_request(struct pv_enc *e, const struct request *q)
{
    pv_enc_begin(e, PV_MSG_NIC);
    pv_enc_u32(e, ID);
    pv_enc_bytes(e, q->mac, 6);
    pv_enc_bytes(e, q->to ? q->to : q->mac, 6);
    pv_enc_bytes(e, q->name ? q->name : "", q->name ? strlen(q->name) : 0);
    pv_enc_u32(e, q->mtu);
    pv_enc_u32(e, q->up);
    put_ip(e, q->ip);
    pv_enc_u32(e, q->prefix);
    put_ip(e, q->gateway);
}

/* ---- the verb without a session: its reply ---- */

static struct {
    int errnum; /* 0: OK */
    uint64_t value;
    char text[256];
} reply;

void ag_reply_ok(struct ag_session *s, uint32_t id, uint64_t value)
{
    (void)s;
    assert_int_equal(id, ID);
    reply.errnum = 0;
    reply.value = value;
}

void ag_reply_error(struct ag_session *s, uint32_t id, int errnum, const char *fmt, ...)
{
    va_list ap;

    (void)s;
    assert_int_equal(id, ID);
    reply.errnum = errnum;
    va_start(ap, fmt);
    vsnprintf(reply.text, sizeof(reply.text), fmt, ap);
    va_end(ap);
}

extern const struct ag_verb ag_verb_nic;

/* False: the verb has found the payload malformed. */
static bool verb_run(bool in_guest, const uint8_t *payload, size_t n)
{
    static struct ag_session s;
    struct pv_dec d = {.p = payload, .n = n};

    s.w.in_guest = in_guest;
    reply.errnum = -1;
    return ag_verb_nic.start(&s, ID, &d);
}

/* The errno of the request's reply. */
static int set_up(const struct request *q)
{
    uint8_t buf[REQUEST_MAX];
    struct pv_enc e = {.p = buf, .cap = sizeof(buf)};

    put_request(&e, q);
    assert_true(pv_enc_end(&e) > 0);
    assert_true(verb_run(true, buf + PV_FRAME_HEADER + 4, e.len - PV_FRAME_HEADER - 4));
    assert_int_not_equal(reply.errnum, -1);
    return reply.errnum;
}

static void refused(const struct request *q, int errnum, const char *text)
{
    assert_int_equal(set_up(q), errnum);
    if (!strstr(reply.text, text))
        fail_msg("'%s' is not in '%s'", text, reply.text);
}

/* ---- interfaces ---- */

/* A netlink message that grows; nested attributes end where the caller says. */
struct message {
    struct nlmsghdr h;
    struct ifinfomsg i;
    uint8_t rest[REQUEST_MAX];
};

static struct rtattr *attribute_add(struct message *m, unsigned short type, const void *data, size_t n)
{
    struct rtattr *a = (struct rtattr *)(void *)((uint8_t *)m + NLMSG_ALIGN(m->h.nlmsg_len));

    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(n);
    if (n)
        memcpy(RTA_DATA(a), data, n);
    m->h.nlmsg_len = (uint32_t)(NLMSG_ALIGN(m->h.nlmsg_len) + RTA_ALIGN(a->rta_len));
    return a;
}

static void attribute_end(const struct message *m, struct rtattr *a)
{
    a->rta_len = (unsigned short)((const uint8_t *)m + m->h.nlmsg_len - (const uint8_t *)a);
}

/* "pa" and "pb" with mac_a and mac_b, which are each other's cable; false: the kernel makes none. */
static bool pair_make(void)
{
    struct message m = {.h = {.nlmsg_len = NLMSG_LENGTH(sizeof(m.i)),
                              .nlmsg_type = RTM_NEWLINK,
                              .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL}};
    const struct ifinfomsg peer = {0};
    struct rtattr *info, *data, *end;
    struct {
        struct nlmsghdr h;
        struct nlmsgerr e;
        uint8_t rest[REQUEST_MAX];
    } r;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    bool made;

    attribute_add(&m, IFLA_IFNAME, "pa", 3);
    attribute_add(&m, IFLA_ADDRESS, mac_a, 6);
    info = attribute_add(&m, IFLA_LINKINFO, NULL, 0);
    attribute_add(&m, IFLA_INFO_KIND, "veth", 4);
    data = attribute_add(&m, IFLA_INFO_DATA, NULL, 0);
    end = attribute_add(&m, VETH_INFO_PEER, &peer, sizeof(peer));
    attribute_add(&m, IFLA_IFNAME, "pb", 3);
    attribute_add(&m, IFLA_ADDRESS, mac_b, 6);
    attribute_end(&m, end);
    attribute_end(&m, data);
    attribute_end(&m, info);
    made = fd >= 0 && send(fd, &m, m.h.nlmsg_len, 0) > 0 && recv(fd, &r, sizeof(r), 0) > 0 && !r.e.error;
    close(fd);
    return made;
}

static struct ifreq if_get(const char *name, unsigned long request)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq r = {0};

    snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
    assert_int_equal(ioctl(fd, request, &r), 0);
    close(fd);
    return r;
}

static void if_up(const char *name)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq r = if_get(name, SIOCGIFFLAGS);

    r.ifr_flags |= IFF_UP;
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
    close(fd);
}

static bool is_up(const char *name)
{
    return if_get(name, SIOCGIFFLAGS).ifr_flags & IFF_UP;
}

/* The global addresses of an interface as "10.7.0.1/24/10.7.0.255 ", in the kernel's order. */
static const char *addresses(const char *name)
{
    static char text[512];
    struct ifaddrs *list, *a;

    text[0] = 0;
    assert_int_equal(getifaddrs(&list), 0);
    for (a = list; a; a = a->ifa_next) {
        char ip[INET6_ADDRSTRLEN], more[INET_ADDRSTRLEN + 1] = "";
        int family = a->ifa_addr ? a->ifa_addr->sa_family : AF_UNSPEC, bits = 0;
        const uint8_t *mask;

        if (strcmp(a->ifa_name, name) != 0 || (family != AF_INET && family != AF_INET6))
            continue;
        if (family == AF_INET) {
            mask = (const uint8_t *)&((struct sockaddr_in *)(void *)a->ifa_netmask)->sin_addr;
            inet_ntop(family, &((struct sockaddr_in *)(void *)a->ifa_addr)->sin_addr, ip, sizeof(ip));
            more[0] = '/';
            inet_ntop(family, &((struct sockaddr_in *)(void *)a->ifa_broadaddr)->sin_addr, more + 1,
                      sizeof(more) - 1);
        } else {
            mask = (const uint8_t *)&((struct sockaddr_in6 *)(void *)a->ifa_netmask)->sin6_addr;
            inet_ntop(family, &((struct sockaddr_in6 *)(void *)a->ifa_addr)->sin6_addr, ip, sizeof(ip));
        }
        for (size_t i = 0; i < (family == AF_INET ? 4 : 16); i++)
            bits += __builtin_popcount(mask[i]);
        if (strncmp(ip, "fe80", 4) != 0)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s/%d%s ", ip, bits, more);
    }
    freeifaddrs(list);
    return text;
}

static bool file_has(const char *path, const char *text)
{
    static char buf[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t got;

    assert_true(fd >= 0);
    while ((got = read(fd, buf + n, sizeof(buf) - 1 - n)) > 0) /* a page at a time */
        n += (size_t)got;
    close(fd);
    buf[n] = 0;
    return strstr(buf, text) != NULL;
}

/* ---- tests in the namespace ---- */

static void test_set_up(void **state)
{
    int listener = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE_ARP));
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETHERTYPE_ARP),
                             .sll_ifindex = (int)if_nametoindex("pb")};
    static const uint8_t announced[] = {10, 7, 0, 9, 0, 0, 0, 0, 0, 0, 10, 7, 0, 9};
    struct pollfd p = {.fd = listener, .events = POLLIN};
    uint8_t frame[128];

    (void)state;
    if_up("pb");
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(set_up(&(struct request){.mac = mac_a,
                                              .name = "lan0",
                                              .mtu = 1400,
                                              .up = 1,
                                              .ip = "10.7.0.9",
                                              .prefix = 24,
                                              .gateway = "10.7.0.254"}),
                     0);
    assert_int_equal(reply.value, if_nametoindex("lan0"));
    assert_true(is_up("lan0") && is_up("lo"));
    assert_int_equal(if_get("lan0", SIOCGIFMTU).ifr_mtu, 1400);
    assert_string_equal(addresses("lan0"), "10.7.0.9/24/10.7.0.255 ");
    assert_true(file_has("/proc/self/net/route", "lan0\t00000000\tFE00070A"));
    assert_int_equal(poll(&p, 1, CL_SOON), 1);
    assert_int_equal(recv(listener, frame, sizeof(frame), 0), 42);
    assert_memory_equal(frame + 6, mac_a, 6);
    assert_memory_equal(frame + 28, announced, sizeof(announced));
    close(listener);
}

static void test_ipv6_and_again(void **state)
{
    const struct request q = {
        .mac = mac_a, .up = 1, .ip = "fd00:7::9", .prefix = 64, .gateway = "fd00:7::fe"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(set_up(&q), 0);
        assert_string_equal(addresses("lan0"), "10.7.0.9/24/10.7.0.255 fd00:7::9/64 ");
    }
    assert_true(file_has("/proc/self/net/ipv6_route", "fd0000070000000000000000000000fe"));
}

static void neighbour_add(const char *ip, int flags)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct arpreq r = {.arp_flags = ATF_COM | flags, .arp_dev = "lan0"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, ip, &to.sin_addr);
    memcpy(&r.arp_pa, &to, sizeof(to));
    r.arp_ha.sa_family = ARPHRD_ETHER;
    memcpy(r.arp_ha.sa_data, mac_b, 6);
    assert_int_equal(ioctl(fd, SIOCSARP, &r), 0);
    close(fd);
}

/* A restored machine remembers neighbours of another time; what its test has set for ever stays. */
static void test_forgets_neighbours(void **state)
{
    const struct request q = {.mac = mac_a, .up = 1, .ip = "10.7.0.9", .prefix = 24};
    char ip[INET_ADDRSTRLEN];

    (void)state;
    for (uint8_t i = 100; i < 200; i++) {
        snprintf(ip, sizeof(ip), "10.7.0.%d", i);
        neighbour_add(ip, 0);
    }
    neighbour_add("10.7.0.200", ATF_PERM);
    assert_true(file_has("/proc/self/net/arp", "10.7.0.199"));
    assert_int_equal(set_up(&q), 0);
    assert_false(file_has("/proc/self/net/arp", "10.7.0.1"));
    assert_true(file_has("/proc/self/net/arp", "10.7.0.200"));
}

/* A clone's NIC loses the addresses of the machine that it is a copy of. */
static void test_new_mac(void **state)
{
    const struct request q = {.mac = mac_a, .to = mac_c, .up = 1, .ip = "10.7.0.10", .prefix = 30};

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(set_up(&q), 0);
        assert_memory_equal(if_get("lan0", SIOCGIFHWADDR).ifr_hwaddr.sa_data, mac_c, 6);
        assert_string_equal(addresses("lan0"), "10.7.0.10/30/10.7.0.11 ");
    }
}

static void test_failures(void **state)
{
    (void)state;
    refused(&(struct request){.mac = mac_a}, ENODEV, "NIC 52:54:00:00:00:01: find it");
    refused(&(struct request){.mac = mac_c, .name = "pb"}, EEXIST, "name it");
    refused(&(struct request){.mac = mac_c, .name = "a/b"}, EINVAL, "name it");
    refused(&(struct request){.mac = mac_c, .mtu = 1}, EINVAL, "set its MTU");
    refused(&(struct request){.mac = mac_c, .up = 1, .gateway = "10.99.0.1"}, ENETUNREACH,
            "set the default route");
    refused(&(struct request){.mac = mac_c, .up = 1, .ip = "ff02::1", .prefix = 64}, EADDRNOTAVAIL,
            "set its address");
    assert_int_equal(set_up(&(struct request){.mac = mac_c, .up = 1}), 0);
    assert_true(is_up("lan0"));
}

/* ---- malformed requests ---- */

/* A valid payload behind the id, and where its parts are: addresses of 4 bytes, a name of 4. */
enum {
    AT_MAC = 0,
    AT_TO = 10,
    AT_NAME = 20,
    AT_MTU = 28,
    AT_UP = 32,
    AT_IP = 36,
    AT_PREFIX = 44,
    AT_GATEWAY = 48,
    SIZE = 56
};

static void payload_make(uint8_t payload[static SIZE])
{
    const struct request q = {.mac = mac_b,
                              .name = "lan1",
                              .mtu = 1500,
                              .up = 1,
                              .ip = "10.7.0.9",
                              .prefix = 24,
                              .gateway = "10.7.0.1"};
    uint8_t buf[REQUEST_MAX];
    struct pv_enc e = {.p = buf, .cap = sizeof(buf)};

    put_request(&e, &q);
    assert_int_equal(pv_enc_end(&e), PV_FRAME_HEADER + 4 + SIZE);
    memcpy(payload, buf + PV_FRAME_HEADER + 4, SIZE);
}

static void test_malformed(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } bad[] = {{AT_MAC, 5},        {AT_MAC, 7},          {AT_TO, 0},       {AT_TO + 3, 0x80},
               {AT_NAME, 200},     {AT_NAME + 4 + 1, 0}, {AT_MTU + 2, 1},  {AT_UP, 2},
               {AT_UP + 3, 1},     {AT_IP, 3},           {AT_IP, 16},      {AT_PREFIX, 33},
               {AT_PREFIX + 1, 1}, {AT_GATEWAY, 5},      {AT_GATEWAY, 16}, {AT_IP + 1, 0xff}};
    uint8_t payload[SIZE + 1];

    (void)state;
    payload[SIZE] = 0;
    payload_make(payload);
    assert_true(verb_run(false, payload, SIZE));
    assert_int_equal(reply.errnum, EPERM);
    assert_false(verb_run(false, payload, SIZE + 1));
    for (size_t n = 0; n < SIZE; n++)
        assert_false(verb_run(false, payload, n));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        payload_make(payload);
        payload[bad[i].at] = bad[i].value;
        if (verb_run(false, payload, SIZE))
            fail_msg("byte %zu may be %u", bad[i].at, bad[i].value);
    }
    assert_int_equal(reply.errnum, -1);
}

/* Any bytes are a request or malformed. */
static void test_random(void **state)
{
    unsigned requests = 0;

    (void)state;
    srandom(1);
    for (int i = 0; i < RANDOM_REQUESTS; i++) {
        uint8_t *payload = malloc(SIZE); /* of its own, for a sanitizer */
        size_t n = SIZE;

        payload_make(payload);
        for (long rounds = 1 + random() % 4; rounds > 0; rounds--)
            payload[(size_t)random() % SIZE] = (uint8_t)(random() % 2 ? random() : random() % 17);
        if (random() % 8 == 0)
            n = (size_t)random() % SIZE;
        requests += verb_run(false, payload, n);
        free(payload);
    }
    assert_in_range(requests, RANDOM_REQUESTS / 10, RANDOM_REQUESTS);
}

/* Through the session: a malformed request is refused, and the session goes on. */
static void test_session(void **state)
{
    struct client *c = *state;
    uint8_t buf[REQUEST_MAX];
    struct cl_reply a;

    for (size_t n = 0; n <= SIZE + 1; n++) {
        uint8_t payload[SIZE + 1] = {0};
        struct pv_enc e = {.p = buf, .cap = sizeof(buf)};

        payload_make(payload);
        pv_enc_begin(&e, PV_MSG_NIC);
        pv_enc_u32(&e, ID);
        for (size_t i = 0; i < n; i++)
            buf[e.len++] = payload[i];
        cl_send(c, &e);
        cl_reply(c, ID, NULL, 0, CL_SOON, &a);
        assert_int_equal(a.type, PV_MSG_ERROR);
        assert_int_equal(a.errnum, n == SIZE ? EPERM : EPROTO);
        cl_reply_free(&a);
    }
    cl_sh(c, ID + 1, 0, CL_SOON, "exit 3");
    cl_reply(c, ID + 1, NULL, 0, CL_SOON, &a);
    assert_int_equal(a.code, 3);
    cl_reply_free(&a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest anywhere[] = {
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_random),
        cmocka_unit_test_setup_teardown(test_session, cl_setup, cl_teardown),
    };
    const struct CMUnitTest inside[] = {
        cmocka_unit_test(test_set_up),
        cmocka_unit_test(test_ipv6_and_again),
        cmocka_unit_test(test_forgets_neighbours),
        cmocka_unit_test(test_new_mac),
        cmocka_unit_test(test_failures),
    };
    int r;

    if (argc < 2)
        return 2;
    cl_agent = argv[1];
    r = cmocka_run_group_tests_name("anywhere", anywhere, NULL, NULL);
    if (r)
        return r;
    if ((unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) || !pair_make()) {
        printf("no network namespace with a pair of interfaces for this user: only malformed requests were "
               "tried\n");
        return SKIP;
    }
    return cmocka_run_group_tests_name("in a namespace", inside, NULL, NULL);
}
