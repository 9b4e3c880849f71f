/* SPDX-License-Identifier: MIT */
/* provium.net, in a real Lua state. */
#include "lua/script-test.h"

#define ETH "eth = {dst = '52:54:00:00:00:01', src = '52:54:00:00:00:09'}"

static const struct bad_call bad[] = {
    {"provium.net.build()", "provium.net.build needs a table of layers, got nil"},
    {"provium.net.build{}", "provium.net.build needs the layer 'eth'"},
    {"provium.net.build{eth = {}}", "provium.net.build: layer 'eth' needs 'dst'"},
    {"provium.net.build{ether = {}}", "provium.net.build: no layer is called 'ether'; there are eth, arp, "
                                      "ipv4, ipv6, udp, tcp, icmp, icmpv6, and "
                                      "payload and trailer"},
    {"provium.net.build{" ETH ", payload = 'x'}", "provium.net.build: layer 'eth' needs 'type'"},
    {"provium.net.build{eth = {dst = 'x', src = 'y'}}",
     "provium.net.build: eth.dst must be a MAC such as \"52:54:00:00:00:09\", got x"},
    {"provium.net.build{" ETH ", ipv4 = {src = 'fd00::1', dst = '10.0.0.1'}, udp = {}}",
     "provium.net.build: layer 'udp' needs 'src_port'"},
    {"provium.net.build{" ETH ", ipv4 = {src = 'fd00::1', dst = '10.0.0.1', protocol = 1}}",
     "provium.net.build: ipv4.src must be an IPv4 address such as \"10.7.0.9\", got fd00::1"},
    {"provium.net.build{" ETH ", udp = {src_port = 65536, dst_port = 1}}",
     "provium.net.build: udp.src_port must be an integer from 0 to 65535, got 65536"},
    {"provium.net.build{" ETH ", tcp = {src_port = 1, dst_port = 1, flags = 'SX'}}",
     "provium.net.build: tcp.flags must be letters of \"FSRPAUEC\", such as \"SA\", got SX"},
    {"provium.net.build{" ETH ", udp = {port = 1}}",
     "provium.net.build: layer 'udp' has no field 'port'; its fields: checksum, dst_port, length, src_port"},
    {"provium.net.build{" ETH ", udp = 'x'}", "provium.net.build: layer 'udp' must be a table, got string"},
    {"provium.net.build{" ETH ", payload = 1}", "provium.net.build: 'payload' must be a string, got number"},
    {"provium.net.parse('short')",
     "provium.net.parse needs a frame, a string of at least 14 bytes, got 5 bytes"},
    {"provium.net.parse()", "provium.net.parse needs a frame, a string of at least 14 bytes, got nil"},
    {"provium.net.checksum(1)", "provium.net.checksum needs a string, got number"},
};

static void test_refused(void **state)
{
    (void)state;
    refuses(bad, PV_ARRAY_LEN(bad));
}

/* Frames that Linux has sent, byte by byte. */
static void test_build(void **state)
{
    (void)state;
    passes(
        "local net = provium.net\n"
        "local function hex(s) return (s:gsub('.', function(c) return ('%02x'):format(c:byte()) end)) end\n"
        "assert_eq('5254000000015254000000090806000108000604000152540000000"
        "90a0700090000000000000a070001',\n"
        "  hex(net.build{" ETH
        ", arp = {op = 1, sender_mac = '52:54:00:00:00:09', sender_ip = '10.7.0.9', target_ip "
        "= '10.7.0.1'}}))\n"
        "local ping = net.build{" ETH
        ", ipv4 = {src = '10.7.0.9', dst = '10.7.0.1', flags = 2, id = 0x1c46},\n"
        "  icmp = {type = 8, id = 1, seq = 2}, payload = 'abc'}\n"
        "assert_eq(0, net.checksum(ping:sub(15, 34))) assert_eq(0, net.checksum(ping:sub(35)))\n"
        "assert_eq('4500001f1c464000"
        "4001', hex(ping:sub(15, 24)))\n"
        /* RFC 1071, section 3 */
        "assert_eq(0xffff - 0xddf2, net.checksum('\\x00\\x01\\xf2\\x03\\xf4\\xf5\\xf6\\xf7'))\n"
        "for _, l in ipairs{{ipv4 = {src = '1.2.3.4', dst = '5.6.7.8'}}, {ipv6 = {src = 'fd00::1', dst = "
        "'fd00::2'}}} do\n"
        "  l.eth = {dst = 'ff:ff:ff:ff:ff:ff', src = '52:54:00:00:00:09', vlan = 5}\n"
        "  l.udp = {src_port = 68, dst_port = 67} l.payload = 'xyz'\n"
        "  local f = net.parse(net.build(l)) assert_eq(5, f.eth.vlan) assert_eq(11, f.udp.length) "
        "assert_eq('xyz', f.payload)\n"
        "  l.udp = nil l.tcp = {src_port = 1, dst_port = 2, seq = 4294967295, flags = 'SA', options = "
        "'\\2\\4\\5\\xb4'}\n"
        "  f = net.parse(net.build(l)) assert_eq('SA', f.tcp.flags) assert_eq(4294967295, f.tcp.seq)\n"
        "  l.tcp = nil l[l.ipv4 and 'icmp' or 'icmpv6'] = {type = 128, rest = 'abcd'}\n"
        "  assert_eq(l.payload, net.parse(net.build(l)).payload) end\n");
}

/* build(parse(x)) is x, for frames that are right and for any bytes; parse raises for none of them. */
static void test_round_trip(void **state)
{
    (void)state;
    passes(
        "local net = provium.net math.randomseed(7)\n"
        "local good = {net.build{" ETH
        ", arp = {op = 2, sender_mac = '52:54:00:00:00:09', sender_ip = '1.2.3.4', "
        "target_ip = '4.3.2.1'}, trailer = ('\\0'):rep(18)}}\n"
        "for _, ip in ipairs{'ipv4', 'ipv6'} do for _, t in ipairs{'udp', 'tcp', 'icmp', 'icmpv6'} do\n"
        "  local a = ip == 'ipv4' and '10.7.0.9' or 'fd00::9'\n"
        "  good[#good + 1] = net.build{" ETH ", [ip] = {src = a, dst = a}, trailer = 'pad',\n"
        "    [t] = t:find('icmp') and {type = 8} or {src_port = 1, dst_port = 2}, payload = "
        "('x'):rep(math.random(0, 99))}\n"
        "end end\n"
        "local n = 0\n"
        "for _, g in ipairs(good) do assert_eq(g, net.build(net.parse(g)))\n"
        "  for cut = 14, #g do local s = g:sub(1, cut) assert_eq(s, net.build(net.parse(s))) n = n + 1 end\n"
        "  for _ = 1, 2000 do local at, s = math.random(13, #g), nil\n"
        "    s = g:sub(1, at - 1) .. string.char(math.random(0, 255)) .. g:sub(at + 1)\n"
        "    assert_eq(s, net.build(net.parse(s))) n = n + 1 end end\n"
        "assert(n > 18000)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_build),
                                       cmocka_unit_test(test_round_trip)};

    return cmocka_run_group_tests(tests, script_set_up, script_tear_down);
}
