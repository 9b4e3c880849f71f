-- Impairments with a real TCP, iperf3 and ping: what is measured in two VMs is what was asked for.
--
-- Not part of `make check`: figures want a quiet machine, and it needs iperf3 from Debian's packages, of the host's release.
-- From the project's root:
--   mkdir -p build/iperf3 && cd build/iperf3 && apt-get download iperf3 libiperf0 libsctp1 && for d in *.deb; do dpkg -x $d .; done
--   build/provium test --verbose --config tests/provium.toml --timeout 20m tests/long/impairments.lua

local lan = provium.network("lan", { subnet = "10.7.0.0/24", seed = 7 })
local packages, libraries = "../../build/iperf3/usr/", "/usr/lib/x86_64-linux-gnu/"
local files = {
    ["/usr/bin/iperf3"] = packages .. "bin/iperf3",
    ["/lib64/ld-linux-x86-64.so.2"] = "/lib64/ld-linux-x86-64.so.2",
}
for _, name in ipairs({ "libiperf.so.0", "libsctp.so.1" }) do
    files[libraries .. name] = packages .. "lib/x86_64-linux-gnu/" .. name
end
for _, name in ipairs({ "libcrypto.so.3", "libc.so.6", "libm.so.6" }) do
    files[libraries .. name] = "/lib/x86_64-linux-gnu/" .. name
end

local a, b = provium.create(nil, { name = "a" }), provium.create(nil, { name = "b" })
local function boot(vm)
    return function() vm:boot({ nets = { lan }, files = files, memory = "256M", timeout = "5m" }) end
end
provium.all({ boot(a), boot(b) })

-- The shortest and the mean round trip of n pings, ms.
local function round_trip(n)
    local least, mean = a:sh(("ping -c %d -i 0.2 %s"):format(n, b:ip(lan)), { timeout = "3m" })
        :match("min/avg/max = ([%d.]+)/([%d.]+)/")
    return tonumber(least), tonumber(mean)
end

test("latency is as told, within 1 ms beside the emulator's own", { timeout = "5m" }, function()
    round_trip(5)
    local least, mean = round_trip(60)
    lan:impair({ latency = "20ms" })
    local late, late_mean = round_trip(60)
    lan:clear()
    log(("round trip: least %.2f ms, mean %.2f; 20 ms each way: least %.2f, mean %.2f; added %.2f and %.2f of 40")
        :format(least, mean, late, late_mean, late - least, late_mean - mean))
    assert(late >= 40, "a ping came back earlier than told")
    assert(math.abs(late - least - 40) <= 2, "more than 1 ms each way from what was told")
end)

test("iperf3 measures 9 to 10 of 10mbit", { timeout = "5m" }, function()
    local server = b:start("iperf3 -s -1 --forceflush")
    defer(function() server:kill() end)
    server.stdout:expect("listening", "1m")
    lan:impair({ from = a, to = b, rate = "10mbit" })
    defer(function() lan:clear() end)
    local r = a:exec("iperf3 -c " .. b:ip(lan) .. " -t 10 -J", { timeout = "3m" }):assert_ok()
    local ends = provium.json.decode(r.stdout)["end"]
    local mbit = ends.sum_received.bits_per_second / 1e6
    log(("sent %.2f, received %.2f Mbit/s"):format(ends.sum_sent.bits_per_second / 1e6, mbit))
    assert(mbit >= 9 and mbit <= 10, mbit)
end)

test("TCP over loss, reordering and delay brings the right bytes", { timeout = "10m" }, function()
    b:sh("mkdir /tmp/www && dd if=/dev/urandom of=/tmp/www/data bs=64k count=16 2>/dev/null && httpd -p 8080 -h /tmp/www")
    lan:impair({ loss = 0.05, reorder = 0.1, latency = "50ms" })
    defer(function() lan:clear() end)
    local begin = provium.now()
    a:sh(("wget -q -O /tmp/got http://%s:8080/data"):format(b:ip(lan)), { timeout = "8m" })
    log(("1 MiB in %.1f s"):format(provium.now() - begin))
    assert_eq(b:sh("sha256sum </tmp/www/data"), a:sh("sha256sum </tmp/got"))
    local lost, reordered = 0, 0
    for _, d in ipairs(lan:stats()) do lost, reordered = lost + d.lost, reordered + d.reordered end
    assert(lost > 0 and reordered > 0, "nothing was lost or reordered")
end)
