-- SPDX-License-Identifier: MIT
-- Networks: NICs, addresses, partitions, statistics, over a reset and a restore.
local lan = provium.network("lan", {subnet = "10.7.0.0/24", seed = 1, hosts = true})
local a, b = provium.create(nil, {name = "a"}), provium.create(nil, {name = "b"})

local function ping(from, to)
    return from:exec("ping -c 1 -W 20 " .. to).ok
end

local function refuses(what, fn, ...)
    local ok, err = pcall(fn, ...)
    assert(not ok, what .. ": no error")
    assert(tostring(err):contains(what), tostring(err))
end

a:boot{nets = {lan}, transport = "serial"}
b:boot{nets = {{net = lan, ip = "10.7.0.9", mac = "52:54:00:00:00:09", mtu = 1400, name = "lan0"}}}

test("VMs reach each other", function()
    assert(a:ip(lan) == "10.7.0.1" and b:ip(lan) == "10.7.0.9")
    assert(b:mac(lan) == "52:54:00:00:00:09")
    assert(ping(a, "10.7.0.9") and ping(b, "10.7.0.1"))
    assert(b:exec("cat /sys/class/net/lan0/mtu").stdout:contains("1400"))
    local stats = lan:stats()
    assert(#stats >= 2 and stats[1].sent > 0 and stats[1].from == "a" and stats[1].to == "b")
end)

test("names are in /etc/hosts of all", function()
    assert(ping(a, "b") and ping(b, "a"))
    local text = b:sh("cat /etc/hosts")
    assert_contains(text, "localhost")
    assert_contains(text, "10.7.0.1\ta")
    a:reset("3m")
    assert(ping(a, "b"))
    local c = a:clone()
    c:sh("grep -q '" .. c:ip(lan) .. ".*vm' /etc/hosts")
    b:sh("grep -q '" .. c:ip(lan) .. ".*vm' /etc/hosts")
    assert_eq("3", b:sh("grep -c provium /etc/hosts"):trim())
    c:kill()
end)

test("a partition, one way and both, ends with heal", function()
    defer(function() lan:heal() end)
    lan:partition(a, b)
    assert(not a:exec("ping -c 1 -W 1 10.7.0.9").ok)
    lan:heal(a, b)
    assert(ping(a, "10.7.0.9"))
    lan:partition{from = b, to = a}
    assert(not a:exec("ping -c 1 -W 1 10.7.0.9").ok)
    lan:heal()
    assert(ping(a, "10.7.0.9"))
    lan:isolate(b)
    assert(not a:exec("ping -c 1 -W 1 10.7.0.9").ok)
    a:reset("3m")
    assert(a:ip(lan) == "10.7.0.1" and not a:exec("ping -c 1 -W 1 10.7.0.9").ok)
    lan:heal()
    assert(ping(a, "10.7.0.9"))
end)

test("a restore is the same machine on the network", function()
    local s = a:snapshot()
    a:restore(s)
    assert(ping(a, "10.7.0.9") and ping(b, a:ip(lan)))
end)

test("NICs are plugged in and unplugged", function()
    local other = provium.network("other")
    a:plug(other)
    b:plug(other, {ip = "10.7.1.77"})
    assert(ping(a, "10.7.1.77") and ping(b, a:ip(other)))
    local third = provium.network("third")
    a:plug(third)
    b:plug(third)
    assert(a:ip(third) ~= b:ip(third) and ping(a, b:ip(third)))
    refuses("an interface called 'lan0' already", b.plug, b, provium.network("fourth"), {name = "lan0"})
    b:unplug(other)
    refuses("has no NIC on network 'other'", b.ip, b, other)
end)

test("an agent that is slow has the time that the test gives it", function()
    local slow = provium.network("slow")
    a:sh("agents=$(grep -l '^provium-agent' /proc/[0-9]*/comm | cut -d/ -f3); (sleep 1; kill -STOP $agents; sleep 5;"
        .. " kill -CONT $agents) >/dev/null 2>&1 </dev/null &")
    provium.sleep("2s")
    local start = provium.now()
    refuses("timed out", a.plug, a, slow, {timeout = "1s"})
    assert(provium.now() - start < 20)
    a:unplug(slow, "2m")
    a:plug(slow, {timeout = "2m"})
    assert_contains(a:sh("ip addr"), a:ip(slow))
    a:unplug(slow)
end)

test("a VM gets the MAC of one that has ended", function()
    local nic = {net = lan, mac = "52:54:00:00:00:77", ip = "10.7.0.77"}
    for _ = 1, 2 do
        local c = provium.fixture("lan-user", {nets = {nic}})
        assert_eq("52:54:00:00:00:77", c:mac(lan))
        refuses("is taken on network 'lan'", provium.fixture, "lan-user", {nets = {nic}})
        c:kill()
    end
end)

test("a carrier goes down and up", function()
    local nic = a:nic(lan)
    nic:down()
    a:wait_until(function() return a:exec("cat /sys/class/net/eth0/carrier").stdout:trim() == "0" end,
        {timeout = 60, desc = "no carrier"})
    assert(not b:exec("ping -c 1 -W 1 " .. a:ip(lan)).ok)
    nic:up()
    assert(ping(b, a:ip(lan)))
    refuses("has no NIC", a.nic, a, provium.network("none"))
end)

test("bad options", function()
    local c = provium.create()
    refuses("10.8.0.1", c.boot, c, {nets = {{net = lan, ip = "10.8.0.1"}}})
    refuses("10.7.0.9", c.boot, c, {nets = {{net = lan, ip = "10.7.0.9"}}})
    refuses("52:54:00:00:00:09", c.boot, c, {nets = {{net = lan, mac = "52:54:00:00:00:09"}}})
    refuses("did you mean", c.boot, c, {nets = {{net = lan, nam = "x"}}})
    for _, nets in ipairs{{{net = lan, name = "lo"}}, {{net = lan, name = "x0"}, {net = lan, name = "x0"}}} do
        refuses("already", c.boot, c, {nets = nets})
    end
    assert_eq("not booted", c:state())
    refuses("already", provium.network, "lan")
    refuses("subnet", provium.network, "x", {subnet = "10.7.0.1"})
    refuses("has no NIC", lan.partition, lan, a, c)
end)
