-- A guest that stands still is recognised long before the limit, and told as what it is. `halt -f` stops all CPUs for
-- good, with interrupts off. A guest that sleeps or computes is no such guest.

local far = { timeout = "5m" } -- never reached

local function uptime()
    local f = io.open("/proc/uptime")
    local s = f:read("n")
    f:close()
    return s
end

test("while it boots", function()
    local vm = provium.create()
    local start = uptime()
    local why = assert_error(function()
        vm:boot({ timeout = "5m", append = "rdinit=/bin/busybox -- halt -f" })
    end)
    assert_contains(why, "cannot boot")
    assert_contains(why, "stands still: all its CPUs are halted with interrupts off (CPU 0 at ")
    assert_contains(why, "System halted") -- the console
    assert(uptime() - start < 100)
    assert_error(function() vm:exec("true") end, "is dead: the guest stands still")
end)

test("during calls, with several CPUs", function()
    local vm = provium.create()
    vm:boot({ cpus = 2, timeout = "2m" })
    local start = uptime()
    -- Its vsock device goes first, so either of these calls may be the one that waits when it is seen.
    local why = assert_error(function() vm:exec("busybox halt -f", far) end)
    why = why .. assert_error(function() vm:exec("true", far) end)
    assert_contains(why, "died: the guest stands still")
    assert_contains(why, "CPU 1 at ")
    assert(uptime() - start < 100)
end)

local vm = provium.create()
vm:boot({ timeout = "2m" })

test("not when it sleeps, computes, or blocks in a system call", function()
    assert(vm:exec("sleep 9", far).ok)
    assert(vm:exec("i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done", far).ok)
    local nanosleep = provium.pack("i64 i64", 9, 0)
    assert_eq(0, vm:syscall_buf("nanosleep", 0, nanosleep))
end)

test("not when QEMU was stopped by a signal", function()
    local pid = io.popen("pgrep -n -P $PPID qemu"):read("n")
    assert(pid, "no QEMU below this process")
    os.execute(string.format("kill -STOP %d; (sleep 12; kill -CONT %d) >/dev/null 2>&1 &", pid, pid))
    assert(vm:exec("true", far).ok)
end)
