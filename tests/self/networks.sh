#!/bin/bash
# SPDX-License-Identifier: MIT
# What a failure shows of networks, on ports alone: no VM is started.
. "$(dirname "$0")/../lib/shell.sh"

mkdir -p t
cat >t/fails.lua <<'LUA'
local lan = provium.network("lan", {subnet = "10.7.0.0/24", seed = 1})
local quiet = provium.network("quiet")
local p, q = lan:port{name = "p"}, lan:port{name = "q"}
local function say(text)
    p:send(provium.net.build{eth = {dst = q:mac(), src = p:mac()}, ipv4 = {src = p:ip(), dst = q:ip()},
        udp = {src_port = 4000, dst_port = 5000}, payload = text})
end
test("first", function()
    lan:partition(p, q)
    say("hello")
    lan:impair{from = p, loss = 0.5, latency = "10ms"}
    lan:heal()
    fail("on purpose")
end)
test("second, without a new frame", function() fail("on purpose") end)
test("third", function() say("more") fail("on purpose") end)
LUA
provium test --json out.json --html out.html t/fails.lua
exits "a failing file with networks" 1
shows "the last frames in words" "10.7.0.254:4000 > 10.7.0.253:5000 UDP, 5 bytes (partitioned to q)"
shows "a heading for them" "--- frames of network lan"
shows "the kept frames are named" "/001-fails/lan.pcapng"
shows "the next failure's too" "/001-fails/lan-2.pcapng"
is "a failure without new frames keeps none" "$(grep -c 'lan-3.pcapng' out)" 0
is "a network without frames keeps none" "$(grep -c 'quiet' out)" 0
python3 - <<'PY' >json.out
import json
for line in open("out.json"):
    d = json.loads(line)
    for s in d.get("steps", []):
        print("step", s["vm"], s["kind"], s["text"])
    for l in d.get("logs", []):
        print("log", l["vm"], l["path"].rsplit("/", 1)[1])
PY
is "JSON names the captures" "$(grep -c '^log network lan lan' json.out)" 2
is "the track has the partition" "$(grep -c 'step network lan network partition: p > q' json.out)" 1
is "the track has the impairment" "$(grep -c 'step network lan network impairment: p > any, loss 0.5, latency 10 ms' json.out)" 1
is "the track has the losses" "$(grep -c 'so far: 0 frames lost, 1 partitioned' json.out)" 1
grep -Eq '10.7.0.254:4000 .{1,9} 10.7.0.253:5000 UDP' out.html
is "the page has the frames" "$?" 0
kept=$(sed -n 's/.*→ \(.*lan.pcapng\)$/\1/p' out)
for tool in tshark tcpdump; do
    if ! command -v $tool >/dev/null; then
        echo "skip: $tool is not installed, the capture is not read by it"
        continue
    fi
    $tool -n -r "$kept" >read.out 2>read.err
    is "$tool reads the capture" "$?" 0
    is "$tool sees the frame" "$(grep -c 'UDP' read.out)" 1
done
rm -rf "$(dirname "$(dirname "$kept")")"

cat >t/files.lua <<'LUA'
local lan = provium.network("lan")
local p = lan:port{}
for _, path in ipairs{"fifo", "/dev/full", ".", "none/x"} do
    local ok, err = pcall(lan.capture, lan, path)
    assert(not ok, path)
    assert_contains(tostring(err), "cannot write the capture '" .. path .. "'")
end
local c = lan:capture("lan.pcapng")
c:close()
LUA
mkfifo fifo
provium test t/files.lua
exits "captures into other things than files" 0
rm t/fails.lua
nothing_left networks
finish
