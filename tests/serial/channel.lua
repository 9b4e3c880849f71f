-- Properties of virtio-serial alone: the port's owner, a guest that damages the stream, the report of its end.

local function uptime()
    return tonumber(io.open("/proc/uptime"):read("n"))
end

local function boot()
    local vm = provium.create("minimal")
    vm:boot({ transport = "serial" })
    vm:mount_vfs()
    return vm
end

-- Writes to the port from a session, through the descriptor of the agent's supervisor, as only root can.
local function write_to_port(vm, bytes)
    local pid = vm:syscall("pidfd_open", vm:syscall("getppid"), 0)
    assert(pid >= 0, "pidfd_open: " .. pid)
    for n = 3, 40 do
        local fd = vm:syscall("pidfd_getfd", pid, n, 0)
        if fd >= 0 then
            local len, _, name = vm:syscall_bufs("readlinkat", { [1] = "/proc/self/fd/" .. fd .. "\0", [2] = ("\0"):rep(100) },
                -100, 0, 0, 100)
            if len > 0 and name:find("vport", 1, true) then
                return vm:syscall_buf("write", 1, bytes, fd, 0, #bytes)
            end
            vm:syscall("close", fd)
        end
    end
    error("no descriptor of the supervisor is the port")
end

test("no vsock module is loaded, and nobody else gets the port", function()
    local vm = boot()
    assert(not vm:read_file("/proc/modules"):find("vsock", 1, true))
    assert_contains(vm:exec("cat /sys/class/virtio-ports/*/name").stdout, "provium.agent")
    assert_contains(vm:exec("echo garbage >/dev/vport0p1 || cat /dev/vport*").stderr, "busy")
    vm:shutdown()
end)

test("a guest that writes garbage to the port: reported at once, and its VM alone is lost", function()
    local other = boot()
    for _, garbage in ipairs({ ("\0"):rep(8), "\4\0\9\0\1\0\0\0x" }) do
        local vm = boot()
        local start = uptime()
        local why = assert_error(function()
            write_to_port(vm, garbage)
            vm:exec("true")
        end)
        assert_contains(why, "the guest sent")
        assert(uptime() - start < 10, "it took " .. uptime() - start .. " s")
        vm:kill()
    end
    assert_eq("fine", other:exec("echo fine").stdout.trim())
    other:shutdown()
end)

test("a guest that kills its agent and all else: reported at once", function()
    local vm = boot()
    local start = uptime() -- QEMU reports a port at most once a second
    assert_contains(assert_error(function() vm:exec("kill -9 -1; sleep 100") end), "agent")
    assert(uptime() - start < 3, "it took " .. uptime() - start .. " s")
    start = uptime()
    assert_error(function() vm:exec("true") end)
    assert(uptime() - start < 1, "the next call took " .. uptime() - start .. " s")
end)

test("a panic is reported at once", function()
    local vm = boot()
    local start = uptime()
    assert_contains(assert_error(function() vm:exec("echo c >/proc/sysrq-trigger; sleep 100") end), "sysrq triggered crash")
    assert(uptime() - start < 30)
end)
