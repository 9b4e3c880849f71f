#!/bin/bash
# SPDX-License-Identifier: MIT
# Uplinks of networks without a VM: a port is the guest.
. "$(dirname "$0")/../lib/shell.sh"

cat >t/forward.lua <<'LUA'
local lan = provium.network("lan", {subnet = "10.7.0.0/24"})
local guest = lan:port{ip = "10.7.0.9"}
local up = lan:uplink{forward = {["127.0.0.1:0"] = "10.7.0.9:80"}}
local port = up.ports["10.7.0.9:80"]

-- The first TCP packet that the port receives.
local function tcp_recv()
    local deadline = provium.now() + 30
    while provium.now() < deadline do
        local bytes = guest:recv("30s")
        local f = bytes and provium.net.parse(bytes)
        if f and f.tcp then return f end
    end
end

test("a connection to the host's port is one to the target", function()
    local f = io.open("port", "w")
    f:write(port)
    f:close()
    local client = io.popen("timeout 30 bash -c 'exec 3<>/dev/tcp/127.0.0.1/" .. port .. "'")
    local syn = tcp_recv()
    assert_eq("10.7.0.254", up:ip())
    assert_eq(up:ip(), syn.ipv4.src)
    assert_eq(80, syn.tcp.dst_port)
    assert_eq("S", syn.tcp.flags)
    client:close()
    assert_eq({ports = {["10.7.0.9:80"] = port}}, up)
end)

test("the uplink is an endpoint", function()
    local function arp()
        guest:send(provium.net.build{eth = {dst = "ff:ff:ff:ff:ff:ff", src = guest:mac()}, arp = {op = 1,
            sender_mac = guest:mac(), sender_ip = guest:ip(), target_ip = up:ip()}})
        for _ = 1, 50 do
            local bytes = guest:recv("200ms")
            local f = bytes and provium.net.parse(bytes)
            if f and f.arp and f.arp.op == 2 then return f.arp.sender_ip end
        end
    end
    assert_eq(up:ip(), arp())
    lan:partition{from = up, to = guest}
    local before = provium.now()
    guest:recv("100ms")
    lan:heal{from = up, to = guest}
    lan:isolate(up)
    lan:heal(up)
    lan:partition(up, guest)
    lan:heal()
    lan:impair{from = up, to = guest, latency = "300ms"}
    before = provium.now()
    assert_eq(up:ip(), arp())
    assert(provium.now() - before >= 0.3)
    lan:clear{from = up, to = guest}
end)

test("bad arguments", function()
    local lone, six = provium.network("lone"), provium.network("six", {subnet = "fd00:6::/64"})
    local taken = ("127.0.0.1:%d"):format(port)
    local function refuses(what, net, options) assert_error(function() net:uplink(options) end, what) end
    refuses("has an uplink already", lan)
    refuses("IPv4", six)
    refuses("port " .. taken .. " of the host, which is taken", lone, {forward = {[taken] = "10.7.1.1:80"}})
    refuses("outside of network 'lone'", lone, {forward = {["127.0.0.1:0"] = "10.7.0.1:80"}})
    for _, text in ipairs{"127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "localhost:80", "[::1]:80", ":80"} do
        refuses("got '" .. text .. "'", lone, {forward = {[text] = "10.7.1.1:80"}})
    end
    refuses("'10.7.1.1:0'", lone, {forward = {["127.0.0.1:0"] = "10.7.1.1:0"}})
    refuses("twice", lone, {forward = {["127.0.0.1:0"] = "10.7.1.1:80", ["127.0.0.2:0"] = "10.7.1.1:80"}})
    refuses("forward", lone, {forward = {"10.7.1.1:80"}})
    refuses("forward", lone, {forward = {["127.0.0.1:0"] = 80}})
    refuses("forward", lone, {forward = "127.0.0.1:0"})
    refuses("restrict", lone, {restrict = "yes"})
    refuses("10.7.9.9", lone, {ip = "10.7.9.9"})
    refuses("forwards", lone, {forwards = {}})
    assert_error(function() lone:partition(up, guest) end, "not on 'lone'")
    assert_error(function() up.ip() end, "colon")
    local all = lone:uplink{ip = "10.7.1.254"} -- the refused ones left nothing
    assert_eq("10.7.1.253", all:dns())
    assert_error(function() lone:port{ip = "10.7.1.252"} end, "DHCP of the uplink")
    lone:port{ip = "10.7.1.236"}
end)
LUA
provium test t/forward.lua
exits "uplinks" 0
timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$(cat port)" 2>/dev/null
is "no port is open afterwards" "$?" 1

cat >t/meanwhile.lua <<'LUA'
-- A command that needs what another task does ends, since the loop runs while the test waits for it.
local function later(name)
    provium.async(function()
        provium.sleep("200ms")
        io.open(name, "w"):close()
    end)
    return "for i in $(seq 200); do [ -e " .. name .. " ] && exit 3; sleep 0.1; done"
end
local function ended(ok, what, code) assert_eq({nil, "exit", 3}, {ok, what, code}) end

test("os.execute", function()
    assert_eq({true, "exit", 0}, {os.execute("true")})
    assert_eq({nil, "signal", 9}, {os.execute("kill -9 $$")})
    assert(os.execute())
    ended(os.execute(later("a")))
end)
test("io.popen", function()
    local f = io.popen(later("b"))
    assert_eq("", f:read("a"))
    ended(f:close())
    f = io.popen(later("c")) -- waits at its end alone
    ended(f:close())
    f = io.popen("cat > copy; " .. later("d"), "w")
    for i = 1, 20000 do assert(f:write(i, "\n")) end
    ended(f:close())
    local n = 0
    for line in io.lines("copy") do
        n = n + 1
        assert_eq(tostring(n), line)
    end
    assert_eq(20000, n)
    f = io.popen("seq 20000")
    for i = 1, 20000 do assert_eq(i, f:read("n")) end
    assert_eq("file", io.type(f))
    assert(f:close())
    assert_eq("closed file", io.type(f))
    assert_error(function() io.popen("true", "rw") end, "invalid mode")
    io.popen("sleep 0.2")
    collectgarbage()
    assert_eq("x\n", io.popen("echo x"):read("L"))
end)
test("a stream of two tasks is an error, and no crash", function()
    local f = io.popen(later("e"):gsub("exit 3", "break") .. "; echo late; exit 3")
    local task = provium.async(function() return f:read("a") end)
    provium.sleep("50ms")
    assert_error(function() assert(f:read("l")) end, "busy")
    task:wait()
    ended(f:close())
end)
LUA
provium test t/meanwhile.lua
exits "host commands" 0

cat >t/alone.lua <<'LUA'
local lan = provium.network("lan")
lan:uplink()
provium.network("cell"):uplink{restrict = true}
LUA
if unshare -rn true 2>/dev/null; then
    unshare -rn "$PROVIUM" test t/alone.lua >out 2>err
    code=$?
    exits "a host without a network" 0
    is "it is told once" "$(cat out err | grep -c "the host has no network: through the uplink of network 'lan' VMs reach nothing")" 1
    is "not with restrict" "$(cat out err | grep -c "network 'cell'")" 0
else
    echo "skip: no namespaces for this user, a host without a network is not tried"
fi

finish
