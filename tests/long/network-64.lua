-- SPDX-License-Identifier: MIT
-- 64 VMs of 96 MiB from one fixture on one network all ping the first one. Not in `make check`:
--
--     build/provium test --config tests/provium.toml --timeout 1h tests/long/network-64.lua
--
-- PROVIUM_TEST_NODES has another number of VMs.
local NODES = tonumber(os.getenv("PROVIUM_TEST_NODES") or "64")

local function seconds()
    local f <close> = assert(io.open("/proc/uptime"))
    return f:read("n")
end

-- KiB of this process and of its QEMUs: shares of memory (Pss), so that nothing is counted twice.
local function memory_kib(pid)
    local f <close> = assert(io.open("/proc/" .. pid .. "/smaps_rollup"))
    return tonumber(f:read("a"):match("\nPss:%s*(%d+)"))
end

local function children(pid)
    local f <close> = assert(io.open(("/proc/%d/task/%d/children"):format(pid, pid)))
    return f:read("a"):gmatch("%d+")
end

local lan = provium.network("lan", {subnet = "10.7.0.0/24", seed = 1, hosts = true})
local nodes = {}

test("all are resumed", function()
    local start = seconds()
    for i = 1, NODES do
        nodes[i] = provium.fixture("node", {nets = {lan}, timeout = "30m"})
        assert_eq("10.7.0." .. i, nodes[i]:ip(lan))
    end
    log(("%d nodes after %.0f s"):format(NODES, seconds() - start))
end)

test("each has a MAC and addresses of its own", function()
    local seen = {}
    for _, node in ipairs(nodes) do
        local mac = node:mac(lan)
        assert(not seen[mac], mac)
        seen[mac] = true
        assert_contains(node:sh("ip addr show dev eth0"), node:ip(lan) .. "/24")
    end
end)

test("all ping the first one at once, and by name", function()
    local start, tasks, first = seconds(), {}, nodes[1]:sh("hostname"):trim()
    for i = 2, NODES do
        tasks[#tasks + 1] = function()
            -- A guest gives up an ARP question after 3 s, in which a busy host may not have run the one that answers.
            local r = nodes[i]:exec("until ping -c 1 -W 60 10.7.0.1; do sleep 1; done; ping -c 1 -W 60 " .. first,
                {timeout = "10m"})
            assert(r.ok, "node " .. i .. ": " .. r.stdout .. r.stderr)
        end
    end
    provium.all(tasks)
    log(("%d nodes pinged after %.0f s"):format(NODES - 1, seconds() - start))
end)

test("a broadcast reaches all", function()
    local start, sent, first = seconds(), 0, nodes[1]:sh("hostname"):trim()
    nodes[1]:exec("arping -c 1 -w 5 -I eth0 10.7.0.250")
    for _, d in ipairs(lan:stats()) do
        if d.from == first and d.delivered > 0 then sent = sent + 1 end
    end
    assert_eq(NODES - 1, sent)
    for _, node in ipairs(nodes) do assert_eq(0, #node:reports()) end
    local f <close> = assert(io.open("/proc/self/stat"))
    local pid, qemus, n = f:read("n"), 0, 0
    for child in children(pid) do
        local ok, kib = pcall(memory_kib, child)
        if ok and kib then qemus, n = qemus + kib, n + 1 end
    end
    log(("memory: this process %d MiB, %d QEMUs %d MiB (%.0f each); %.0f s"):format(memory_kib(pid) // 1024, n,
        qemus // 1024, qemus / 1024 / math.max(n, 1), seconds() - start))
end)
