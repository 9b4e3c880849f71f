-- For tests/kvm: the clocks of a guest, and what they have to be.
local M = { program = "build/tests/kvm/clocks" }

-- Starts the watcher in vm, which ends with the VM.
function M.watch(vm)
    assert(vm:exec("/clocks watch /tmp/watch </dev/null >/dev/null 2>&1 & sleep 1; test -s /tmp/watch").ok)
end

-- Seconds of CLOCK_MONOTONIC, CLOCK_BOOTTIME and CLOCK_REALTIME, the TSC, and what is between the readings at most.
function M.read(vm)
    local before = provium.now()
    local m, b, r, tsc = vm:exec("/clocks", { timeout = "120s" }).stdout.value:match("(%d+) (%d+) (%d+) (%d+)")
    return { monotonic = m / 1e9, boottime = b / 1e9, realtime = r / 1e9, tsc = math.tointeger(tsc), before = before,
        after = provium.now() }
end

-- CLOCK_REALTIME is the host's.
function M.is_right(vm)
    local before = os.time()
    local at = M.read(vm).realtime
    assert(at >= before - 1 and at <= os.time() + 1, ("CLOCK_REALTIME is %.3f s off"):format(at - before))
end

-- CLOCK_MONOTONIC and CLOCK_BOOTTIME have gone on from `saved`, and the time since then until `resumed` (provium.now())
-- is not in them.
function M.goes_on(vm, saved, resumed)
    local at = M.read(vm)
    for _, clock in ipairs({ "monotonic", "boottime" }) do
        local passed = at[clock] - saved[clock]
        assert(passed > 0, clock .. " went back by " .. -passed .. " s")
        local most = at.after - resumed + (saved.taken - saved.before) + 0.5
        assert(passed < most, ("%s: %.3f s have passed, at most %.3f s can have"):format(clock, passed, most))
    end
    assert(at.tsc > saved.tsc, "the TSC went back")
end

-- A second of the host is a second of the guest, for the clock and, where `khz` is known, the TSC.
function M.same_rate(vm, khz)
    local a = M.read(vm)
    provium.sleep("4s")
    local b = M.read(vm)
    local least, most = b.before - a.after, b.after - a.before
    for name, d in pairs({ monotonic = b.monotonic - a.monotonic, tsc = khz and (b.tsc - a.tsc) / khz / 1e3 }) do
        assert(d > least * 0.999 and d < most * 1.001, ("%s: %.3f s, the host: %.3f to %.3f s"):format(name, d, least, most))
    end
end

-- The watcher's file: no step back, no gap that is longer than `most` seconds, and it still runs.
function M.is_steady(vm, most)
    local function see()
        local n, back, tsc, gap = vm:read_file("/tmp/watch"):match("(%d+) +(%d+) +(%d+) +(%d+)")
        return tonumber(n), tonumber(back), tonumber(tsc), gap / 1e9
    end
    local first = see()
    local n, back, tsc, gap = vm:wait_until(function()
        local now = { see() }
        if now[1] > first then return now end
    end, { timeout = "60s" }), nil, nil, nil
    n, back, tsc, gap = table.unpack(n)
    assert_eq(0, back, "steps back of CLOCK_MONOTONIC in " .. n .. " reads")
    assert_eq(0, tsc, "steps back of the TSC in " .. n .. " reads")
    assert(gap < most, ("a gap of %.3f s, expected less than %.1f s"):format(gap, most))
    log(("%d reads, none back, the longest gap is %.3f s"):format(n, gap))
end

return M
