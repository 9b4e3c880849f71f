-- SPDX-License-Identifier: MIT
-- A router of the harness between networks: default routes, forwarding, ICMP, impairments of a route.
local lan1 = provium.network("lan1", {subnet = "10.1.0.0/24"})
local lan2 = provium.network("lan2", {subnet = "10.2.0.0/24", mtu = 1400})
local a, b = provium.create(nil, {name = "a"}), provium.create(nil, {name = "b"})
a:boot{nets = {lan1}, transport = "serial"} -- before there is a router
local router = provium.router{lan1, lan2}
b:boot{nets = {lan2}}

local function ping(from, to, more)
    return from:exec("ping -c 1 " .. (more or "-W 20") .. " " .. to)
end

-- The ICMPv6 errors ("type/code") that a MAC sent, of a capture's bytes.
local function errors_of(bytes, mac)
    local told, at = {}, 1
    while at <= #bytes do
        local kind, size = ("<I4I4"):unpack(bytes, at)
        if kind == 6 then
            local n = ("<I4"):unpack(bytes, at + 20)
            local f = provium.net.parse(bytes:sub(at + 28, at + 27 + n))
            if f.icmpv6 and f.eth.src == mac then told[("%d/%d"):format(f.icmpv6.type, f.icmpv6.code)] = true end
        end
        at = at + size
    end
    return told
end

test("VMs of two networks reach each other", function()
    assert_eq("10.1.0.254", router:ip(lan1))
    assert_contains(a:sh("ip route"), "default via 10.1.0.254")
    assert(ping(a, b:ip(lan2)).ok and ping(b, a:ip(lan1)).ok)
    assert(ping(a, "10.2.0.254").ok)
    a:reset()
    assert(ping(a, b:ip(lan2)).ok)
end)

test("a clone and a restore have the route, too", function()
    local s = a:snapshot()
    local c = a:clone(s)
    assert(ping(c, b:ip(lan2)).ok and ping(b, c:ip(lan1)).ok)
    c:kill()
    a:restore(s)
    assert(ping(a, b:ip(lan2)).ok)
end)

test("a packet that cannot be forwarded is told of", function()
    local capture = lan1:capture()
    assert(not ping(a, "10.9.0.1", "-W 1").ok)
    assert(not ping(a, "10.2.0.77", "-W 5").ok)
    assert(not ping(a, b:ip(lan2), "-t 1 -W 1").ok)
    capture:close()
    local text = capture:stream():read()
    assert(#text > 100)
    local n = 0
    for _, s in ipairs(lan1:stats()) do
        if s.from == "router1" then n = s.sent end
    end
    assert(n >= 3, n)
end)

test("a route can be impaired and cut", function()
    lan2:partition(router, b)
    assert(not b:exec("ping -c 1 -W 1 10.1.0.1").ok)
    lan2:heal()
    assert(ping(a, b:ip(lan2)).ok)
    lan2:impair{from = router, to = b, latency = "300ms"}
    local ms = tonumber(ping(a, b:ip(lan2)).stdout:match("time=([%d.]+)"))
    assert(ms and ms >= 300, ms)
    lan2:clear()
end)

test("IPv6 is routed, too", function()
    local six1, six2 = provium.network("six1", {subnet = "fd00:1::/64"}), provium.network("six2", {subnet = "fd00:2::/64", mtu = 1400})
    a:plug(six1)
    local router6 = provium.router{six1, six2}
    b:plug(six2) -- after there is a router
    assert_contains(a:sh("ip -6 route"), "default via " .. router6:ip(six1))
    assert_contains(b:sh("ip -6 route"), "default via " .. router6:ip(six2))
    local function ping6(to, more) return a:exec(("ping6 %s %s"):format(more or "-c 1 -W 20", to)) end
    a:wait_until(function() return ping6(b:ip(six2), "-c 1 -W 5").ok end, {timeout = 60, desc = "b's address"})
    assert(ping6(router6:ip(six2)).ok)
    local capture = six1:capture()
    -- larger than the next network: the router tells, and the kernel makes fragments
    assert(ping6(b:ip(six2), "-c 5 -W 20 -s 1390").ok)
    assert(not ping6("fd00:9::1", "-c 1 -W 1").ok)
    local p = six1:port{}
    p:send(provium.net.build{eth = {dst = router6:mac(six1), src = p:mac()},
        ipv6 = {src = p:ip(), dst = b:ip(six2), hop_limit = 1}, icmpv6 = {type = 128}, payload = "expired"})
    p:close()
    assert(not ping6("fd00:2::77", "-c 1 -W 10").ok)
    capture:close()
    local told = errors_of(capture:stream():read(), router6:mac(six1))
    for _, what in ipairs{"2/0", "1/0", "3/0", "1/3"} do assert(told[what], what .. " was not told") end
    six2:impair{from = router6, to = b, latency = "300ms"}
    local ms = tonumber(ping6(b:ip(six2)).stdout:match("time=([%d.]+)"))
    assert(ms and ms >= 300, ms)
    six2:clear()
    six1:partition(router6, a)
    assert(not ping6(b:ip(six2), "-c 1 -W 1").ok)
    six1:heal()
    a:reset()
    a:wait_until(function() return ping6(b:ip(six2), "-c 1 -W 5").ok end, {timeout = 60, desc = "a's address"})
end)

test("of two routers the first is the default route", function()
    local second = provium.router{lan1, provium.network("lan3")}
    assert_eq("10.1.0.253", second:ip(lan1))
    local c = a:clone()
    for _, vm in ipairs{a, c} do
        local routes = vm:sh("ip route")
        assert_contains(routes, "default via 10.1.0.254")
        assert(not routes:find(second:ip(lan1), 1, true), routes)
    end
    c:kill()
end)

test("bad arguments", function()
    local function refuses(what, ...)
        local ok, err = pcall(...)
        assert(not ok, what)
        assert_contains(tostring(err), what)
    end
    refuses("list of 2 to", provium.router, {lan1})
    refuses("named twice", provium.router, {lan1, lan1})
    refuses("needs a network", provium.router, {lan1, 7})
    refuses("10.1.0.254", provium.router, {lan2, {net = lan1, ip = "10.1.0.254"}})
    refuses("not on network 'other'", router.ip, router, provium.network("other"))
end)
