-- PV_SOAK_N resumes of one fixture, one after the other: none fails, the 99th percentile is at most 3 times the median,
-- clocks are right, random bytes differ, and neither the process of this file nor its directories grow.

local N = tonumber(os.getenv("PV_SOAK_N"))

local function read(command)
    local p <close> = assert(io.popen(command))
    return p:read("a")
end

-- Seconds. Starting date(1) takes some ms, which only widens the measured interval.
local function host_time() return tonumber(read("date +%s%N")) / 1e9 end

local function guest_time(vm)
    local rc, ts = vm:syscall_bufs("clock_gettime", { [1] = ("\0"):rep(16) }, 0)
    assert_eq(0, rc)
    local s, ns = ("<i8i8"):unpack(ts)
    return s + ns / 1e9
end

local function random(vm)
    local rc, bytes = vm:syscall_bufs("getrandom", { [0] = ("\0"):rep(16) }, 0, 16, 0)
    assert_eq(16, rc)
    return bytes
end

local function status(pid, key)
    local f <close> = assert(io.open("/proc/" .. pid .. "/status"))
    return tonumber(f:read("a"):match(key .. ":%s*(%d+)"))
end

-- Memory and descriptors of this process, memory of the runner, and the number of their files.
local function size()
    collectgarbage()
    collectgarbage() -- again, for objects with a finalizer
    local own = collectgarbage("count") // 1 -- this test's own data: times, random bytes
    return {
        kib = status("self", "VmRSS") - own,
        own = own,
        runner_kib = status(status("self", "PPid"), "VmRSS"),
        fds = tonumber(read("ls /proc/$PPID/fd | wc -l")),
        open = read("ls -l /proc/$PPID/fd | sed 's/.* -> //; s/[0-9][0-9]*/N/' | sort | uniq -c"),
        logs = tonumber(read('find "$TMPDIR" -name "*.log" | wc -l')),
        files = tonumber(read('find "$TMPDIR" "$XDG_CACHE_HOME" ! -name "*.log" | wc -l')),
    }
end

provium.fixture("soaked"):kill() -- builds it

test("resumes", function()
    local took, seen, off, early, last = {}, {}, 0, nil, nil
    for i = 1, N do
        local before = host_time()
        local vm = provium.fixture("soaked")
        local bytes = random(vm)
        took[i] = host_time() - before
        local t0 = host_time()
        local guest = guest_time(vm)
        local t1 = host_time()
        off = math.max(off, t0 - guest, guest - t1)
        assert(off <= 0.1, ("resume %d: the clock is %.3f s off"):format(i, off))
        assert(not seen[bytes], "two clones with the same random bytes")
        seen[bytes] = true
        vm:kill()
        if i % 50 == 0 then collectgarbage() end -- this test's own garbage must not count
        -- end records of VMs are bounded: they do not grow any more after 200
        if i == math.max(N // 10, math.min(250, N // 2)) then early = { i, size() } end
    end
    last = size()
    table.sort(took)
    local median, p99 = took[(N + 1) // 2], took[math.ceil(N * 0.99)]
    print(("%d resumes, none failed; median %.0f ms, 99th of 100 %.0f ms (%.2f times), worst %.0f ms; clock at most %.1f ms off")
        :format(N, median * 1e3, p99 * 1e3, p99 / median, took[N] * 1e3, off * 1e3))
    for _, what in ipairs({ { early[1], early[2] }, { N, last } }) do
        local s = what[2]
        print(("after %4d: RSS %d KiB beside %d KiB of the test's own (runner %d KiB), %d descriptors, %d console logs, %d other files")
            :format(what[1], s.kib, s.own, s.runner_kib, s.fds, s.logs, s.files))
    end
    assert(p99 <= 3 * median, "the slowest hundredth takes more than 3 times the median")
    if early[2].fds ~= last.fds then print("descriptors then:\n" .. early[2].open .. "now:\n" .. last.open) end
    assert_eq(early[2].fds, last.fds)
    assert_eq(early[2].files, last.files)
    assert(last.kib - early[2].kib <= 1024, "the process has grown by more than 1 MiB")
end)
