-- SPDX-License-Identifier: MIT
-- Recordings of disks, the states that a power failure could have left, and checks of them on clones.
local vm = provium.create()
vm:boot{transport = "serial", memory = "128M", disks = {{name = "data", size = "16M"}}}
local d = vm:disk("data")

-- One request: a block of 4 KiB of a letter; sync: flushed before the command ends.
local function put(letter, block, sync)
    vm:sh(("yes %s | head -c 4096 | dd of=%s bs=4096 seek=%d count=1 iflag=fullblock oflag=direct%s 2>/dev/null"):format(
        letter, d:device(), block, sync and " conv=fsync" or ""))
end
local function got(state, block) return state:read(block * 4096, 1) end

put("0", 10, true)
local rec = d:record()
put("1", 10, true)
rec:mark("one")
put("2", 11)
put("3", 12, true)
rec:mark("three")
put("4", 13)
rec:stop()

test("what was recorded is counted", function()
    local s = rec:stats()
    assert_eq(4, s.writes)
    assert_eq(4 * 4096, s.bytes)
    assert(s.flushes >= 2, s.flushes)
    assert_error(function() rec:mark("late") end, "stopped")
end)

test("states keep what was flushed and marked", function()
    local n, seen = 0, {}
    for state in rec:states{at = "write", exhaustive = 8} do
        n = n + 1
        assert_eq(n, state.number)
        for _, mark in ipairs(state.marks) do
            assert(got(state, 10) == "1", "committed: one")
            assert(mark ~= "three" or (got(state, 11) == "2" and got(state, 12) == "3"), "committed: three")
        end
        seen[got(state, 10) .. got(state, 11) .. got(state, 12) .. got(state, 13)] = true
        assert_eq(state:read(40960, 16384), rec:state(n, {at = "write", exhaustive = 8}):read(40960, 16384))
    end
    assert(seen["0\0\0\0"] and seen["1\0\0\0"] and seen["12\0\0"] and seen["1\0" .. "3\0"] and seen["1234"])
    assert_eq(n, rec:stats().states)
    assert_error(function() rec:state(n + 1, {at = "write", exhaustive = 8}) end, "state")
    assert_error(function() rec:states{at = "flsh"} end, 'expected "flush" or "write"')
    assert_error(function() rec:states{sample = 1} end, "did you mean 'samples'")
end)

test("a recording is saved and read again", function()
    local path = os.tmpname()
    rec:save(path)
    local again = provium.recording(path)
    local a, b = rec:state(2, {at = "write"}), again:state(2, {at = "write"})
    assert_eq(a:describe(), b:describe())
    assert_eq(a:read(40960, 16384), b:read(40960, 16384))
    local f = assert(io.open(path, "r+b"))
    f:write("garbage")
    f:close()
    assert_error(function() provium.recording(path) end)
    os.remove(path)
end)

test("each state is looked at in a clone", function()
    local r = rec:check(vm, function(clone, disk, state)
        local read = clone:sh("dd if=" .. disk:device() .. " bs=4096 skip=10 count=1 2>/dev/null | head -c 1")
        assert_eq(got(state, 10), tostring(read))
    end, {at = "write", jobs = 2})
    assert(r.states >= 4, r.states)
    assert_eq({}, r.failures)
end)

test("a failing state is made smaller and described", function()
    local err = assert_error(function()
        rec:check(vm, function(_, _, state)
            assert(got(state, 12) ~= "3" or got(state, 11) == "2", "3 without 2")
        end, {exhaustive = 8, jobs = 2})
    end)
    assert_contains(err, "3 without 2")
    assert_contains(err, "lost: write")
    assert_contains(err, "again: rec:state(")
    assert_error(function() rec:check(vm, 1) end, "needs a function")
    assert_error(function() rec:check(vm, print, {job = 1}) end, "unknown check option 'job'")
end)

test("a check of no state is no ok", function()
    local unflushed = vm:disk("data"):record()
    put("5", 14)
    unflushed:stop()
    local bad = function(_, _, state) assert(got(state, 14) ~= "5", "seen") end
    assert_error(function() unflushed:check(vm, bad) end, "looked at no state")
    assert_contains(assert_error(function() unflushed:check(vm, bad, {at = "write", jobs = 1}) end), "seen")
end)

test("of two O_DIRECT writes the flushed one is in all states, and a 16 KiB write is torn by sector", function()
    d:write(1 << 20, ("\0"):rep(32768))
    put("A", 256, true)
    local r = d:record()
    vm:sh("yes B | head -c 16384 | dd of=" .. d:device() .. " bs=16384 seek=65 count=1 iflag=fullblock oflag=direct 2>/dev/null")
    r:stop()
    assert_eq(1, r:stats().writes)
    local torn = 0
    for state in r:states({ at = "write", samples = 30, torn = true }) do
        assert_eq("A", got(state, 256))
        local data, kept = state:read(65 * 16384, 16384), 0
        for at = 1, 16384, 512 do
            local sector = data:sub(at, at + 511)
            assert(sector == ("B\n"):rep(256) or sector == ("\0"):rep(512), "a sector is torn")
            kept = kept + (sector:byte() ~= 0 and 1 or 0)
        end
        if kept > 0 and kept < 32 then torn = torn + 1 end
    end
    assert(torn >= 5, torn)
end)

test("a state with another partition table is read anew", function()
    local function table_of(n) -- a DOS label with n partitions of 1 MiB
        local entries = ""
        for i = 1, n do entries = entries .. provium.pack("u32 u32 u32 u32", 0, 0x83, i * 2048, 2048) end
        return ("\0"):rep(446) .. entries .. ("\0"):rep(64 - #entries) .. "\x55\xaa"
    end
    d:write(0, table_of(1))
    local r = d:record()
    d:write(0, table_of(2))
    d:write(0, table_of(3))
    r:stop()
    local seen = {}
    r:check(vm, function(clone, disk, state)
        local node = disk:device():match("/dev/(.*)")
        local _, n = clone:sh("ls /sys/block/" .. node):gsub(node .. "%d", "")
        seen[state.number] = n
    end, { at = "write", jobs = 1 })
    assert_eq({ 2, 3 }, seen)
end)

test("wrong arguments of check get check's words", function()
    local function fine() end
    assert_error(function() rec:check(d, fine) end, "check needs a VM, of which it makes clones, got userdata")
    assert_error(function() rec:check(vm, fine, {samples = 1.5}) end, "check option 'samples'")
    assert_error(function() rec:check(vm, fine, {jobs = 0}) end, "check option 'jobs'")
    assert_error(function() rec:check(vm, fine, {stop = 1}) end, "check option 'stop'")
    assert_error(function() rec:check(vm, fine, 7) end, "check")
end)

test("what a check function raises is told, whatever it is", function()
    local err = assert_error(function()
        rec:check(vm, function() error({code = 5}) end, {jobs = 1})
    end)
    assert_contains(err, "code")
    assert(not err:find("table: 0x", 1, true), err)
end)

test("the smallest state's own number is told", function()
    local function bad(state) return got(state, 11) ~= "2" end
    local err = assert_error(function()
        rec:check(vm, function(_, _, state) assert(not bad(state), "2 is gone") end, {at = "write", jobs = 1})
    end)
    local number, options = err:match("again: rec:state%((%d+), (%b{})%)")
    local state = rec:state(tonumber(number), load("return " .. options)())
    assert(bad(state), state:describe())
    assert_contains(err, "state 1 fails: " .. state:describe())
    assert_contains(err, 'as found: rec:state(1, {at="write"})')
end)

test("skip() in a check function skips the test", function()
    rec:check(vm, function() skip("no tool for this") end, {jobs = 1})
end)

test("recorded disks with names that begin alike", function()
    local two <close> = provium.create()
    two:boot{transport = "serial", memory = "128M", disks = {
        {name = "sharing-14-bytes-a", size = "1M"}, {name = "sharing-14-bytes-b", size = "1M"}}}
    local a, b = two:disk("sharing-14-bytes-a"), two:disk("sharing-14-bytes-b")
    local both = provium.record{a, b}
    a:write(0, "first")
    b:write(0, "second")
    both:stop()
    local result = both:check(two, function(clone, disks)
        for name, size in pairs{["sharing-14-bytes-a"] = 5, ["sharing-14-bytes-b"] = 6} do
            local first = disks[name]:read(0, size)
            assert(first == "first" or first == "second" or first == ("\0"):rep(size), first)
        end
        clone:sh("test -b " .. disks["sharing-14-bytes-b"]:device())
    end, {at = "write", jobs = 1})
    assert(result.states >= 2, result.states)
end)
