-- SPDX-License-Identifier: MIT
-- Networks without a VM: wrong arguments of each call, addresses and MACs that nobody has twice, partitions between ports.
local lan = provium.network("lan", {subnet = "10.7.0.0/24", seed = 1})
local a, b = lan:port{name = "a"}, lan:port{name = "b"}
local c = lan:port{name = "c", mac = "52:54:00:AA:00:09", ip = "10.7.0.20"}

-- Calls the method of an object (provium's: nil) with arguments; its error has the words.
local function refuses(words, object, method, ...)
    local ok, err = pcall((object or provium)[method], ...)
    assert(not ok, ("%s took what it should refuse (%s)"):format(method, words))
    assert_contains(tostring(err), words)
end

local function frame(from, to, text)
    return provium.net.build{eth = {dst = to and to:mac() or "ff:ff:ff:ff:ff:ff", src = from:mac(), type = 0x88b5},
        payload = text or "hello"}
end

local function drain(...)
    for _, p in ipairs{...} do
        while p:recv(0) do end
    end
end

-- Whether a frame of `from` arrives at `to`.
local function gets(from, to)
    drain(to)
    from:send(frame(from, to))
    return to:recv(0) ~= nil
end

test("ports have addresses from the end of the subnet, and MACs in lower case", function()
    assert_eq("10.7.0.254", a:ip())
    assert_eq("10.7.0.253", b:ip())
    assert_eq("52:54:00:aa:00:09", c:mac())
end)

test("no end gets the MAC of another one", function()
    local named = provium.network("named")
    local probe = named:port()
    local last = tonumber(probe:mac():gsub(":", ""), 16)
    -- The next MAC that the process would give by itself is a NIC's already.
    local text = ("%012x"):format(last + 1):gsub("(%x%x)", "%1:"):sub(1, 17)
    local own, seen = named:port{mac = text}, {[probe:mac()] = true}
    local other = provium.network("named2")
    local router = provium.router{named, other}
    for _, mac in ipairs{own:mac(), router:mac(named), named:port():mac(), named:port():mac()} do
        assert(not seen[mac], mac .. " twice")
        seen[mac] = true
    end
    refuses("mac " .. text .. " is taken on network 'named', by 'port2'", named, "port", named, {mac = text})
    refuses("is taken on network 'named', by 'router1'", named, "port", named, {mac = router:mac(named)})
    refuses("is taken on network 'lan', by 'c'", lan, "port", lan, {mac = c:mac():upper()})
    named:port{mac = "52:55:0a:00:00:01"}:close() -- free again
    named:port{mac = "52:55:0a:00:00:01"}
end)

test("a network's own subnet is no other network's", function()
    provium.network("third", {subnet = "10.7.4.0/22"})
    local nets = {provium.network("x"), provium.network("y"), provium.network("z"), provium.network("u"),
        provium.network("v")}
    local seen = {["10.7.0"] = true, ["10.7.4"] = true, ["10.7.5"] = true, ["10.7.6"] = true, ["10.7.7"] = true}
    for _, net in ipairs(nets) do
        local three = net:port():ip():match("^(%d+%.%d+%.%d+)%.254$")
        assert(three and not seen[three], tostring(net))
        seen[three] = true
    end
    local same = provium.network("same", {subnet = "10.7.0.0/16"})
    refuses("have addresses in common (10.7.0.0/24 and 10.7.0.0/16)", nil, "router", {lan, same})
end)

test("frames of 14 bytes to the MTU and the header", function()
    drain(b, c)
    for _, n in ipairs{14, 1514} do
        a:send(("\xff"):rep(6) .. ("\2"):rep(n - 6))
        assert_eq(n, #b:recv())
        assert_eq(n, #c:recv())
    end
    for _, n in ipairs{0, 13, 1515} do refuses("14 to 1514 bytes", a, "send", a, ("x"):rep(n)) end
    refuses("send needs a frame", a, "send", a, 5)
    refuses("send needs a frame", a, "send", a)
    local jumbo = provium.network("jumbo", {mtu = 9000})
    local p, q = jumbo:port{ip = false}, jumbo:port{ip = false}
    p:send(("\xff"):rep(9014))
    assert_eq(9014, #q:recv())
    refuses("14 to 9014 bytes", p, "send", p, ("x"):rep(9015))
end)

test("each partition ends with its heal", function()
    lan:partition(a, b)
    assert(not gets(a, b) and not gets(b, a) and gets(a, c) and gets(c, b))
    lan:heal()
    assert(gets(a, b) and gets(b, a))
    lan:partition{from = a, to = b}
    assert(not gets(a, b) and gets(b, a))
    lan:heal{from = b, to = a}
    assert(not gets(a, b))
    lan:heal{from = a, to = b}
    assert(gets(a, b))
    lan:partition(a, b)
    lan:heal{from = a, to = b}
    assert(gets(a, b) and not gets(b, a))
    lan:heal(a, b)
    assert(gets(b, a))
    lan:isolate(a)
    local late = lan:port{name = "late"}
    assert(not gets(a, b) and not gets(c, a) and gets(b, c) and not gets(a, late) and not gets(late, a))
    late:close()
    lan:partition(b, c)
    lan:heal(a)
    assert(gets(a, b) and not gets(b, c))
    lan:heal()
    assert(gets(b, c))
    refuses("isolate takes one VM, port, router or uplink, got 2", lan, "isolate", lan, a, b)
    refuses("partition takes two ends, or one table {from = a, to = b}; got 3", lan, "partition", lan, a, b, c)
    refuses("partition takes two ends", lan, "partition", lan, {from = a, to = b}, c)
    refuses("heal takes two ends", lan, "heal", lan, a, b, c)
    assert(gets(a, b) and gets(b, c))
end)

test("the more exact impairment holds, and a later one replaces it", function()
    lan:impair{loss = 1}
    assert(not gets(a, b) and not gets(b, c))
    lan:impair{to = b, loss = 0}
    assert(gets(a, b) and gets(c, b) and not gets(b, c))
    lan:impair{from = a, loss = 1}
    assert(not gets(a, b) and gets(c, b))
    lan:impair{from = a, to = b, loss = 0}
    assert(gets(a, b) and not gets(a, c))
    lan:impair{from = a, to = b, corrupt = 1}
    drain(b)
    a:send(frame(a, b))
    local got = b:recv(0)
    assert(got ~= frame(a, b) and got:sub(1, 14) == frame(a, b):sub(1, 14))
    lan:clear{from = a, to = b}
    assert(not gets(a, b))
    lan:clear{from = a}
    assert(gets(a, b))
    lan:clear{to = b}
    assert(not gets(a, b))
    lan:clear()
    assert(gets(a, b) and gets(b, c))
end)

test("the same seed, order of ends and frames: the same fates", function()
    local function run(name, seed)
        local net = provium.network(name, {seed = seed})
        local from, to, fates = net:port{name = "from", ip = false}, net:port{name = "to", ip = false}, {}
        net:impair{loss = 0.3, duplicate = 0.1, corrupt = 0.1}
        for i = 1, 200 do
            from:send(frame(from, to, ("%d"):format(i)))
            local text = ""
            for got in function() return to:recv(0) end do text = text .. got:sub(15) .. ";" end
            fates[i] = text
        end
        return table.concat(fates, " ")
    end
    local one = run("one", 5)
    assert_eq(one, run("two", 5))
    assert_ne(one, run("three", 6))
end)

test("wrong arguments of networks", function()
    refuses("name must be a string", nil, "network")
    for _, name in ipairs{"", "a/b", ".x", ("x"):rep(64)} do refuses("name has 1 to 63", nil, "network", name) end
    refuses("called 'lan' already", nil, "network", "lan")
    for _, subnet in ipairs{"10.7.0.5/24", "10.7.0.0/33", "10.7.0.0", "10.7.0.0/31", "x", "127.0.0.0/8", "224.0.0.0/8",
        "0.0.0.0/8", "fe80::/64", "ff02::/64"} do
        refuses(subnet, nil, "network", "n", {subnet = subnet})
    end
    refuses("'subnet' must be a string", nil, "network", "n", {subnet = 5})
    refuses("'seed' must be an integer", nil, "network", "n", {seed = "x"})
    refuses("'mtu' must be from", nil, "network", "n", {mtu = 10})
    refuses("'mtu' must be from", nil, "network", "n", {mtu = 100000})
    refuses("'hosts' must be true or false", nil, "network", "n", {hosts = 1})
    refuses("did you mean 'seed'", nil, "network", "n", {sed = 1})
end)

test("wrong arguments of partitions and impairments", function()
    local other = provium.network("other")
    local o = other:port{name = "o"}
    for _, method in ipairs{"partition", "isolate"} do
        refuses("needs VMs, ports", lan, method, lan)
        refuses("number 5", lan, method, lan, 5)
        refuses('string "a"', lan, method, lan, "a")
        refuses("'o' is on network 'other', not on 'lan'", lan, method, lan, o, a)
    end
    refuses("needs VMs, ports", lan, "partition", lan, a)
    refuses("two different", lan, "partition", lan, a, a)
    refuses("both options", lan, "partition", lan, {from = a})
    refuses("did you mean 'from'", lan, "partition", lan, {form = a, to = b})
    refuses("both options", lan, "heal", lan, {from = a})
    refuses("needs VMs, ports", lan, "heal", lan, a, 5)
    refuses("did you mean 'latency'", lan, "impair", lan, {latncy = "5ms"})
    refuses("'latency'", lan, "impair", lan, {latency = "x"})
    refuses("'latency'", lan, "impair", lan, {latency = -1})
    refuses("'jitter'", lan, "impair", lan, {jitter = {}})
    for _, name in ipairs{"loss", "duplicate", "reorder", "corrupt"} do
        for _, value in ipairs{1.1, -0.1, "1%", 0 / 0} do refuses("'" .. name .. "' must be a chance", lan, "impair", lan, {[name] = value}) end
    end
    for _, rate in ipairs{"10", "10mb", "10 mbit", "-1mbit", "", "mbit", "1e3mbit", "0x1mbit", "1.2.3mbit", "nan", 0, -5, 1e13} do
        refuses("'rate' must be bits a second", lan, "impair", lan, {rate = rate})
    end
    for _, queue in ipairs{0, -1, 1.5, "x"} do refuses("'queue' must be", lan, "impair", lan, {queue = queue}) end
    refuses("needs a table", lan, "impair", lan)
    refuses("are both a", lan, "impair", lan, {from = a, to = a})
    refuses("'from' needs VMs, ports", lan, "impair", lan, {from = 5})
    refuses("'o' is on network 'other'", lan, "impair", lan, {from = o})
    refuses("must be a table", lan, "clear", lan, 5)
    refuses("did you mean 'from'", lan, "clear", lan, {frm = a})
    o:close()
    o:close()
    refuses("port 'o' was closed", o, "send", o, ("x"):rep(20))
    refuses("port 'o' was closed", o, "recv", o, 0)
    refuses("port 'o' was closed", other, "isolate", other, o)
    refuses("port 'o' was closed", other, "impair", other, {from = o})
end)

test("wrong arguments of ports and captures", function()
    for address, words in pairs{["10.7.0.0"] = "the address of subnet", ["10.7.0.255"] = "the broadcast address",
        ["10.8.0.1"] = "outside of subnet", ["fd00::1"] = "outside of subnet", ["10.7.0.20"] = "is taken by 'c'"} do
        refuses(words, lan, "port", lan, {ip = address})
        refuses(address, lan, "port", lan, {ip = address})
    end
    for _, mac in ipairs{"01:00:00:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "52:54:00:00:00: 9"} do
        refuses("option 'mac': '" .. mac, lan, "port", lan, {mac = mac})
    end
    refuses("an address or false", lan, "port", lan, {ip = true})
    refuses("'name' must have 1 to 63 bytes", lan, "port", lan, {name = ""})
    refuses("'name' must have 1 to 63 bytes", lan, "port", lan, {name = ("x"):rep(64)})
    refuses("'name' must be a string", lan, "port", lan, {name = 5})
    refuses("did you mean 'name'", lan, "port", lan, {nam = "x"})
    refuses("timeout of recv", a, "recv", a, -1)
    refuses("timeout of recv", a, "recv", a, "x")
    refuses("on needs a function", a, "on", a)
    refuses("must be a string", lan, "capture", lan, 5)
    refuses("/no/such/dir/x.pcapng", lan, "capture", lan, "/no/such/dir/x.pcapng")
    refuses("Is a directory", lan, "capture", lan, "/tmp")
end)

test("wrong arguments of uplinks and routers", function()
    for _, from in ipairs{"8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "x:80", "127.0.0.1:80x"} do
        refuses("got '" .. from, lan, "uplink", lan, {forward = {[from] = "10.7.0.9:80"}})
    end
    for _, to in ipairs{"80", "10.7.0.9", "10.8.0.9:80", "10.7.0.9:0", "10.7.0.9:70000", "10.7.0.255:80"} do
        refuses(to, lan, "uplink", lan, {forward = {["127.0.0.1:0"] = to}})
    end
    refuses("'forward' must be a table", lan, "uplink", lan, {forward = 5})
    refuses("'restrict' must be true or false", lan, "uplink", lan, {restrict = "yes"})
    refuses("did you mean 'forward'", lan, "uplink", lan, {forwrd = {}})
    local other = provium.network("other2")
    for _, list in ipairs{{}, {lan}} do refuses("list of 2 to 64 networks", nil, "router", list) end
    refuses("list of 2 to 64 networks", nil, "router", lan)
    refuses("named twice", nil, "router", {lan, lan})
    refuses('string "x"', nil, "router", {lan, "x"})
    refuses("did you mean 'ip'", nil, "router", {lan, {net = other, ipp = "x"}})
    refuses("outside of subnet", nil, "router", {lan, {net = other, ip = "1.2.3.4"}})
end)
