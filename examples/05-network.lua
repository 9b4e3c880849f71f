-- Two VMs on an Ethernet that the test itself carries: no bridge, no root, and it loses what it is told to.

local lan = provium.network("lan", {subnet = "10.7.0.0/24", seed = 1})
local a = provium.create("minimal", {name = "a"})
local b = provium.create("minimal", {name = "b"})
provium.all{function() a:boot{nets = {lan}} end, function() b:boot{nets = {lan}} end}

local function reaches(from, to, patience)
    return from:exec(("ping -c 1 -W %d %s"):format(patience or 20, to:ip(lan))).ok
end

test("a partition cuts two VMs off from each other, until it heals", function()
    assert(reaches(a, b))
    lan:partition(a, b)
    assert(not reaches(a, b, 1))
    lan:heal()
    assert(reaches(a, b))
end)

test("latency is added to each frame, one way", function()
    lan:impair{latency = "50ms"}
    local rtt = a:sh("ping -c 3 " .. b:ip(lan)):match("min/avg/max = ([%d.]+)/")
    assert(tonumber(rtt) >= 100, rtt)
    lan:clear()
end)

test("the test is a peer, too: it sees and answers frames", function()
    local port = lan:port{ip = false}
    port:on(function(bytes)
        local frame = provium.net.parse(bytes)
        if frame.arp and frame.arp.op == 1 and frame.arp.target_ip == "10.7.0.200" then
            port:send(provium.net.build{eth = {dst = frame.eth.src, src = port:mac()}, arp = {op = 2,
                sender_mac = port:mac(), sender_ip = "10.7.0.200", target_mac = frame.arp.sender_mac,
                target_ip = frame.arp.sender_ip}})
        end
    end)
    a:exec("ping -c 1 -W 2 10.7.0.200") -- gets no reply, but resolves the address
    assert_contains(a:sh("ip neigh"), port:mac())
end)
