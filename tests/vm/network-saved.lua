-- SPDX-License-Identifier: MIT
-- Fixtures, clones and restores of VMs with NICs: each VM is a machine of its own on the network.
local lan = provium.network("lan", {subnet = "10.7.0.0/29", seed = 1})
local a = provium.create(nil, {name = "a"})
a:boot{nets = {lan}, transport = "serial"}

local function ping(from, to)
    return from:exec("ping -c 1 -W 20 " .. to).ok
end

local function refuses(what, fn, ...)
    local ok, err = pcall(fn, ...)
    assert(not ok, what .. ": no error")
    assert_contains(tostring(err), what)
end

test("a clone stays on the network with an address of its own", function()
    local s = a:snapshot()
    local b = a:clone(s)
    local c = a:clone(s)
    assert_eq("10.7.0.1", a:ip(lan))
    assert_eq("10.7.0.2", b:ip(lan))
    assert_eq("10.7.0.3", c:ip(lan))
    assert(a:mac(lan) ~= b:mac(lan) and b:mac(lan) ~= c:mac(lan))
    for _, vm in ipairs{b, c} do
        local text = vm:sh("ip addr show eth0")
        assert_contains(text, vm:mac(lan))
        assert_contains(text, vm:ip(lan) .. "/29")
        assert(not text:contains("10.7.0.1/"), text)
    end
    assert(ping(b, "10.7.0.1") and ping(b, "10.7.0.3") and ping(c, "10.7.0.1") and ping(a, "10.7.0.3"))
    lan:partition(b, c)
    assert(not b:exec("ping -c 1 -W 1 10.7.0.3").ok and ping(a, "10.7.0.3"))
    lan:heal()
    -- The snapshot is a's; restored into its clone, it leaves a and b what they are.
    c:restore(s)
    assert_eq("10.7.0.3", c:ip(lan))
    assert(ping(c, "10.7.0.1") and ping(a, "10.7.0.3"))
    b:kill()
    c:kill()
end)

test("a clone announces its addresses, and is not asked to by its NIC", function()
    local six = provium.network("six", {subnet = "fd00:9::/64"})
    local d = provium.create(nil, {name = "d"})
    d:boot{nets = {lan, six}, transport = "serial"}
    local s = d:snapshot()
    local dir = os.tmpname()
    local captures = {lan:capture(dir .. ".4"), six:capture(dir .. ".6")}
    local b = d:clone(s)
    for _, c in ipairs(captures) do c:close() end
    local function bytes(ext)
        local f = assert(io.open(dir .. ext, "rb"))
        local text = f:read("a")
        f:close()
        os.remove(dir .. ext)
        return text
    end
    local four, sixes = bytes(".4"), bytes(".6")
    os.remove(dir)
    -- VIRTIO_NET_F_GUEST_ANNOUNCE: with it Linux 6.12 locks up when its link goes down within a second of the resume.
    for _, nic in ipairs{"eth0", "eth1"} do
        assert_eq("0", d:read_file("/sys/class/net/" .. nic .. "/device/features"):sub(22, 22))
    end
    local mac = b:mac(lan):gsub("(%x%x):?", function(x) return string.char(tonumber(x, 16)) end)
    local last = tonumber(b:ip(lan):match("%d+$"))
    assert(four:find("\0\1" .. mac .. string.char(10, 7, 0, last), 1, true), "no ARP announcement")
    local target = ("\xfd\0\0\9" .. ("\0"):rep(10)) .. string.pack(">I2", tonumber(b:ip(six):match("%x+$"), 16))
    -- IPv6, 32 bytes of ICMPv6 with hop limit 255, from the address to all nodes; a sum of 0xffff is a right checksum.
    local all_nodes = "\xff\x02" .. ("\0"):rep(13) .. "\1"
    local at = sixes:find("\x60\0\0\0\0\x20\x3a\xff" .. target .. all_nodes .. "\x88\0", 1, true)
    assert(at, "no neighbour advertisement")
    local sum = 32 + 58
    for i = at + 8, at + 71, 2 do sum = sum + string.unpack(">I2", sixes, i) end
    assert_eq(0xffff, (sum & 0xffff) + (sum >> 16))
    assert_eq("\x20\0\0\0" .. target, sixes:sub(at + 44, at + 63)) -- it overrides what is known
    b:kill()
    d:kill()
end)

test("an ended VM's address is given out again, and a restore says so", function()
    local b = a:clone()
    local s = b:snapshot()
    local ip = b:ip(lan)
    b:kill()
    b:restore(s) -- nobody has got it
    assert(ping(a, ip))
    b:kill()
    local other = provium.create(nil, {name = "other"})
    other:boot{nets = {{net = lan, ip = ip}}}
    refuses(ip .. " of subnet", b.restore, b, s)
    refuses("taken by 'other'", b.restore, b, s)
    other:kill()
    b:restore(s)
    assert(ping(a, ip))
    b:kill()
end)

test("a fixture's VMs have NICs of their own", function()
    local x = provium.fixture("lan-user", {nets = {lan}})
    local y = provium.fixture("lan-user", {nets = {{net = lan, name = "lan0", mtu = 1400}}})
    assert(x:ip(lan) ~= y:ip(lan) and x:mac(lan) ~= y:mac(lan))
    assert(ping(x, y:ip(lan)) and ping(y, a:ip(lan)))
    assert_eq("1400", y:sh("cat /sys/class/net/lan0/mtu"):trim())
    assert_eq("1", x:sh("cat /root/ready"):trim())
    -- The addresses of the fixture's script are gone with its network.
    assert(not x:sh("ip addr"):contains("10.99."), "the script's address is still there")
    refuses("10.7.0.77", provium.fixture, "lan-user", {nets = {{net = lan, ip = "10.7.0.77"}}})
    refuses("did you mean", provium.fixture, "lan-user", {net = {lan}})
    x:kill()
    y:kill()
end)

test("VMs of fixtures and clones have the names that they are given", function()
    local named = provium.network("named", {subnet = "10.9.0.0/24", hosts = true})
    local x = provium.fixture("lan-user", {name = "web", nets = {named}})
    local y = x:clone({name = "db.1"})
    assert_eq("web (default): running, db.1 (default): running", tostring(x) .. ", " .. tostring(y))
    assert(ping(x, "db.1") and ping(y, "web"))
    assert_eq("db.1", y:sh("hostname"):trim())
    local seen = false
    for _, d in ipairs(named:stats()) do seen = seen or (d.from == "web" and d.to == "db.1") end
    assert(seen, "no statistics of web to db.1")
    refuses("there is a VM called 'web' already", provium.fixture, "lan-user", {name = "web"})
    refuses("fixture option 'name': a VM's name has 1 to 63", provium.fixture, "lan-user", {name = "a b"})
    refuses("clone option 'name': there is a VM called 'db.1'", x.clone, x, {name = "db.1"})
    y:kill()
    local ok, why = 0, nil
    local function get()
        local made, vm = pcall(provium.fixture, "lan-user", {name = "db.1", nets = {named}})
        ok, why = made and ok + 1 or ok, not made and vm or why
        if made then vm:kill() end -- by then the other one has asked, too
    end
    provium.all({get, get})
    if ok == 1 then assert_contains(why, "there is a VM called 'db.1' already") end
    assert(ok >= 1, why)
    x:kill()
end)

test("a restored VM knows no neighbour of the time when it was saved", function()
    local x = provium.fixture("lan-user", {name = "before", nets = {{net = lan, ip = "10.7.0.6"}}})
    assert(ping(a, "10.7.0.6"))
    local s = a:snapshot()
    x:kill()
    local y = provium.fixture("lan-user", {name = "after", nets = {{net = lan, ip = "10.7.0.6"}}})
    a:restore(s)
    assert(ping(a, "10.7.0.6")) -- one packet, which must not go to the other's MAC
    assert_contains(a:sh("ip neigh show 10.7.0.6"), y:mac(lan))
    y:kill()
end)

test("an unplugged NIC's place is free at once", function()
    local other = provium.network("other", {subnet = "10.8.0.0/30"})
    for _ = 1, 3 do
        a:plug(other)
        assert_eq("10.8.0.1", a:ip(other))
        a:unplug(other)
    end
    local ok = pcall(a.boot, a, {nets = {other}, memory = "1M", cpus = 0})
    assert(not ok)
    a:plug(other)
    assert_eq("10.8.0.1", a:ip(other))
end)
