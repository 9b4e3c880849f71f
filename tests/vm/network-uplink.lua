-- SPDX-License-Identifier: MIT
-- An uplink: NAT to the host's addresses and never to its loopback, forwarded ports, DHCP, default routes, `restrict`.
local HOST = [[
import socket, sys
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    u.connect(("192.0.2.1", 9))
    print(u.getsockname()[0])
except OSError:
    print("none")
]]
-- Serves lines of "served by ADDRESS" on a port of ADDRESS until its input ends; then prints how many it served.
local SERVER = [[
import os, select, socket, sys
s = socket.socket()
s.bind((sys.argv[1], 0))
s.listen(9)
with open(sys.argv[2] + ".new", "w") as f: f.write(str(s.getsockname()[1]))
os.rename(sys.argv[2] + ".new", sys.argv[2])
n = 0
while True:
    ready = select.select([s, 0], [], [], 600)[0]
    if s in ready:
        c, _ = s.accept()
        c.sendall(("served by " + sys.argv[1] + "\n").encode())
        c.close()
        n += 1
    elif 0 in ready or not ready:
        break
with open(sys.argv[2] + ".served", "w") as f: f.write(str(n))
]]

local function python(text, ...)
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
    defer(function() os.remove(path) end)
    return "python3 " .. path .. " " .. table.concat({...}, " ")
end

local function slurp(path)
    local f = io.open(path)
    local text = f and f:read("a")
    if f then f:close() end
    return text
end

-- Starts a server; its port, and a function that ends it and returns how many connections it had.
local function serve(ip)
    local path = os.tmpname()
    os.remove(path)
    local pipe = assert(io.popen(python(SERVER, ip, path), "w"))
    local deadline = provium.now() + 60
    while not slurp(path) and provium.now() < deadline do provium.sleep("50ms") end
    return assert(tonumber(slurp(path)), "no server"), function()
        pipe:close()
        local n = tonumber(slurp(path .. ".served"))
        os.remove(path)
        os.remove(path .. ".served")
        return n
    end
end

local pipe = io.popen(python(HOST))
local host = pipe:read("l")
pipe:close()
if host == "none" then skip("the host has no address besides its loopback's") end

-- bash has /dev/tcp: a client on the host asks a port of its loopback for a page.
local function fetch(port)
    local p = io.popen(("timeout 60 bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d; printf \"GET /page HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3'"):format(port))
    local text = p:read("a")
    p:close()
    return text
end

local lan = provium.network("lan", {subnet = "10.7.0.0/24"})
local other = provium.network("other")
local vm = provium.create(nil, {name = "a"})
vm:boot{nets = {lan}, transport = "serial"}
vm:sh("mkdir -p /tmp/www; echo the page > /tmp/www/page; httpd -p 80 -h /tmp/www")
assert(not vm:sh("ip route"):find("default", 1, true))
provium.router{lan, other}
assert_contains(vm:sh("ip route"), "via 10.7.0.254")
local up = lan:uplink{forward = {["127.0.0.1:0"] = "10.7.0.1:80"}}

local function nc(to, port, who)
    return (who or vm):exec(("nc -w 20 %s %d < /dev/null"):format(to, port), {timeout = "60s"})
end

test("VMs that run get the default route, before a router's", function()
    assert_eq("10.7.0.253", up:ip())
    assert_eq("10.7.0.252", up:dns())
    assert_contains(vm:sh("ip route"), "via 10.7.0.253")
    assert(vm:exec("ping -c 1 -W 20 10.7.0.253").ok)
end)

test("a VM reaches a server on an address of the host", function()
    local port, done = serve(host)
    assert_eq("served by " .. host .. "\n", nc(host, port).stdout)
    lan:partition(up, vm)
    assert_eq("", vm:exec(("nc -w 2 %s %d < /dev/null"):format(host, port), {timeout = "60s"}).stdout)
    lan:heal(up, vm)
    lan:impair{from = up, to = vm, latency = "20ms"}
    assert_eq("served by " .. host .. "\n", nc(host, port).stdout)
    lan:clear()
    done()
    local seen = {}
    for _, s in ipairs(lan:stats()) do seen[s.from .. ">" .. s.to] = s end
    assert(seen["uplink>a"].delivered > 4 and seen["a>uplink"].partitioned > 0 and seen["a>uplink"].sent > 4)
end)

test("the host's loopback is out of reach", function()
    local port, done = serve("127.0.0.1")
    for _, to in ipairs{up:ip(), up:dns()} do
        local r = nc(to, port)
        assert(not r.ok and r.stdout == "", to)
    end
    -- a guest that routes loopback addresses to its gateway
    vm:sh("echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; ip addr del 127.0.0.1/8 dev lo; "
        .. "ip route add 127.9.9.0/24 via 10.7.0.253")
    vm:exec(("nc -w 2 127.9.9.9 %d < /dev/null"):format(port), {timeout = "60s"})
    vm:sh("ip addr add 127.0.0.1/8 dev lo; ip route del 127.9.9.0/24")
    assert_eq(0, done())
end)

test("a port of the host leads to a VM", function()
    assert_contains(fetch(up.ports["10.7.0.1:80"]), "the page")
end)

test("DHCP gives addresses that no other VM gets", function()
    vm:plug(other, {ip = false, name = "dhcp0"})
    other:uplink{ip = "10.7.1.1"}
    vm:write_file("/tmp/script", "#!/bin/sh\nenv > /tmp/dhcp-$1\n", {mode = tonumber("755", 8)})
    vm:sh("ip link set dhcp0 up; udhcpc -i dhcp0 -n -q -t 20 -s /tmp/script")
    local got = vm:read_file("/tmp/dhcp-bound")
    assert_contains(got, "router=10.7.1.1\n")
    assert_contains(got, "subnet=255.255.255.0\n")
    assert_contains(got, "dns=10.7.1.253\n")
    local ip = got:match("\nip=(%S+)") or got:match("^ip=(%S+)")
    assert_contains(ip, "10.7.1.2")
    assert_error(function() other:port{ip = ip} end, "DHCP of the uplink")
end)

test("a clone has the uplink, too", function()
    local c = vm:clone(vm:snapshot())
    local port, done = serve(host)
    assert_eq("served by " .. host .. "\n", nc(host, port, c).stdout)
    assert_eq("served by " .. host .. "\n", nc(host, port).stdout)
    assert_eq(2, done())
    c:kill()
end)

test("a VM of a fixture has the uplink, too, and a capture has its frames", function()
    local capture = lan:capture()
    local f = provium.fixture("lan-user", {name = "f", nets = {lan}})
    assert_contains(f:sh("ip route"), "default via 10.7.0.253")
    local port, done = serve(host)
    assert_eq("served by " .. host .. "\n", nc(host, port, f).stdout)
    assert_eq(1, done())
    f:kill()
    capture:close()
    local bytes = capture:stream():read()
    assert_contains(bytes, "provium: delivered to uplink")
    assert_contains(bytes, "provium: delivered to f")
end)

test("restrict leaves the forwarded ports alone", function()
    local cell = provium.network("cell", {subnet = "10.9.0.0/24"})
    local closed = cell:uplink{restrict = true, forward = {["127.0.0.1:0"] = "10.9.0.1:80"}}
    vm:plug(cell)
    assert_contains(fetch(closed.ports["10.9.0.1:80"]), "the page")
    local port, done = serve(host)
    vm:sh(("ip route add %s via %s"):format(host, closed:ip()))
    assert(not nc(host, port).ok)
    vm:sh("ip route del " .. host)
    assert_eq(0, done())
end)
