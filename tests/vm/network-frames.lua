-- SPDX-License-Identifier: MIT
-- Frames: checksums, jumbo frames and IPv6 in captures; malformed frames to a guest's NIC driver, and from a guest into the
-- switch, a port and a router, without growth of this process.
--
--     PROVIUM_TEST_FRAMES=1000000 provium test --timeout 2h tests/vm/network-frames.lua
local FRAMES = tonumber(os.getenv("PROVIUM_TEST_FRAMES") or "3000")
-- Of a run of any length.  Each network keeps 1 MiB of frames for reports; lan6, which gets few, fills it slowly.
local GROWTH_KIB = 8192

local lan = provium.network("lan", {subnet = "10.7.0.0/24", seed = 1, mtu = 9000})
local lan6 = provium.network("lan6", {subnet = "fd00:7::/64"})
local a, b = provium.create(nil, {name = "a"}), provium.create(nil, {name = "b"})
local function boot(vm)
    return function() vm:boot{nets = {lan, lan6}, memory = "128M", timeout = "4m"} end
end
provium.all{boot(a), boot(b)}
local port = lan:port{name = "port"}
local router = provium.router{lan, lan6}

-- The frames of a capture's bytes.
local function packets(bytes)
    local list, at = {}, 1
    while at <= #bytes do
        local kind, size = ("<I4I4"):unpack(bytes, at)
        assert(size >= 12 and at + size - 1 <= #bytes, "a block is cut")
        if kind == 6 then
            local n = ("<I4"):unpack(bytes, at + 20)
            list[#list + 1] = bytes:sub(at + 28, at + 27 + n)
        end
        at = at + size
    end
    return list
end

-- Builds each frame with checksums of its own: they are the same. Returns how many frames have each layer, and the longest.
local function check_frames(list)
    local count = {longest = 0}
    for _, frame in ipairs(list) do
        local f = provium.net.parse(frame)
        local whole = not f.ipv4 or f.ipv4.fragment == 0 and f.ipv4.flags & 1 == 0
        for name, layer in pairs(f) do
            if type(layer) == "table" then
                count[name] = (count[name] or 0) + 1
                if whole or name == "ipv4" then layer.checksum = nil end
            end
        end
        assert(provium.net.build(f) == frame, "a checksum is wrong")
        count.longest = math.max(count.longest, #frame)
    end
    return count
end

local function send_udp(vm, ip, data)
    local AF_INET, SOCK_DGRAM = 2, 2
    local to = ("<I2>I2"):pack(AF_INET, 9) .. ip:gsub("(%d+)%.?", string.char) .. ("\0"):rep(8)
    local fd = vm:syscall("socket", AF_INET, SOCK_DGRAM, 0)
    assert_eq(#data, (vm:syscall_bufs("sendto", {[1] = data, [4] = to}, fd, 0, #data, 0, 0, #to)))
    vm:syscall("close", fd)
end

local function read_file(path)
    local f <close> = assert(io.open(path, "rb"))
    return f:read("a")
end

test("TCP, UDP, jumbo frames and IPv6 have right checksums in a capture", function()
    local path, path6 = os.tmpname(), os.tmpname()
    local c, c6 = lan:capture(path), lan6:capture(path6)
    -- nc's stdin stays open: at its end nc half-closes, and the other nc ends at that, whatever it still had to send.
    local server = a:start("mkfifo /tmp/open && nc -l -p 5000 <>/tmp/open | wc -c")
    a:wait_until(function() return a:exec("grep -q :1388 /proc/net/tcp /proc/net/tcp6").ok end,
        {timeout = "2m", desc = "the server listens"})
    b:sh("head -c 300000 /dev/urandom | nc " .. a:ip(lan) .. " 5000")
    assert_eq("300000\n", server.stdout:read_line({timeout = "2m"}) .. "\n")
    assert(b:exec("ping -c 1 -W 20 -s 8000 " .. a:ip(lan)).ok)
    assert(b:exec("ping -c 1 -W 20 -s 12000 " .. a:ip(lan)).ok) -- in two fragments
    send_udp(b, port:ip(), "hello")
    send_udp(b, a:ip(lan), ("odd"):rep(2001))
    assert_contains(a:ip(lan6), "fd00:7::")
    assert(b:exec("ping6 -c 2 -W 20 " .. a:ip(lan6)).ok)
    assert(a:exec("ping6 -c 1 -W 20 " .. router:ip(lan6)).ok)
    c:close()
    c6:close()
    local n, n6 = check_frames(packets(read_file(path))), check_frames(packets(read_file(path6)))
    assert(n.tcp > 30 and n.udp >= 2 and n.icmp >= 4 and n.arp >= 2, n)
    assert_eq(9014, n.longest)
    assert(n6.icmpv6 >= 6 and n6.longest <= 1514, n6)
    for _, tool in ipairs{"tshark -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE -V", "tcpdump -vv"} do
        for _, file in ipairs{path, path6} do
            if os.execute("command -v " .. tool:match("%w+") .. " >/dev/null") then
                local out = io.popen(tool .. " -n -r " .. file .. " 2>/dev/null")
                local text = out:read("a")
                assert(out:close(), tool)
                assert(#text > 1000, tool)
                assert(not text:find("[Bb]ad cksum") and not text:find("incorrect"), tool)
            end
        end
    end
    os.remove(path)
    os.remove(path6)
end)

-- ---- malformed frames ----

local function host_kib()
    collectgarbage()
    collectgarbage()
    return tonumber(read_file("/proc/self/status"):match("VmRSS:%s*(%d+)"))
end

-- Frames to `dst` with addresses that it takes, one of each kind.
local function seeds(src, dst, ip, peer, peer6)
    local eth, v4 = {dst = dst, src = src}, {src = ip, dst = peer}
    local v6 = {src = "fd00:7::77", dst = peer6, hop_limit = 255}
    local build = provium.net.build
    return {
        build{eth = eth, arp = {op = 1, sender_mac = src, sender_ip = ip, target_ip = peer}},
        build{eth = eth, arp = {op = 2, sender_mac = src, sender_ip = ip, target_mac = dst, target_ip = peer}},
        build{eth = eth, ipv4 = v4, icmp = {type = 8}, payload = ("x"):rep(56)},
        build{eth = eth, ipv4 = v4, udp = {src_port = 68, dst_port = 67}, payload = ("y"):rep(300)},
        build{eth = eth, ipv4 = v4, tcp = {src_port = 4000, dst_port = 22, flags = "S", options = "\2\4\5\xb4"}},
        build{eth = eth, ipv4 = {src = ip, dst = peer, flags = 1, fragment = 3, protocol = 17}, payload = ("z"):rep(80)},
        build{eth = eth, ipv4 = {src = ip, dst = peer, options = "\7\7\4\0\0\0\0\0"}, icmp = {type = 13}},
        build{eth = {dst = dst, src = src, vlan = 5}, ipv4 = v4, icmp = {type = 8}},
        build{eth = eth, ipv6 = v6, icmpv6 = {type = 128}, payload = "data"},
        build{eth = eth, ipv6 = v6, icmpv6 = {type = 135}, payload = ("\0"):rep(16) .. "\1\1\2\0\0\0\0\7"},
        build{eth = eth, ipv6 = {src = v6.src, dst = v6.dst, next_header = 0}, payload = "\60\0\1\4\0\0\0\0\17\0\1\4\0\0\0\0"},
        build{eth = {dst = dst, src = src, type = 0x88cc}, payload = "\2\7\4lldp"},
    }
end

-- One of them with some bytes changed, missing or more, in most cases behind the addresses of the Ethernet header.
local random = math.random
local function malformed(list, max)
    local frame = list[random(#list)]
    for _ = 1, random(4) do
        local at, kind = random(random(8) == 1 and 1 or 13, #frame), random(4)
        if kind == 1 and at > 14 then
            frame = frame:sub(1, at)
        elseif kind == 2 then
            frame = frame .. string.char(random(0, 255)):rep(random(random(20) == 1 and max or 40))
        else
            frame = frame:sub(1, at - 1) .. string.char(kind == 3 and random(0, 255) or 255) .. frame:sub(at + 1)
        end
    end
    return frame:sub(1, max)
end

local function direction(net, from, to)
    for _, d in ipairs(net:stats()) do
        if d.from == from and d.to == to then return d end
    end
end

local function is_well()
    for _, vm in ipairs{a, b} do
        vm:sh("ip neigh flush dev eth0") -- malformed ARP may have told anything
        assert_eq(0, #vm:reports())
    end
    assert(a:exec("ping -c 3 -W 20 " .. b:ip(lan)).ok)
    assert(a:exec("ping -c 3 -W 20 " .. port:ip()).ok)
end

-- Calls send(frames) until n are sent; the process is the same before and after, once its buffers have been in use.
local function flood(what, n, send)
    local warm = n // 10
    math.randomseed(1)
    send(warm)
    local before, t = host_kib(), os.time()
    send(n)
    local after = host_kib()
    log(("%s: %d frames in %d s, this process %d KiB before, %d KiB after"):format(what, n, os.time() - t, before,
        after))
    assert(after - before <= GROWTH_KIB, ("the process grew from %d to %d KiB"):format(before, after))
end

test("a NIC driver gets malformed frames", function()
    local p = lan:port{name = "fuzzer", ip = "10.7.0.66"}
    local list = seeds(p:mac(), a:mac(lan), p:ip(), a:ip(lan), "fd00:7::1")
    p:on(function() end)
    flood("to a NIC", FRAMES, function(n)
        while n > 0 do
            for _ = 1, math.min(n, 100) do p:send(malformed(list, 9014)) end
            n = n - 100
            local d = direction(lan, "fuzzer", "a")
            while d.sent - d.delivered - d.dropped > 300 do
                provium.sleep("2ms")
                d = direction(lan, "fuzzer", "a")
            end
        end
    end)
    local d = direction(lan, "fuzzer", "a")
    assert(d.delivered >= FRAMES // 2, d)
    -- Delivered frames are in QEMU's socket: the guest takes them from there in its own time.
    a:wait_until(function()
        return tonumber(a:read_file("/sys/class/net/eth0/statistics/rx_packets")) >= FRAMES // 2
    end, {timeout = "1m", desc = "the driver takes the frames"})
    p:close()
    is_well()
end)

test("a guest sends malformed frames", function()
    local BATCH, HEADERS = 200, 200 * (64 + 16)
    local list = seeds(b:mac(lan), port:mac(), b:ip(lan), port:ip(), "fd00:7::1")
    for _, dst in ipairs{router:mac(lan), a:mac(lan), "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"} do
        for _, frame in ipairs(seeds(b:mac(lan), dst, b:ip(lan), router:ip(lan), a:ip(lan6))) do list[#list + 1] = frame end
    end
    local AF_PACKET, SOCK_RAW, ETH_P_ALL = 17, 3, 0x0300
    local fd = b:syscall("socket", AF_PACKET, SOCK_RAW, ETH_P_ALL)
    assert(fd >= 0, fd)
    local index = tonumber(b:sh("cat /sys/class/net/eth0/ifindex"))
    local address = ("<I2>I2<i4I2BBc8"):pack(AF_PACKET, 3, index, 0, 0, 0, ("\0"):rep(8))
    assert_eq(0, (b:syscall_buf("bind", 1, address, fd, 0, #address)))
    -- struct mmsghdr, 64 bytes each, then struct iovec, 16 bytes each, then the frames
    local at = b:alloc(HEADERS + BATCH * 9100)
    local headers = {}
    for i = 0, BATCH - 1 do
        headers[#headers + 1] = ("<I8I8I8I8I8I8i8I8"):pack(0, 0, at + BATCH * 64 + i * 16, 1, 0, 0, 0, 0)
    end
    b:write_mem(at, table.concat(headers))
    local sent = 0
    flood("from a guest", FRAMES, function(n)
        while n > 0 do
            local iovs, frames, where = {}, {}, at + HEADERS
            for i = 1, BATCH do
                frames[i] = malformed(list, 9014)
                iovs[i] = ("<I8I8"):pack(where, #frames[i])
                where = where + #frames[i]
            end
            b:write_mem(at + BATCH * 64, table.concat(iovs) .. table.concat(frames))
            local first = 0
            while first < BATCH do -- a frame that the kernel refuses ends the call
                local done = b:syscall("sendmmsg", fd, at + first * 64, BATCH - first, 0)
                sent = sent + math.max(done, 0)
                first = first + math.max(done, 0) + (done < BATCH - first and 1 or 0)
            end
            n = n - BATCH
        end
    end)
    assert(sent >= FRAMES, sent)
    b:syscall("close", fd)
    b:free(at)
    is_well()
end)
