-- A DHCP server in a page of Lua, which the test makes do what no server of a package does: it mistakes the client, and
-- it takes an offer back. The client is busybox's.

local lan = provium.network("lan", {subnet = "10.7.0.0/24"})
local vm = provium.create("minimal")
vm:boot{nets = {{net = lan, ip = false}}, files = {["/tmp/script"] = {mode = "0755", content = [[
#!/bin/sh
echo "$1 $ip" >> /tmp/events
[ "$1" = bound ] && ip addr replace $ip/24 dev $interface
exit 0
]]}}}
vm:sh("ip link set eth0 up")

local DISCOVER, OFFER, REQUEST, ACK, NAK = 1, 2, 3, 5, 6
local server = lan:port{ip = "10.7.0.2"}

-- The transaction, the client's MAC and the options (tag -> bytes) of a request; nil: the frame is none.
local function dhcp_parse(bytes)
    local f = provium.net.parse(bytes)
    if not f.udp or f.udp.dst_port ~= 67 or #f.payload < 240 then return nil end
    local xid, mac = string.unpack(">I4", f.payload, 5), f.payload:sub(29, 34)
    local options, at = {}, 241
    while at < #f.payload and f.payload:byte(at) ~= 255 do
        local tag = f.payload:byte(at)
        if tag == 0 then
            at = at + 1
        else
            options[tag], at = string.unpack("s1", f.payload, at + 1)
        end
    end
    return {xid = xid, mac = mac, kind = options[53] and options[53]:byte()}
end

local function dhcp_reply(request, kind, last, xid)
    local options = string.pack("BBB BBc4 BBc4 BB>I4 B", 53, 1, kind, 54, 4, "\10\7\0\2", 1, 4, "\255\255\255\0",
        51, 4, 3600, 255)
    local yours = kind == NAK and "\0\0\0\0" or "\10\7\0" .. string.char(last)
    local message = string.pack(">BBBB I4 I2I2 c4c4c4c4 c16 c192 c4", 2, 1, 6, 0, xid or request.xid, 0, 0x8000,
        "", yours, "", "", request.mac, "", "\x63\x82\x53\x63") .. options
    server:send(provium.net.build{
        eth = {dst = "ff:ff:ff:ff:ff:ff", src = server:mac()},
        ipv4 = {src = server:ip(), dst = "255.255.255.255"},
        udp = {src_port = 67, dst_port = 68},
        payload = message .. ("\0"):rep(300 - #message),
    })
end

-- Serves with fn(request), and runs the client with that many attempts; its output and what it told its script.
local function run_client(attempts, fn)
    server:on(function(bytes)
        local request = dhcp_parse(bytes)
        if request then fn(request) end
    end)
    vm:sh("rm -f /tmp/events; touch /tmp/events")
    local r = vm:exec(("udhcpc -i eth0 -n -q -t %d -T 2 -A 1 -s /tmp/script 2>&1"):format(attempts), {timeout = "2m"})
    server:on(nil)
    return r, vm:read_file("/tmp/events")
end

test("an address is offered, requested and acknowledged", function()
    local r, events = run_client(20, function(request)
        dhcp_reply(request, request.kind == DISCOVER and OFFER or ACK, 50)
    end)
    assert(r.ok, r.stdout)
    assert_contains(events, "bound 10.7.0.50")
    assert(vm:exec("ping -c 1 -W 20 10.7.0.2").ok)
end)

test("a reply to another transaction is ignored", function()
    local asked = 0
    local r, events = run_client(2, function(request)
        asked = asked + 1
        dhcp_reply(request, OFFER, 51, request.xid ~ 1)
    end)
    assert(not r.ok)
    assert(asked >= 2, asked)
    assert(not events:find("bound"), events)
end)

test("after a NAK the client starts again", function()
    local refused = 0
    local r, events = run_client(20, function(request)
        if request.kind == DISCOVER then
            dhcp_reply(request, OFFER, 52 + refused)
        elseif request.kind == REQUEST and refused == 0 then
            refused = 1
            dhcp_reply(request, NAK)
        else
            dhcp_reply(request, ACK, 53)
        end
    end)
    assert(r.ok, r.stdout)
    assert_eq(1, refused)
    assert_contains(events, "nak")
    assert_contains(events, "bound 10.7.0.53")
end)
