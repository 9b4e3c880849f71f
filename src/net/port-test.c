/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "net/answer.h"
#include "net/checksum.h"
#include "net/describe.h"
#include "net/network.h"
#include "net/port.h"
#include "util/err.h"
#include "util/mem.h"

/* A request to 10.7.0.9 from 10.7.0.1, as Linux's ping sends it. */
static const uint8_t arp_request[] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, /* Ethernet */
    0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0, 0, 0, 1, 10, 7, 0, 1, 0, 0, 0, 0, 0, 0, 10, 7, 0, 9,
};
static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};

static struct pv_answerer answerer(void)
{
    struct pv_answerer a = {.local = pv_ip_link_local(mac)};
    memcpy(a.mac, mac, 6);
    assert_int_equal(pv_ip_parse(&a.ip, "10.7.0.9", NULL), 0);
    return a;
}

static void test_arp(void **state)
{
    (void)state;
    static const uint8_t want[] = {
        2, 0, 0, 0, 0, 1, 2, 0,  0, 0, 0, 9, 8, 6, 0, 1, 8, 0,  6, 4, 0,
        2, 2, 0, 0, 0, 0, 9, 10, 7, 0, 9, 2, 0, 0, 0, 0, 1, 10, 7, 0, 1,
    };
    const struct pv_answerer a = answerer();
    uint8_t reply[256], other[sizeof arp_request];
    assert_int_equal(pv_answer(&a, arp_request, sizeof arp_request, reply, sizeof reply), sizeof want);
    assert_memory_equal(reply, want, sizeof want);
    for (size_t n = 0; n < sizeof arp_request; n++)
        assert_int_equal(pv_answer(&a, arp_request, n, reply, sizeof reply), 0);
    memcpy(other, arp_request, sizeof other);
    memcpy(other, "\x02\0\0\0\0\x08", 6); /* to another MAC */
    assert_int_equal(pv_answer(&a, other, sizeof other, reply, sizeof reply), 0);
    memcpy(other, arp_request, sizeof other);
    other[sizeof other - 1] = 8;
    assert_int_equal(pv_answer(&a, other, sizeof other, reply, sizeof reply), 0);
}

static size_t echo_frame(uint8_t *f, size_t payload)
{
    const uint8_t head[] = {2, 0,  0, 0, 0, 9,  2, 0, 0, 0,  0, 1, 8, 0, 0x45, 0, 0, 0, 1, 2, 0x40,
                            0, 64, 1, 0, 0, 10, 7, 0, 1, 10, 7, 0, 9, 8, 0,    0, 0, 1, 2, 0, 1};
    size_t n = sizeof head + payload, total = n - 14;
    memcpy(f, head, sizeof head);
    memset(f + sizeof head, 0x5a, payload);
    f[16] = (uint8_t)(total >> 8);
    f[17] = (uint8_t)total;
    uint16_t header = pv_sum_end(pv_sum_add(0, f + 14, 20)), sum = pv_sum_end(pv_sum_add(0, f + 34, n - 34));
    f[24] = (uint8_t)(header >> 8);
    f[25] = (uint8_t)header;
    f[36] = (uint8_t)(sum >> 8);
    f[37] = (uint8_t)sum;
    return n;
}

static void test_ping(void **state)
{
    (void)state;
    const struct pv_answerer a = answerer();
    uint8_t f[2000], reply[2000];
    static const size_t payloads[] = {0, 1, 56, 1001};
    for (size_t i = 0; i < PV_ARRAY_LEN(payloads); i++) {
        size_t n = echo_frame(f, payloads[i]);
        assert_int_equal(pv_answer(&a, f, n, reply, sizeof reply), n);
        assert_memory_equal(reply, f + 6, 6);
        assert_memory_equal(reply + 6, mac, 6);
        assert_memory_equal(reply + 26, f + 30, 4);
        assert_int_equal(reply[34], 0);
        assert_int_equal(pv_sum_end(pv_sum_add(0, reply + 14, 20)), 0);
        assert_int_equal(pv_sum_end(pv_sum_add(0, reply + 34, n - 34)), 0);
        assert_memory_equal(reply + 38, f + 38, n - 38);
        for (size_t cut = 0; cut < n; cut++)
            assert_int_equal(pv_answer(&a, f, cut, reply, sizeof reply), 0);
        f[24] ^= 1;
        assert_int_equal(pv_answer(&a, f, n, reply, sizeof reply), 0);
        f[24] ^= 1;
        f[36] ^= 1;
        assert_int_equal(pv_answer(&a, f, n, reply, sizeof reply), 0);
    }
}

/* RFC 4861: a solicitation for the link-local address; the checksum of the reply holds. */
static void test_solicitation(void **state)
{
    (void)state;
    const struct pv_answerer a = answerer();
    uint8_t f[14 + 40 + 24] = {0x33, 0x33, 0xff, 0,    0,    9,    2,         0,  0,
                               0,    0,    1,    0x86, 0xdd, 0x60, [19] = 24, 58, 255};
    uint8_t reply[256];
    const struct pv_ip from = pv_ip_link_local((const uint8_t[]){2, 0, 0, 0, 0, 1});
    memcpy(f + 22, from.addr, 16);
    memcpy(f + 38, a.local.addr, 16);
    f[54] = 135;
    memcpy(f + 62, a.local.addr, 16);
    uint16_t sum = pv_sum_message(f + 22, f + 38, 16, 58, f + 54, 24);
    f[56] = (uint8_t)(sum >> 8);
    f[57] = (uint8_t)sum;
    assert_int_equal(pv_answer(&a, f, sizeof f, reply, sizeof reply), 14 + 40 + 32);
    assert_int_equal(reply[54], 136);
    assert_int_equal(reply[58], 0x60);
    assert_memory_equal(reply + 38, from.addr, 16);
    assert_memory_equal(reply + 80, mac, 6);
    assert_int_equal(pv_sum_message(reply + 22, reply + 38, 16, 58, reply + 54, 32), 0);
    f[57] ^= 1;
    assert_int_equal(pv_answer(&a, f, sizeof f, reply, sizeof reply), 0);
}

/* An end with an IPv6 address tells all nodes its MAC, as one with an IPv4 address does by ARP. */
static void test_announcement(void **state)
{
    (void)state;
    struct pv_answerer a = answerer();
    uint8_t f[PV_ANNOUNCE_MAX];
    cleanup_buf struct pv_buf text = {0};
    assert_int_equal(pv_ip_parse(&a.ip, "fd00:7::9", NULL), 0);
    assert_int_equal(pv_announce(&a, f), PV_ANNOUNCE_MAX);
    assert_memory_equal(f, "\x33\x33\0\0\0\1", 6);
    assert_memory_equal(f + 6, mac, 6);
    pv_frame_describe(f, sizeof f, &text);
    assert_string_equal(text.data, "fd00:7::9 > ff02::1 ICMPv6 neighbour advertisement of fd00:7::9");
    assert_int_equal(f[14 + 7], 255);
    assert_memory_equal(f + 54 + 24, "\2\1", 2);
    assert_memory_equal(f + 54 + 26, mac, 6);
    assert_int_equal(pv_sum_message(f + 22, f + 38, 16, 58, f + 54, 32), 0);
    a.ip = (struct pv_ip){.n = 0};
    assert_int_equal(pv_announce(&a, f), 0);
}

static void test_port(void **state)
{
    (void)state;
    struct pv_loop *loop = pv_loop_new(NULL);
    struct pv_net *net = pv_net_new(loop, &(struct pv_net_opts){.name = "lan"});
    const struct pv_answerer a = answerer();
    struct pv_port *q = pv_port_new(net, "q", (const uint8_t[]){2, 0, 0, 0, 0, 1}, &(struct pv_ip){0}, NULL);
    struct pv_port *p = pv_port_new(net, "p", mac, &a.ip, NULL);
    size_t n;
    const uint8_t *hello = pv_port_take(q, &n); /* p announces itself */
    assert_non_null(hello);
    assert_int_equal(n, 42);
    assert_memory_equal(hello + 22, mac, 6);
    assert_memory_equal(hello + 28, hello + 38, 4);
    pv_port_send(q, arp_request, sizeof arp_request);
    assert_false(pv_port_has(p)); /* it has replied */
    assert_true(pv_port_has(q));
    const uint8_t *f = pv_port_take(q, &n);
    assert_non_null(f);
    assert_int_equal(n, 42);
    assert_int_equal(f[21], 2);
    assert_null(pv_port_take(q, &n));
    uint8_t frame[60] = {2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
    for (unsigned i = 0; i < PV_PORT_FRAMES + 7; i++)
        pv_port_send(q, frame, sizeof frame);
    assert_int_equal(pv_port_dropped(p), 7);
    for (unsigned i = 0; i < PV_PORT_FRAMES; i++)
        assert_non_null(pv_port_take(p, &n));
    assert_null(pv_port_take(p, &n));
    pv_port_send(q, frame, sizeof frame);
    pv_port_free(p);
    pv_net_free(net); /* q with it */
    pv_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arp),          cmocka_unit_test(test_ping), cmocka_unit_test(test_solicitation),
        cmocka_unit_test(test_announcement), cmocka_unit_test(test_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
