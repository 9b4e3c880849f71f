-- SPDX-License-Identifier: MIT
-- Planted crash bugs, which rec:check must find, and their correct twins, which it must pass: a log that forgets to
-- flush, and two writes in the wrong order.

local vm = provium.create("minimal")
vm:boot({ transport = "serial", memory = "128M", disks = { { name = "data", size = "1M" }, { name = "log", size = "1M" } } })
local data, log_disk = vm:disk("data"), vm:disk("log")
local paths = { data = data:device(), log = log_disk:device() }

local function put(disk, block, letter, sync)
    vm:sh(("yes %s | head -c 4096 | dd of=%s bs=4096 seek=%d count=1 iflag=fullblock oflag=direct%s 2>/dev/null"):format(
        letter, paths[disk], block, sync and " conv=fsync" or ""))
end

local function first(disk, block) return disk:read(block * 4096, 1) end

-- Records A, B behind each other; block 0 has the last record's letter. `flush`: each record before its commit.
local function append(rec, flush)
    for block, letter in ipairs({ "A", "B" }) do
        put("data", block, letter, flush)
        put("data", 0, letter, true)
        rec:mark(letter)
    end
end

local function log_is_whole(_, disk, state)
    local head = first(disk, 0)
    local n = head == "B" and 2 or head == "A" and 1 or 0
    assert(n >= #state.marks, "an acknowledged record is not committed")
    for block = 1, n do
        assert_eq(({ "A", "B" })[block], first(disk, block), "a committed record is gone")
    end
end

local function recorded(workload)
    data:write(0, ("\0"):rep(16384))
    local rec = data:record()
    workload(rec)
    rec:stop()
    return rec
end

test("a log with a missing flush", function()
    local rec = recorded(function(r) append(r, false) end)
    local err = assert_error(function() rec:check(vm, log_is_whole, { exhaustive = 6, jobs = 2 }) end)
    assert_contains(err, "a committed record is gone")
    assert_contains(err, "lost: write 1 of 4, 4 KiB at 4096")
end)

test("the same log with its flushes", function()
    local rec = recorded(function(r) append(r, true) end)
    local result = rec:check(vm, log_is_whole, { exhaustive = 6, jobs = 2 })
    assert(result.states >= 5, result.states)
end)

test("two writes in the wrong order on two disks", function()
    local function workload(right)
        data:write(0, ("\0"):rep(4096))
        log_disk:write(0, ("\0"):rep(4096))
        local rec = provium.record({ data, log_disk })
        put(right and "log" or "data", 0, right and "L" or "D", true)
        put(right and "data" or "log", 0, right and "D" or "L", true)
        rec:stop()
        return rec
    end
    local function logged(_, disks)
        assert(first(disks.data, 0) ~= "D" or first(disks.log, 0) == "L", "changed before it was logged")
    end
    local err = assert_error(function() workload(false):check(vm, logged, { at = "write", jobs = 2 }) end)
    assert_contains(err, "changed before it was logged")
    assert(workload(true):check(vm, logged, { at = "write", jobs = 2 }).states >= 2)
end)

test("a power cut ends several disks at one instant, torn and random as the seed says", function()
    local function cut(seed)
        data:write(0, ("\0"):rep(16384))
        log_disk:write(0, ("\0"):rep(16384))
        for block = 0, 3 do
            put("data", block, "D")
            put("log", block, "L")
        end
        vm:power_cycle({ keep = "random", torn = true, seed = seed })
        assert_eq(0, data:unflushed() + log_disk:unflushed())
        return data:read(0, 16384) .. log_disk:read(0, 16384)
    end
    local a = cut(5)
    assert_eq(a, cut(5))
    local sectors = {}
    for at = 1, #a, 512 do
        local whole = a:sub(at, at + 511)
        assert(whole == ("\0"):rep(512) or not whole:find("\0"), "a sector is torn")
        sectors[#sectors + 1] = whole:byte() == 0 and "." or "x"
    end
    local text = table.concat(sectors)
    assert(text:find("%.") and text:find("x"), text)
end)
