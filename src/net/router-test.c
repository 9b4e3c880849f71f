/* SPDX-License-Identifier: MIT */
/* A router between a network of IPv4, another one and one of IPv6; the hosts are code. */
#include "util/test.h"

#include <string.h>

#include "loop/loop.h"
#include "net/checksum.h"
#include "net/describe.h"
#include "net/network.h"
#include "net/router.h"
#include "util/clock.h"
#include "util/mem.h"

enum { NETS = 3, FRAME = 2048 };

struct host {
    struct pv_net_end *end;
    uint8_t mac[6], frame[FRAME];
    size_t n; /* of the newest frame that is no question for a MAC; 0: none came */
    bool silent;
    unsigned asked;
};

static struct lab {
    struct pv_loop *loop;
    struct pv_net *net[NETS];
    struct pv_subnet *subnet[NETS];
    struct pv_router *router;
    struct host host[NETS];
} lab;

static const char *const subnets[NETS] = {"10.1.0.0/24", "10.2.0.0/24", "fd00:3::/64"};
static const uint8_t router_mac[6] = {2, 0, 0, 0, 1, 0};

/* Replies to ARP for all addresses. */
static void host_deliver(void *arg, const uint8_t *frame, size_t n)
{
    struct host *h = arg;

    if (frame[12] == 8 && frame[13] == 6) {
        uint8_t reply[42];

        h->asked++;
        if (h->silent || frame[21] != 1 || !memcmp(frame + 28, frame + 38, 4))
            return;
        memcpy(reply, frame, sizeof(reply));
        memcpy(reply, frame + 6, 6);
        memcpy(reply + 6, h->mac, 6);
        reply[21] = 2;
        memcpy(reply + 22, h->mac, 6);
        memcpy(reply + 28, frame + 38, 4);
        memcpy(reply + 32, frame + 22, 10);
        pv_net_send(h->end, reply, sizeof(reply));
        return;
    }
    assert_true(n <= FRAME);
    memcpy(h->frame, frame, n);
    h->n = n;
}

static int lab_begin(void **state)
{
    (void)state;
    lab = (struct lab){.loop = pv_loop_new(NULL), .router = pv_router_new("router1")};
    for (unsigned i = 0; i < NETS; i++) {
        struct host *h = &lab.host[i];
        struct pv_router_if to = {.mtu = i == 1 ? 600 : 1500};

        lab.net[i] = pv_net_new(lab.loop, &(struct pv_net_opts){.name = "lan"});
        lab.subnet[i] = pv_subnet_new(subnets[i], NULL);
        memcpy(h->mac, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)(i + 1)}, 6);
        h->end = pv_net_attach(lab.net[i], "host", h->mac, host_deliver, h, NULL);
        to.net = lab.net[i];
        to.subnet = lab.subnet[i];
        memcpy(to.mac, router_mac, 6);
        to.mac[5] = (uint8_t)i;
        assert_int_equal(pv_subnet_next(lab.subnet[i], true, "router", &to.ip, NULL), 0);
        assert_non_null(pv_router_add(lab.router, &to, NULL));
    }
    return 0;
}

static int lab_end(void **state)
{
    (void)state;
    pv_router_free(lab.router);
    for (unsigned i = 0; i < NETS; i++) {
        pv_net_free(lab.net[i]);
        pv_subnet_free(lab.subnet[i]);
    }
    pv_loop_free(lab.loop);
    return 0;
}

/* A ping of n bytes from 10.1.0.1 to an address. */
static void ping4(const uint8_t to[static 4], uint8_t ttl, size_t n)
{
    uint8_t f[FRAME] = {0}, *ip = f + 14, *icmp = ip + 20;
    uint16_t sum;

    memcpy(f, router_mac, 6);
    memcpy(f + 6, lab.host[0].mac, 6);
    f[12] = 8;
    ip[0] = 0x45;
    ip[2] = (uint8_t)((20 + n) >> 8);
    ip[3] = (uint8_t)(20 + n);
    ip[8] = ttl;
    ip[9] = 1;
    memcpy(ip + 12, (uint8_t[]){10, 1, 0, 1}, 4);
    memcpy(ip + 16, to, 4);
    sum = pv_sum_end(pv_sum_add(0, ip, 20));
    ip[10] = (uint8_t)(sum >> 8);
    ip[11] = (uint8_t)sum;
    icmp[0] = 8;
    sum = pv_sum_end(pv_sum_add(0, icmp, n));
    icmp[2] = (uint8_t)(sum >> 8);
    icmp[3] = (uint8_t)sum;
    for (unsigned i = 0; i < NETS; i++)
        lab.host[i].n = 0;
    pv_net_send(lab.host[0].end, f, 14 + 20 + n);
}

static void said(const struct host *h, const char *text)
{
    cleanup_buf struct pv_buf out = {0};

    assert_true(h->n > 0);
    assert_int_equal(pv_sum_end(pv_sum_add(0, h->frame + 14, 20)), 0);
    pv_frame_describe(h->frame, h->n, &out);
    assert_string_equal(out.data, text);
}

static void test_forwards(void **state)
{
    (void)state;
    ping4((uint8_t[]){10, 2, 0, 7}, 9, 64);
    said(&lab.host[1], "10.1.0.1 > 10.2.0.7 ICMP echo request, id 0, seq 0, 64 bytes");
    assert_int_equal(lab.host[1].frame[14 + 8], 8);
    ping4((uint8_t[]){10, 2, 0, 254}, 1, 64); /* the router itself, by its other address */
    said(&lab.host[0], "10.2.0.254 > 10.1.0.1 ICMP echo reply, id 0, seq 0, 64 bytes");
    assert_int_equal(lab.host[1].n, 0);
}

static void test_tells(void **state)
{
    (void)state;
    ping4((uint8_t[]){10, 2, 0, 7}, 1, 64);
    said(&lab.host[0], "10.1.0.254 > 10.1.0.1 ICMP time exceeded, code 0");
    assert_int_equal(lab.host[1].n, 0);
    ping4((uint8_t[]){10, 9, 0, 7}, 9, 64);
    said(&lab.host[0], "10.1.0.254 > 10.1.0.1 ICMP destination unreachable, code 0");
    ping4((uint8_t[]){10, 2, 0, 255}, 9, 64); /* no host's */
    said(&lab.host[0], "10.1.0.254 > 10.1.0.1 ICMP destination unreachable, code 0");
    ping4((uint8_t[]){10, 2, 0, 7}, 9, 700);
    said(&lab.host[0], "10.1.0.254 > 10.1.0.1 ICMP destination unreachable, code 4");
    assert_int_equal(lab.host[0].frame[14 + 20 + 6] << 8 | lab.host[0].frame[14 + 20 + 7], 600);
    lab.host[1].silent = true;
    lab.host[1].asked = 0;
    ping4((uint8_t[]){10, 2, 0, 8}, 9, 64);
    assert_int_equal(lab.host[0].n, 0);
    pv_loop_run(lab.loop, NULL, NULL, pv_deadline(3500 * PV_NSEC_PER_MSEC), NULL);
    said(&lab.host[0], "10.1.0.254 > 10.1.0.1 ICMP destination unreachable, code 1");
    assert_int_equal(lab.host[1].asked, 3);
    lab.host[1].silent = false;
}

/* From one network of IPv6 to the same: the router solicits, gets an advertisement, and sends what waits. */
static void test_ip6(void **state)
{
    (void)state;
    uint8_t f[14 + 40 + 8] = {2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 0, 3, 0x86, 0xdd}, *ip = f + 14;
    struct host *h = &lab.host[2];
    cleanup_buf struct pv_buf out = {0};

    ip[0] = 0x60;
    ip[5] = 8;
    ip[6] = 17;
    ip[7] = 5;
    memcpy(ip + 8, (uint8_t[16]){0xfd, 0, 0, 3, [15] = 1}, 16);
    memcpy(ip + 24, (uint8_t[16]){0xfd, 0, 0, 3, [15] = 9}, 16);
    h->n = 0;
    pv_net_send(h->end, f, sizeof(f));
    assert_true(h->n > 0);
    pv_frame_describe(h->frame, h->n, &out);
    assert_non_null(strstr(out.data, "ICMPv6 neighbour solicitation of fd00:3::9"));
    uint8_t na[14 + 40 + 32] = {2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 0, 3, 0x86, 0xdd}, *icmp = na + 54;
    na[14] = 0x60;
    na[14 + 5] = 32;
    na[14 + 6] = 58;
    na[14 + 7] = 255;
    memcpy(na + 14 + 8, ip + 24, 16);
    memcpy(na + 14 + 24, h->frame + 14 + 8, 16);
    icmp[0] = 136;
    icmp[4] = 0x60;
    memcpy(icmp + 8, ip + 24, 16);
    memcpy(icmp + 24, (uint8_t[]){2, 1, 2, 0, 0, 0, 0, 3}, 8);
    uint16_t sum = pv_sum_message(na + 22, na + 38, 16, 58, icmp, 32);
    icmp[2] = (uint8_t)(sum >> 8);
    icmp[3] = (uint8_t)sum;
    pv_net_send(h->end, na, sizeof(na));
    assert_int_equal(h->n, sizeof(f));
    assert_int_equal(h->frame[14 + 7], 4);
    ip[7] = 1;
    pv_net_send(h->end, f, sizeof(f));
    pv_buf_free(&out);
    pv_frame_describe(h->frame, h->n, &out);
    assert_non_null(strstr(out.data, "ICMPv6 time exceeded"));
}

/* Malformed packets: nothing grows, nothing is read beyond a frame (a sanitizer sees it). */
static void test_any_bytes(void **state)
{
    (void)state;
    uint32_t x = 1;

    for (unsigned i = 0; i < 200000; i++) {
        size_t n = 14 + i % 90;
        cleanup_free uint8_t *f = pv_xmalloc(n);

        for (size_t j = 0; j < n; j++) {
            x = x * 1664525 + 1013904223;
            f[j] = (uint8_t)(x >> 24);
        }
        memcpy(f, router_mac, 6);
        static const uint8_t types[][2] = {{8, 0}, {0x86, 0xdd}, {8, 6}};
        memcpy(f + 12, types[i % 3], 2);
        if (n > 34 && i % 2) { /* well enough to be forwarded now and then */
            f[14] = i % 3 ? 0x60 : 0x45;
            f[16] = f[18] = 0;
            f[17] = (uint8_t)(n - 14);
            f[24] = f[25] = 0;
            uint16_t sum = pv_sum_end(pv_sum_add(0, f + 14, 20));
            f[24] = (uint8_t)(sum >> 8);
            f[25] = (uint8_t)sum;
        }
        pv_net_send(lab.host[0].end, f, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_forwards, lab_begin, lab_end),
        cmocka_unit_test_setup_teardown(test_tells, lab_begin, lab_end),
        cmocka_unit_test_setup_teardown(test_ip6, lab_begin, lab_end),
        cmocka_unit_test_setup_teardown(test_any_bytes, lab_begin, lab_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
