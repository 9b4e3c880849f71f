/* SPDX-License-Identifier: MIT */
/* Frames in words: well-formed ones, and every cut and every changed byte of them. */
#include "util/test.h"

#include <string.h>

#include "net/describe.h"
#include "util/mem.h"

#define ETHERNET "\xff\xff\xff\xff\xff\xff\x52\x54\x00\x00\x00\x01"
#define IP4(size, protocol) \
    "\x08\x00\x45\x00\x00" size "\x00\x01\x00\x00\x40" protocol "\x00\x00\x0a\x07\x00\x01\x0a\x07\x00\x02"
#define IP6(size, next) \
    "\x86\xdd\x60\x00\x00\x00\x00" size next \
    "\xff\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" \
    "\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"

static const struct {
    const char *frame;
    size_t n;
    const char *text;
} frames[] = {
#define FRAME(bytes, text) \
    { \
        bytes, sizeof(bytes) - 1, text \
    }
    FRAME(ETHERNET "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01\x52\x54\x00\x00\x00\x01\x0a\x07\x00\x01"
                   "\x00\x00\x00\x00\x00\x00\x0a\x07\x00\x02",
          "ARP who has 10.7.0.2, tell 10.7.0.1"),
    FRAME(ETHERNET "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02\x52\x54\x00\x00\x00\x01\x0a\x07\x00\x01"
                   "\x00\x00\x00\x00\x00\x00\x0a\x07\x00\x02",
          "ARP 10.7.0.1 is at 52:54:00:00:00:01"),
    FRAME(ETHERNET IP4("\x1c", "\x01") "\x08\x00\x00\x00\x00\x07\x00\x02",
          "10.7.0.1 > 10.7.0.2 ICMP echo request, id 7, seq 2, 8 bytes"),
    FRAME(ETHERNET IP4("\x1e", "\x11") "\x00\x44\x00\x43\x00\x0a\x00\x00hi",
          "10.7.0.1:68 > 10.7.0.2:67 UDP, 2 bytes"),
    FRAME(ETHERNET IP4(
              "\x28",
              "\x06") "\x9c\x40\x00\x50\x00\x00\x00\x01\x00\x00\x00\x00\x50\x12\xfa\xf0\x00\x00\x00\x00",
          "10.7.0.1:40000 > 10.7.0.2:80 TCP syn ack, seq 1, ack 0, window 64240, 0 bytes"),
    FRAME(ETHERNET IP4("\x18", "\x2f") "\x00\x00\x00\x00", "10.7.0.1 > 10.7.0.2 IP protocol 47, 4 bytes"),
    FRAME(ETHERNET IP6("\x18", "\x3a") "\x87\x00\x00\x00\x00\x00\x00\x00\xfe\x80\x00\x00\x00\x00\x00\x00\x00"
                                       "\x00\x00\x00\x00\x00\x00\x02",
          "fe80::1 > fe80::2 ICMPv6 neighbour solicitation of fe80::2"),
    FRAME(ETHERNET IP6("\x08", "\x11") "\x00\x35\x00\x35\x00\x08\x00\x00",
          "[fe80::1]:53 > [fe80::2]:53 UDP, 0 bytes"),
    FRAME(ETHERNET "\x88\xb5hello", "52:54:00:00:00:01 > ff:ff:ff:ff:ff:ff type 0x88b5, 5 bytes"),
    FRAME(ETHERNET "\x81\x00\x00\x05\x88\xb5",
          "VLAN 5 52:54:00:00:00:01 > ff:ff:ff:ff:ff:ff type 0x88b5, 0 bytes"),
    FRAME("short", "5 bytes, no Ethernet header"),
};

static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        cleanup_buf struct pv_buf out = {0};

        pv_frame_describe((const uint8_t *)frames[i].frame, frames[i].n, &out);
        assert_string_equal(out.data, frames[i].text);
    }
}

/* The copy has exactly the frame's size, so that a sanitizer sees a read beyond it. */
static void describe_copy(const uint8_t *bytes, size_t n)
{
    cleanup_free uint8_t *copy = pv_xmalloc(n ? n : 1);
    cleanup_buf struct pv_buf out = {0};

    memcpy(copy, bytes, n);
    pv_frame_describe(copy, n, &out);
    assert_in_range(out.len, 1, 300);
    for (size_t i = 0; i < out.len; i++)
        assert_in_range((unsigned char)out.data[i], ' ', '~');
}

static void test_any_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        uint8_t bytes[256];

        memcpy(bytes, frames[i].frame, frames[i].n);
        for (size_t n = 0; n <= frames[i].n; n++)
            describe_copy(bytes, n);
        for (size_t at = 0; at < frames[i].n; at++)
            for (unsigned v = 0; v < 256; v++) {
                uint8_t was = bytes[at];

                bytes[at] = (uint8_t)v;
                describe_copy(bytes, frames[i].n);
                bytes[at] = was;
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_any_bytes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
