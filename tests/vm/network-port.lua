-- SPDX-License-Identifier: MIT
-- The test as a peer on a network: ports, impairments, captures.
local lan = provium.network("lan", {subnet = "10.7.0.0/24", seed = 7})
local a = provium.create(nil, {name = "a"})
a:boot{nets = {lan}, memory = "128M"}

local function direction(from, to)
    for _, d in ipairs(lan:stats()) do
        if d.from == from and d.to == to then return d end
    end
end

test("a port answers ARP, ping and neighbour solicitations", function()
    local p = lan:port{name = "peer"}
    assert_eq("10.7.0.254", p:ip())
    local r = a:exec("ping -c 2 -W 20 10.7.0.254")
    assert(r.ok, r.stdout)
    local mac = {p:mac():match("(%x%x):(%x%x):(%x%x):(%x%x):(%x%x):(%x%x)")}
    local address = ("fe80::%02x%s:%sff:fe%s:%s%s"):format(tonumber(mac[1], 16) ~ 2, table.unpack(mac, 2))
    a:wait_until(function() return a:exec("ping6 -c 1 -W 5 " .. address .. "%eth0").ok end,
        {timeout = 60, desc = "a reply from " .. address .. ", once the guest's own address is no longer tentative"})
    p:close()
    assert_error(function() p:send("x") end, "was closed")
end)

test("frames go both ways, and handlers serve while a call waits", function()
    local p = lan:port{ip = false, name = "echo"}
    assert_eq(nil, p:ip())
    local seen = 0
    p:on(function(frame)
        local f = provium.net.parse(frame)
        if f.arp and f.arp.target_ip == "10.7.0.200" then
            seen = seen + 1
            p:send(provium.net.build{eth = {dst = f.eth.src, src = p:mac()}, arp = {op = 2, sender_mac = p:mac(),
                sender_ip = "10.7.0.200", target_mac = f.arp.sender_mac, target_ip = f.arp.sender_ip}})
        elseif f.icmp and f.icmp.type == 8 then
            seen = seen + 1
            f.eth.src, f.eth.dst = f.eth.dst, f.eth.src
            f.ipv4.src, f.ipv4.dst = f.ipv4.dst, f.ipv4.src
            f.icmp.type, f.icmp.checksum = 0, nil
            p:send(provium.net.build(f))
        end
    end)
    local r = a:exec("ping -c 2 -W 20 10.7.0.200")
    assert(r.ok, r.stdout)
    assert(seen >= 3, seen)
    assert_error(function() p:recv(0) end, "go to the function")
    p:on(nil)
    assert_eq(nil, p:recv(0))
    p:close()
end)

test("wrong calls say what is right", function()
    local p = lan:port()
    local ok = pcall(function() p:on(1) end)
    assert(not ok)
    assert_error(function() p:send("short") end, "frames of 14 to 1514 bytes")
    assert_error(function() lan:port{ip = "10.8.0.1"} end, "outside of subnet")
    assert_error(function() lan:port{ip = p:ip()} end, "is taken by 'port")
    assert_error(function() lan:port{ip = "10.7"} end, "port option 'ip': '10.7' is not an IP address")
    assert_error(function() lan:port{ip = "10.7.0.9\0"} end, "port option 'ip'")
    assert_error(function() lan:port{mac = "zz"} end, "option 'mac': 'zz' is not a MAC address")
    assert_error(function() lan:impair{from = "a"} end, "impair option 'from' needs VMs, ports")
    assert_error(function() lan:impair{from = p, to = p, loss = 1} end, "both " .. "port")
    assert_error(function() lan:partition{from = p} end, "needs both options 'from' and 'to'")
    assert_error(function() lan:partition{from = p, to = p} end, "two different")
    p:close()
end)

test("impairments are counted and taken back", function()
    local p = lan:port{name = "far"}
    lan:impair{from = a, to = p, loss = 1}
    assert(not a:exec("ping -c 1 -W 1 " .. p:ip()).ok)
    assert(direction("a", "far").lost > 0)
    lan:clear{from = a, to = p}
    lan:impair{latency = "40ms"}
    local r = a:exec("ping -c 2 -W 20 " .. p:ip())
    assert(r.ok, r.stdout)
    assert(tonumber(r.stdout.value:match("= ([%d.]+)/")) >= 80, r.stdout)
    lan:clear()
    lan:partition(a, p)
    assert(not a:exec("ping -c 1 -W 1 " .. p:ip()).ok)
    lan:heal(a, p)
    assert(a:exec("ping -c 1 -W 20 " .. p:ip()).ok)
    lan:isolate(a)
    assert(not a:exec("ping -c 1 -W 1 " .. p:ip()).ok)
    lan:heal(a)
    assert(a:exec("ping -c 1 -W 20 " .. p:ip()).ok)
    p:close()
end)

test("a capture has each frame with its fate", function()
    local p, path = lan:port{name = "sink"}, os.tmpname()
    local file, stream = lan:capture(path), lan:capture()
    local s = stream:stream()
    lan:impair{from = a, to = p, loss = 1}
    a:exec("ping -c 1 -W 1 " .. p:ip())
    lan:clear()
    assert(a:exec("ping -c 1 -W 20 " .. p:ip()).ok)
    file:close()
    stream:close()
    local f = assert(io.open(path, "rb"))
    local bytes = f:read("a")
    f:close()
    os.remove(path)
    assert(bytes:starts_with("\x0a\x0d\x0d\x0a"))
    assert_contains(bytes, "provium: lost to sink")
    assert_contains(bytes, "provium: delivered to a")
    assert_eq(bytes, s:read())
    p:close()
end)
