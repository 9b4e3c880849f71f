/* SPDX-License-Identifier: MIT */
/*
 * An uplink whose guest is code: frames in, frames out.  The test has namespaces of its own, in which the host is lo
 * with the address 10.99.0.1 besides 127.0.0.1, and its resolver is 127.0.0.1.
 */
#include "util/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "net/checksum.h"
#include "net/network.h"
#include "net/port.h"
#include "net/uplink-door.h"
#include "net/uplink.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

enum { ETHER = 14, FRAME = 2048, SYN = 2, RST = 4, ACK = 16 };

static const uint8_t guest_mac[6] = {2, 0, 0, 0, 0, 1}, gateway_mac[6] = {0x52, 0x55, 10, 7, 0, 254};
static const char guest[] = "10.7.0.1", gateway[] = "10.7.0.254", dns[] = "10.7.0.253", host[] = "10.99.0.1";

static struct lab {
    struct pv_loop *loop;
    struct pv_net *net;
    struct pv_uplink *uplink;
    struct pv_net_end *end;
    uint8_t frame[FRAME];
    size_t n; /* of the newest frame to the guest that is no ARP request */
    unsigned asked;
} lab;

/* ---- the guest ---- */

static void guest_deliver(void *arg, const uint8_t *frame, size_t n)
{
    (void)arg;
    if (frame[12] == 8 && frame[13] == 6 && frame[21] == 1) {
        uint8_t reply[42];

        lab.asked++;
        memcpy(reply, frame, sizeof(reply));
        memcpy(reply, frame + 6, 6);
        memcpy(reply + 6, guest_mac, 6);
        reply[21] = 2;
        memcpy(reply + 22, guest_mac, 6);
        memcpy(reply + 28, frame + 38, 4);
        memcpy(reply + 32, frame + 22, 10);
        pv_net_send(lab.end, reply, sizeof(reply));
        return;
    }
    assert_true(n <= FRAME);
    memcpy(lab.frame, frame, n);
    lab.n = n;
}

static bool frame_came(void *arg)
{
    (void)arg;
    return lab.n > 0;
}

static bool frame_await(int64_t ns)
{
    return pv_loop_run(lab.loop, frame_came, NULL, pv_deadline(ns), NULL) == 0;
}

static void loop_for(int64_t ns)
{
    pv_loop_run(lab.loop, NULL, NULL, pv_deadline(ns), NULL);
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* A packet of the guest; the checksum of the message is at `sum` in it. */
static void packet_send(const char *from, const char *to, uint8_t protocol, uint8_t *message, size_t n,
                        size_t sum)
{
    uint8_t f[FRAME] = {0}, *ip = f + ETHER;

    memcpy(f, gateway_mac, 6);
    memcpy(f + 6, guest_mac, 6);
    f[12] = 8;
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)(20 + n));
    ip[8] = 64;
    ip[9] = protocol;
    assert_int_equal(inet_pton(AF_INET, from, ip + 12), 1);
    assert_int_equal(inet_pton(AF_INET, to, ip + 16), 1);
    put16(ip + 10, pv_sum_end(pv_sum_add(0, ip, 20)));
    put16(message + sum, 0);
    put16(message + sum, protocol == IPPROTO_ICMP
                             ? pv_sum_end(pv_sum_add(0, message, n))
                             : pv_sum_message(ip + 12, ip + 16, 4, protocol, message, n));
    memcpy(ip + 20, message, n);
    lab.n = 0;
    pv_net_send(lab.end, f, ETHER + 20 + n);
}

static void tcp_send(const char *to, unsigned from_port, unsigned port, uint32_t seq, uint32_t ack,
                     uint8_t flags, const char *text)
{
    uint8_t m[20 + 64] = {0};

    put16(m, from_port);
    put16(m + 2, port);
    put16(m + 4, seq >> 16);
    put16(m + 6, seq);
    put16(m + 8, ack >> 16);
    put16(m + 10, ack);
    m[12] = 5 << 4;
    m[13] = flags;
    put16(m + 14, 8192);
    memcpy(m + 20, text, strlen(text));
    packet_send(guest, to, IPPROTO_TCP, m, 20 + strlen(text), 16);
}

static void udp_send(const char *from, const char *to, unsigned from_port, unsigned port, const void *data,
                     size_t n)
{
    uint8_t m[FRAME] = {0};

    put16(m, from_port);
    put16(m + 2, port);
    put16(m + 4, (unsigned)(8 + n));
    memcpy(m + 8, data, n);
    packet_send(from, to, IPPROTO_UDP, m, 8 + n, 6);
}

/* The transport's header of the frame that came, which is of this protocol and from that address. */
static const uint8_t *came_from(uint8_t protocol, const char *from)
{
    uint8_t ip[4];

    assert_true(lab.n >= ETHER + 28);
    assert_int_equal(lab.frame[ETHER + 9], protocol);
    assert_int_equal(inet_pton(AF_INET, from, ip), 1);
    assert_memory_equal(lab.frame + ETHER + 12, ip, 4);
    return lab.frame + ETHER + 20;
}

/* ---- the host ---- */

static int server_open(int type, const char *ip, uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_int_equal(inet_pton(AF_INET, ip, &at.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
    assert_true(type == SOCK_DGRAM || listen(fd, 9) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static ssize_t read_await(int fd, char *to, size_t n, struct sockaddr_in *from)
{
    int64_t deadline = pv_deadline(20 * PV_NSEC_PER_SEC);
    socklen_t size = sizeof(*from);
    ssize_t r;

    while ((r = recvfrom(fd, to, n, 0, (struct sockaddr *)from, &size)) < 0 && pv_now() < deadline)
        loop_for(5 * PV_NSEC_PER_MSEC);
    return r;
}

static void lab_open(bool restricted)
{
    struct pv_uplink_opts o = {
        .name = "uplink", .prefix = 24, .n_leases = 4, .mtu = 1500, .restricted = restricted};

    lab = (struct lab){.loop = pv_loop_new(NULL)};
    lab.net = pv_net_new(lab.loop, &(struct pv_net_opts){.name = "lan"});
    lab.end = pv_net_attach(lab.net, "guest", guest_mac, guest_deliver, NULL, NULL);
    assert_int_equal(pv_ip_parse(&o.gateway, gateway, NULL), 0);
    assert_int_equal(pv_ip_parse(&o.nameserver, dns, NULL), 0);
    assert_int_equal(pv_ip_parse(&o.lease, "10.7.0.240", NULL), 0);
    lab.uplink = pv_uplink_new(lab.net, &o, NULL);
    assert_non_null(lab.uplink);
}

static int lab_begin(void **state)
{
    (void)state;
    lab_open(false);
    return 0;
}

static int lab_begin_restricted(void **state)
{
    (void)state;
    lab_open(true);
    return 0;
}

static int lab_end(void **state)
{
    (void)state;
    pv_uplink_free(lab.uplink);
    pv_net_free(lab.net);
    pv_loop_free(lab.loop);
    return 0;
}

/* ---- tests ---- */

static void test_tcp(void **state)
{
    (void)state;
    uint16_t port = 0;
    char text[16] = "";
    struct sockaddr_in from;
    int server = server_open(SOCK_STREAM, host, &port), c;

    tcp_send(host, 4000, port, 100, 0, SYN, "");
    assert_true(frame_await(20 * PV_NSEC_PER_SEC));
    const uint8_t *tcp = came_from(IPPROTO_TCP, host);
    assert_int_equal(tcp[13], SYN | ACK);
    assert_int_equal(get32(tcp + 8), 101);
    uint32_t seq = get32(tcp + 4) + 1;
    tcp_send(host, 4000, port, 101, seq, ACK, "question");
    assert_true(frame_await(20 * PV_NSEC_PER_SEC));
    c = accept4(server, NULL, NULL, SOCK_NONBLOCK);
    assert_true(c >= 0);
    assert_int_equal(read_await(c, text, sizeof(text), &from), 8);
    assert_memory_equal(text, "question", 8);
    lab.n = 0;
    assert_int_equal(write(c, "reply", 5), 5);
    for (unsigned i = 0; i < 20; i++) {
        lab.n = 0;
        assert_true(frame_await(20 * PV_NSEC_PER_SEC));
        if (lab.n >= ETHER + 45)
            break;
    }
    assert_memory_equal(lab.frame + ETHER + 40, "reply", 5);
    assert_int_equal(pv_uplink_sockets(lab.uplink), 1);
    close(c);
    close(server);
}

/* Servers on the host's loopback get nothing, by whichever address the guest tries. */
static void test_loopback(void **state)
{
    (void)state;
    static const char *const tries[] = {
        "10.7.0.254",      "10.7.0.253", "127.0.0.1", "127.9.9.9", "0.0.0.0",     "0.0.0.1",  "10.7.0.255",
        "255.255.255.255", "10.7.0.77",  "10.7.0.0",  "224.0.0.1", "169.254.0.1", "240.0.0.1"};
    uint16_t port = 0;
    int tcp = server_open(SOCK_STREAM, "127.0.0.1", &port), udp = server_open(SOCK_DGRAM, "127.0.0.1", &port);
    uint16_t any = 0;
    int udp_any = server_open(SOCK_DGRAM, "0.0.0.0", &any),
        tcp_any = server_open(SOCK_STREAM, "0.0.0.0", &any);
    char text[8];

    for (unsigned i = 0; i < PV_ARRAY_LEN(tries); i++) {
        tcp_send(tries[i], 4000 + i, port, 100, 0, SYN, "");
        tcp_send(tries[i], 4100 + i, any, 100, 0, SYN, "");
        udp_send(guest, tries[i], 4200 + i, port, "x", 1);
        udp_send(guest, tries[i], 4300 + i, any, "x", 1);
        loop_for(50 * PV_NSEC_PER_MSEC);
    }
    const int fds[] = {tcp, tcp_any};
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(accept(fds[i], NULL, NULL), -1);
        assert_int_equal(errno, EAGAIN);
    }
    assert_int_equal(recv(udp, text, sizeof(text), 0), -1);
    assert_int_equal(recv(udp_any, text, sizeof(text), 0), -1);
    udp_send(guest, host, 4999, any, "x", 1); /* the servers would have heard it */
    assert_int_equal(read_await(udp_any, text, sizeof(text), &(struct sockaddr_in){0}), 1);
    tcp_send(gateway, 4001, port, 100, 0, SYN, "");
    assert_true(frame_await(20 * PV_NSEC_PER_SEC)); /* refused, and not only lost */
    close(tcp), close(udp), close(tcp_any), close(udp_any);
}

/* DNS goes to the resolver of resolv.conf on the host's loopback, and nothing else goes there. */
static void test_dns(void **state)
{
    (void)state;
    uint16_t port = 53, other = 54;
    struct sockaddr_in from;
    char text[16];
    int server = server_open(SOCK_DGRAM, "127.0.0.1", &port),
        beside = server_open(SOCK_DGRAM, "127.0.0.1", &other);

    assert_true(pv_host_has_nameserver());
    udp_send(guest, dns, 5000, 53, "query", 5);
    assert_int_equal(read_await(server, text, sizeof(text), &from), 5);
    lab.n = 0;
    assert_int_equal(sendto(server, "record", 6, 0, (struct sockaddr *)&from, sizeof(from)), 6);
    assert_true(frame_await(20 * PV_NSEC_PER_SEC));
    const uint8_t *udp = came_from(IPPROTO_UDP, dns);
    assert_int_equal(get16(udp), 53);
    assert_memory_equal(udp + 8, "record", 6);
    udp_send(guest, dns, 5001, 54, "query", 5);
    loop_for(100 * PV_NSEC_PER_MSEC);
    assert_int_equal(recv(beside, text, sizeof(text), 0), -1);
    close(server), close(beside);
}

/* Asks for an address with this MAC; the one that was offered, 0: none. */
static uint32_t dhcp_discover(uint8_t last)
{
    uint8_t m[300] = {1, 1, 6, 0, 1, 2, 3, 4};

    memcpy(m + 28, (uint8_t[]){2, 0, 0, 0, 1, last}, 6);
    memcpy(m + 236, (uint8_t[]){99, 130, 83, 99, 53, 1, 1, 255}, 8);
    udp_send("0.0.0.0", "255.255.255.255", 68, 67, m, sizeof(m));
    if (!frame_await(200 * PV_NSEC_PER_MSEC))
        return 0;
    assert_memory_equal(came_from(IPPROTO_UDP, gateway) + 8 + 4, m + 4, 4);
    return get32(lab.frame + ETHER + 28 + 16);
}

static void test_dhcp(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < 4; i++) {
        assert_int_equal(dhcp_discover(i), 0x0a0700f0 + i);
        assert_int_equal(dhcp_discover(i), 0x0a0700f0 + i);
    }
    for (uint8_t i = 4; i < 7; i++) /* the rest of libslirp's 16 is not for it */
        assert_int_equal(dhcp_discover(i), 0);
}

static void test_forward(void **state)
{
    (void)state;
    struct pv_ip_port at = {.port = 0}, taken, to = {.port = 80};
    struct pv_err err = PV_ERR_INIT;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    char want[64];

    assert_int_equal(pv_ip_parse(&at.ip, "127.0.0.1", NULL), 0);
    assert_int_equal(pv_ip_parse(&to.ip, guest, NULL), 0);
    assert_int_equal(pv_uplink_forward(lab.uplink, &at, &to, NULL), 0);
    assert_true(at.port > 0);
    taken = at;
    assert_int_equal(pv_uplink_forward(lab.uplink, &taken, &to, &err), -1);
    snprintf(want, sizeof(want), "port 127.0.0.1:%u of the host, which is taken", at.port);
    assert_non_null(strstr(err.text, want));

    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons(at.port), .sin_addr.s_addr = htonl(0x7f000001)};
    lab.n = 0;
    assert_true(connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 || errno == EINPROGRESS);
    assert_true(frame_await(20 * PV_NSEC_PER_SEC));
    const uint8_t *tcp = came_from(IPPROTO_TCP, gateway);
    assert_int_equal(get16(tcp + 2), 80);
    assert_int_equal(tcp[13], SYN);
    assert_true(lab.asked > 0);
    close(fd);
}

static void test_restricted(void **state)
{
    (void)state;
    uint16_t port = 0, udp_port = 0;
    int tcp = server_open(SOCK_STREAM, host, &port), udp = server_open(SOCK_DGRAM, host, &udp_port);
    char text[8];

    tcp_send(host, 4000, port, 100, 0, SYN, "");
    udp_send(guest, host, 4000, udp_port, "x", 1);
    udp_send(guest, dns, 4001, 53, "x", 1);
    loop_for(200 * PV_NSEC_PER_MSEC);
    assert_int_equal(accept(tcp, NULL, NULL), -1);
    assert_int_equal(recv(udp, text, sizeof(text), 0), -1);
    assert_int_equal(pv_uplink_sockets(lab.uplink), 0);
    assert_int_equal(dhcp_discover(1), 0x0a0700f0);
    close(tcp), close(udp);
    test_forward(state);
}

/* Many flows of a guest leave descriptors for others. */
static void test_bounds(void **state)
{
    (void)state;
    struct rlimit was, low = {.rlim_cur = 64};

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    low.rlim_max = was.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    lab_open(false);
    for (unsigned i = 0; i < 500; i++) {
        udp_send(guest, host, 10000 + i, 9, "x", 1);
        tcp_send(host, 20000 + i, 9, 1, 0, SYN, "");
    }
    assert_true(pv_uplink_sockets(lab.uplink) > 1);
    assert_true(pv_uplink_sockets(lab.uplink) <= 16);
    lab_end(state);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
}

/* Frames of any bytes, beside a port that replies at once; a sanitizer sees what is read beyond them. */
static void test_any_bytes(void **state)
{
    (void)state;
    struct pv_ip ip;
    uint32_t x = 1;

    assert_int_equal(pv_ip_parse(&ip, "10.7.0.9", NULL), 0);
    assert_non_null(pv_port_new(lab.net, "port", (uint8_t[]){2, 0, 0, 0, 0, 9}, &ip, NULL));
    for (unsigned i = 0; i < 100000; i++) {
        static const uint8_t types[][2] = {{8, 0}, {8, 6}, {8, 0}, {0x86, 0xdd}, {0x88, 0xf8}};
        size_t n = 14 + i % 400;
        cleanup_free uint8_t *f = pv_xmalloc(n);

        for (size_t j = 0; j < n; j++) {
            x = x * 1664525 + 1013904223;
            f[j] = (uint8_t)(x >> 24);
        }
        memcpy(f, gateway_mac, 6);
        memcpy(f + 12, types[i % 5], 2);
        if (n > 42 && types[i % 5][1] == 0) { /* well enough for libslirp */
            f[14] = (uint8_t)(0x45 + (i % 7 == 0));
            put16(f + 16, (unsigned)(n - 14));
            f[20] = i % 11 ? 0 : f[20]; /* some are fragments */
            f[21] = i % 11 ? 0 : f[21];
            f[23] = i % 3 == 0 ? 17 : i % 3 == 1 ? 6 : 1;
            memcpy(f + 26, (uint8_t[]){10, 7, 0, 1, 10, 7, 0, 254}, 8);
            put16(f + 24, 0);
            put16(f + 24, pv_sum_end(pv_sum_add(0, f + 14, (size_t)(f[14] & 15) * 4)));
            if (i % 2)
                put16(f + 36, i % 4 == 1 ? 67 : 69);
        }
        pv_net_send(lab.end, f, n);
        if (i % 1000 == 0)
            loop_for(0);
    }
    assert_int_equal(dhcp_discover(1) >> 8, 0x0a0700);
}

/* ---- the namespaces ---- */

static void host_make(const char *resolv)
{
    struct ifreq up = {.ifr_name = "lo"}, at = {.ifr_name = "lo:1"};
    struct sockaddr_in *sa = (struct sockaddr_in *)&at.ifr_addr;
    int fd;

    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) < 0) {
        print_message("no namespaces for this user: %s\n", strerror(errno));
        unlink(resolv);
        exit(77);
    }
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sa->sin_family = AF_INET;
    if (pv_host_has_network() || inet_pton(AF_INET, host, &sa->sin_addr) != 1 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(resolv, "/etc/resolv.conf", NULL, MS_BIND, NULL) < 0 || ioctl(fd, SIOCGIFFLAGS, &up) < 0 ||
        (up.ifr_flags |= IFF_UP, ioctl(fd, SIOCSIFFLAGS, &up) < 0) || ioctl(fd, SIOCSIFADDR, &at) < 0) {
        print_message("cannot make a host: %s\n", strerror(errno));
        unlink(resolv);
        exit(77);
    }
    close(fd);
    unlink(resolv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tcp, lab_begin, lab_end),
        cmocka_unit_test_setup_teardown(test_loopback, lab_begin, lab_end),
        cmocka_unit_test_setup_teardown(test_dns, lab_begin, lab_end),
        cmocka_unit_test_setup_teardown(test_dhcp, lab_begin, lab_end),
        cmocka_unit_test_setup_teardown(test_forward, lab_begin, lab_end),
        cmocka_unit_test_setup_teardown(test_restricted, lab_begin_restricted, lab_end),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test_setup_teardown(test_any_bytes, lab_begin, lab_end),
    };
    char resolv[] = "/tmp/provium-test-resolv-XXXXXX";
    int fd = mkstemp(resolv);

    signal(SIGPIPE, SIG_IGN);
    if (fd < 0 || write(fd, "nameserver 127.0.0.1\n", 21) != 21)
        return 1;
    close(fd);
    host_make(resolv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
