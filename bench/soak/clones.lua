-- PV_SOAK_CLONES resumed VMs at once: each has its own files and random numbers. Prints their use of host memory.

local N = tonumber(os.getenv("PV_SOAK_CLONES"))

local function read(command)
    local p <close> = assert(io.popen(command))
    return p:read("a")
end

test("clones side by side", function()
    local vms, seen = {}, {}
    for i = 1, N do
        vms[i] = provium.fixture("soaked")
        vms[i]:write_file("/ram/f", tostring(i))
    end
    for i, vm in ipairs(vms) do
        assert_eq(tostring(i), vm:read_file("/ram/f"))
        local _, bytes = vm:syscall_bufs("getrandom", { [0] = ("\0"):rep(16) }, 0, 16, 0)
        assert(not seen[bytes], "two clones with the same random bytes")
        seen[bytes] = true
    end
    -- PSS of this process ($PPID of the shell) and of its QEMUs
    local kib = tonumber(read([[for p in $PPID $(cat /proc/$PPID/task/*/children); do cat /proc/$p/smaps_rollup; done 2>/dev/null |
        awk '/^Pss:/ { s += $2 } END { print s }']]))
    print(("%d clones at once: PSS %.0f MiB in all, %.1f MiB each"):format(N, kib / 1024, kib / 1024 / N))
end)
