-- Snapshots of a VM, clones, and wrong uses of both.

local vm = provium.create("minimal")
vm:boot({ memory = "256M", transport = "serial", disks = {
    { path = "build/test-images/root.ext4", snapshot = true },
    { path = "build/test-images/root.squashfs", snapshot = true },
} })
vm:mount_vfs()
assert(vm:exec("mkdir -p /disk /mnt && mount -t ext4 /dev/vda /disk && echo before >/disk/f && echo before >/tmp/f && sync").ok)
local before = vm:snapshot()

-- The state that a restore brings back: mounts, files in memory and on a disk, every byte of a disk without a file
-- system.
local function state(v)
    return v:exec("echo 3 >/proc/sys/vm/drop_caches; cat /proc/mounts /tmp/f /disk/f; ls /mnt; sha256sum /dev/vdb").stdout.value
end
local want = state(vm)

test("a restore undoes changes, 10 times in a row", function()
    for i = 1, 10 do
        assert(vm:exec(("echo %d >/tmp/f; echo %d >/disk/f; mount -t tmpfs none /mnt; touch /mnt/x; sync"):format(i, i)).ok)
        assert(vm:exec("dd if=/dev/urandom of=/disk/big bs=64k count=16 conv=fsync 2>/dev/null; umount /disk").ok)
        assert(vm:exec("dd if=/dev/urandom of=/dev/vdb bs=64k seek=3 count=8 conv=fsync 2>/dev/null").ok)
        assert_ne(want, state(vm))
        vm:restore(before)
        assert_eq(want, state(vm))
    end
end)

test("a save does not make the clock late, nor right where the test has set it", function()
    -- Seconds by which the guest's clock is behind the uptime of the host, at least: plus or minus a constant.
    local function late()
        local most = -math.huge
        for _ = 1, 5 do
            local f <close> = assert(io.open("/proc/uptime"))
            local host = f:read("n")
            most = math.max(most, host - vm:time())
        end
        return most
    end
    vm:set_time(os.time() - 1000)
    local first = late()
    for _ = 1, 5 do vm:snapshot() end
    local last = late()
    log(("5 snapshots: %.4f s"):format(last - first))
    assert(last - first < 0.1, ("the clock is late by %.3f s after 5 snapshots"):format(last - first))
    assert(os.time() - vm:time() > 900, "the clock is the host's")
end)

test("a restore after a kill", function()
    vm:kill()
    assert_error(function() vm:exec("true") end, "killed")
    vm:restore(before)
    assert_eq(want, state(vm))
end)

test("clones", function()
    vm:write_file("/tmp/f", "now\n")
    local now, then_ = vm:clone(), vm:clone(before)
    assert_eq("now\n", now:read_file("/tmp/f"))
    assert_eq("before\n", then_:read_file("/tmp/f"))
    for v, name in pairs({[vm] = "vm1", [now] = tostring(now):match("vm%d+")}) do
        assert_eq(name, v:exec("hostname").stdout.trim())
        assert_eq(name .. "\n", v:read_file("/etc/hostname"))
    end
    now:exec("hostname mine")
    local mine = now:clone()
    assert_eq("mine", mine:exec("hostname").stdout.trim())
    mine:kill()
    now:write_file("/tmp/f", "clone\n")
    assert_eq("now\n", vm:read_file("/tmp/f"))
    now:restore(before)
    assert_eq("before\n", now:read_file("/tmp/f"))
    local other = now:clone()
    assert_eq("before\n", other:read_file("/tmp/f"))
    now:kill()
    then_:kill()
    other:kill()
end)

test("workers end with a restore", function()
    local w = vm:spawn()
    assert_eq(0, w:exec("true").exit_code)
    vm:restore(before)
    assert_error(function() w:exec("true") end, "killed")
    assert_eq(0, vm:spawn():exec("true").exit_code)
end)

test("wrong uses", function()
    assert_error(function() vm:restore() end, "restore needs what vm:snapshot%(%) returned, got nothing")
    assert_error(function() vm:restore("x") end, 'got string "x"')
    assert_error(function() vm:restore(before, { timout = 1 }) end, "did you mean 'timeout'")
    local fresh = provium.create("minimal")
    assert_error(function() fresh:snapshot() end, "not booted")
    assert_error(function() fresh:clone() end, "not booted")
    assert_error(function() fresh:restore(before) end, "which vm%d+ is no clone of")
    fresh:boot()
    assert_error(function() fresh:snapshot() end, 'transport = "serial"')
    fresh:kill()
    local closed
    do
        local s <close> = vm:snapshot()
        closed = s
    end
    assert_contains(tostring(closed), "closed")
    assert_error(function() vm:restore(closed) end, "was closed")
    assert_contains(tostring(before), "snapshot of vm1")
    assert_error(function() vm:spawn():snapshot() end, "a worker has no method 'snapshot'")
end)
