/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include <string.h>

#include "net/address.h"
#include "util/err.h"

static struct pv_ip ip(const char *text)
{
    struct pv_ip i;
    assert_int_equal(pv_ip_parse(&i, text, NULL), 0);
    return i;
}

static void assert_next(struct pv_subnet *s, bool last, const char *want)
{
    struct pv_ip i;
    char text[PV_IP_TEXT];
    assert_int_equal(pv_subnet_next(s, last, "x", &i, NULL), 0);
    assert_string_equal(pv_ip_text(&i, text), want);
}

static void test_next(void **state)
{
    (void)state;
    struct pv_subnet *s = pv_subnet_new("10.7.0.0/29", NULL);
    assert_non_null(s);
    assert_next(s, false, "10.7.0.1");
    assert_next(s, true, "10.7.0.6");
    struct pv_ip two = ip("10.7.0.2");
    assert_int_equal(pv_subnet_take(s, &two, "b", NULL), 0);
    assert_next(s, false, "10.7.0.3");
    assert_next(s, true, "10.7.0.5");
    assert_next(s, true, "10.7.0.4");
    struct pv_err err = PV_ERR_INIT;
    struct pv_ip none;
    assert_int_equal(pv_subnet_next(s, false, "x", &none, &err), -1);
    assert_string_equal(err.text, "subnet 10.7.0.0/29 has no free address");
    pv_subnet_release(s, &two);
    assert_next(s, true, "10.7.0.2");
    pv_subnet_free(s);
    s = pv_subnet_new("fd00:7::/64", NULL);
    assert_next(s, false, "fd00:7::1");
    assert_next(s, true, "fd00:7::ffff:ffff");
    assert_int_equal(pv_subnet_prefix(s), 64);
    pv_subnet_free(s);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"10.8.0.1", "address 10.8.0.1 is outside of subnet 10.7.0.0/24"},
        {"fd00::1", "address fd00::1 is outside of subnet 10.7.0.0/24"},
        {"10.7.0.0", "address 10.7.0.0 is the address of subnet 10.7.0.0/24 itself"},
        {"10.7.0.255", "address 10.7.0.255 is the broadcast address of subnet 10.7.0.0/24"},
        {"10.7.0.9", "address 10.7.0.9 of subnet 10.7.0.0/24 is taken by 'b'"},
    };
    struct pv_subnet *s = pv_subnet_new("10.7.0.0/24", NULL);
    struct pv_ip nine = ip("10.7.0.9");
    assert_int_equal(pv_subnet_take(s, &nine, "b", NULL), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pv_err err = PV_ERR_INIT;
        struct pv_ip a = ip(cases[i][0]);
        assert_int_equal(pv_subnet_take(s, &a, "c", &err), -1);
        assert_string_equal(err.text, cases[i][1]);
        assert_int_equal(err.cls, PV_E_USAGE);
    }
    pv_subnet_free(s);
}

static void test_texts(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "10.7.0.0",  "10.7.0.0/33",  "10.7.0.0/x",  "10.7.0.0/24x", "10.7.0.1/24",
        "10.7.0/24", "10.7.0.0/31",  "fd00::/63",   "fd00::1/64",   "fd00::/127",
        "",          "/24",          "10.7.0.0/-1", "10.7.0.0/",    "127.0.0.0/8",
        "0.0.0.0/8", "224.0.0.0/24", "fe80::/64",   "ff02::/64",    "::/64"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pv_err err = PV_ERR_INIT;
        assert_null(pv_subnet_new(bad[i], &err));
        assert_non_null(strstr(err.text, "subnet"));
    }
    static const char *const bad_macs[] = {"",
                                           "52:54:00:00:00",
                                           "52:54:00:00:00:0g",
                                           "52:54:00:00:00:1",
                                           "52:54:00:00:00: 9",
                                           "52:54:00:00:00:+9",
                                           "0x:54:00:00:00:09",
                                           "52-54-00-00-00-09",
                                           "x",
                                           "01:00:00:00:00:00",
                                           "00:00:00:00:00:00",
                                           "52:54:00:00:00:001"};
    uint8_t mac[6], other[6];
    for (size_t i = 0; i < sizeof bad_macs / sizeof bad_macs[0]; i++)
        assert_int_equal(pv_mac_parse(mac, bad_macs[i], NULL), -1);
    char text[PV_MAC_TEXT];
    assert_int_equal(pv_mac_parse(mac, "52:54:00:AA:BB:09", NULL), 0);
    assert_string_equal(pv_mac_text(mac, text), "52:54:00:aa:bb:09");
    pv_mac_next(mac);
    pv_mac_next(other);
    assert_memory_not_equal(mac, other, 6);
}

static void test_overlaps(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool overlap;
    } cases[] = {
        {"10.7.0.0/24", "10.7.0.0/24", true},  {"10.7.0.0/24", "10.7.1.0/24", false},
        {"10.0.0.0/8", "10.7.1.0/24", true},   {"10.7.0.0/25", "10.7.0.128/25", false},
        {"10.7.0.0/24", "fd00:7::/64", false}, {"fd00:7::/64", "fd00:7::/96", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pv_subnet *a = pv_subnet_new(cases[i].a, NULL), *b = pv_subnet_new(cases[i].b, NULL);
        assert_int_equal(pv_subnet_overlaps(a, b), cases[i].overlap);
        assert_int_equal(pv_subnet_overlaps(b, a), cases[i].overlap);
        pv_subnet_free(a);
        pv_subnet_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_overlaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
