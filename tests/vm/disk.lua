-- Disks that fail: names, buses, faults, and the volatile cache.

local vm = provium.create("minimal")
vm:boot({ memory = "192M", transport = "serial", disks = {
    { name = "data", size = "32M" },
    { name = "four", size = "16M", sector = 4096, bus = "scsi" },
} })
local d = vm:disk("data")

local function dd(device, args)
    return vm:exec(("dd if=/dev/zero of=%s bs=4096 count=1 %s"):format(device, args or "oflag=direct"))
end
local function fill(text, at)
    return vm:exec(("yes %s | head -c 4096 >/tmp/block; dd if=/tmp/block of=/dev/vda bs=4096 seek=%d oflag=direct"):format(text, at)).ok
end

test("the guest knows a disk by its name", function()
    assert_eq("/dev/vda", d:device())
    assert_eq("/dev/sda", vm:disk("four"):device())
    assert_eq("data", vm:exec("cat /sys/block/vda/serial").stdout:trim())
    assert_eq("4096", vm:exec("cat /sys/block/sda/queue/logical_block_size").stdout:trim())
    for _, name in ipairs({ "vda", "sda" }) do
        assert_eq("write back", vm:exec("cat /sys/block/" .. name .. "/queue/write_cache").stdout:trim())
    end
    assert_error(function() vm:disk("nope") end, "it has 'data', 'four'")
end)

for _, name in ipairs({ "data", "four" }) do
    test("each request of " .. name .. " can fail", function()
        local disk = vm:disk(name)
        local device = disk:device()
        local rule = disk:fail({ op = "write", after = 2, times = 1 })
        local got = {}
        for i = 1, 4 do got[i] = dd(device, "oflag=direct seek=" .. i).ok end
        assert_eq({ true, true, false, true }, got)
        assert_eq(1, rule:hits())
        rule:wait(1)
        local flush = disk:fail({ op = "flush", times = 1 })
        assert(not dd(device, "conv=fsync").ok)
        assert_eq(1, flush:hits())
        local read = disk:fail({ op = "read", from = 8192, to = 12287 })
        assert(vm:exec("dd if=" .. device .. " of=/dev/null bs=4096 count=1 iflag=direct").ok)
        assert(not vm:exec("dd if=" .. device .. " of=/dev/null bs=4096 skip=2 count=1 iflag=direct").ok)
        assert(read:hits() >= 1)
        disk:clear()
        assert(dd(device).ok)
    end)
end

test("on_hit runs as a task", function()
    local hit
    local rule = d:fail({ op = "write", times = 1, on_hit = function(r) provium.sleep(0.01) hit = r:hits() end })
    assert(not dd("/dev/vda").ok)
    rule:wait(1)
    vm:wait_until(function() return hit end)
    assert_eq(1, hit)
end)

test("disks come and go", function()
    for _, bus in ipairs({ "virtio", "nvme", "scsi" }) do
        local extra = vm:attach_disk({ name = "extra", size = "8M", bus = bus, sector = 4096 })
        local device = extra:device()
        extra:write(4096, "plugged")
        assert_eq("plugged", vm:exec("dd if=" .. device .. " bs=4096 skip=1 count=1 2>/dev/null | head -c 7").stdout)
        local rule = extra:fail({ op = "write", times = 1 })
        assert(not dd(device).ok)
        assert(dd(device).ok)
        assert_eq(1, rule:hits())
        assert_error(function() vm:attach_disk({ name = "extra", size = "8M" }) end, "called 'extra'")
        assert_error(function() vm:attach_disk({ path = "provium.toml", format = "vhd" }) end,
            "cannot attach a disk to .* disk 'provium.toml': unknown format 'vhd'")
        if bus == "nvme" then assert_error(function() vm:clone() end, "nvme") end
        vm:detach_disk("extra")
        assert(not vm:exec("test -b " .. device).ok)
        assert_error(function() extra:size() end, "no disk 'extra'")
    end
    assert_error(function() vm:detach_disk("data") end, "when the VM was booted")
end)

test("a clone has a layer of its own, without rules, and what was unflushed", function()
    assert(dd("/dev/vda", "oflag=direct conv=fsync").ok)
    assert(fill("c", 5))
    local unflushed = d:unflushed()
    assert(unflushed >= 4096)
    local rule <close> = d:fail({ op = "write" })
    local clone <close> = vm:clone()
    local cd = clone:disk("data")
    assert_eq("c\nc\n", cd:read(5 * 4096, 4))
    assert_eq(unflushed, cd:unflushed())
    assert_eq(unflushed, d:unflushed())
    assert(clone:exec("dd if=/dev/zero of=/dev/vda bs=4096 seek=5 count=1 oflag=direct").ok)
    assert_eq("c\nc\n", d:read(5 * 4096, 4))
    assert_eq(0, rule:hits())
    assert(not dd("/dev/vda").ok)
    assert_eq(1, rule:hits())
    -- a flush of the guest reaches the disk although QEMU has flushed the node for the snapshot
    rule:remove()
    assert(vm:exec("sync; dd if=/dev/null of=/dev/vda conv=fsync,notrunc").ok)
    assert_eq(0, d:unflushed())
end)

test("a power cut loses what was not flushed, and a kill nothing", function()
    assert(fill("a", 0) and vm:exec("dd if=/dev/null of=/dev/vda conv=fsync,notrunc").ok)
    assert(fill("b", 1))
    vm:power_cut()
    assert_error(function() vm:exec("true") end)
    vm:boot()
    assert_eq("a\na\n", d:read(0, 4))
    assert(d:read(4096, 4) ~= "b\nb\n")
    assert(fill("b", 1))
    vm:power_cycle({ keep = "all" })
    assert_eq("b\nb\n", d:read(4096, 4))
    assert(fill("k", 2))
    d:hang()
    vm:kill()
    assert_eq("k\nk\n", d:read(8192, 4))
    assert_eq(0, d:unflushed())
end)

test("a power cut at a request", function()
    vm:boot()
    assert(fill("x", 3))
    vm:power_cut({ at = { disk = "data", op = "flush" } })
    assert_error(function() vm:exec("dd if=/dev/null of=/dev/vda conv=fsync,notrunc") end, "killed")
    assert(d:read(3 * 4096, 4) ~= "x\nx\n")
end)

test("an image keeps what a power cut leaves", function()
    local path = os.tmpname()
    defer(function() os.remove(path) end)
    assert(os.execute("truncate -s 4M " .. path))
    local other <close> = provium.create("minimal")
    other:boot({ memory = "192M", disks = { { path = path, faults = true } } })
    assert(other:exec("echo kept | dd of=/dev/vda bs=512 conv=sync,fsync").ok)
    assert(other:exec("echo lost | dd of=/dev/vda bs=512 seek=1 conv=sync oflag=direct").ok)
    other:power_cut()
    local f <close> = assert(io.open(path, "rb"))
    assert_eq("kept\n", f:read(5))
    f:seek("set", 512)
    assert_eq(("\0"):rep(5), f:read(5))
end)

test("errors name the disk and say how to go on", function()
    local path = os.tmpname()
    defer(function() os.remove(path) end)
    assert(os.execute("truncate -s 1M " .. path))
    local plain <close> = provium.create("minimal")
    plain:boot({ memory = "192M", disks = { { path = path, name = "plain" }, { size = "1M", bus = "nvme" } }, transport = "serial" })
    assert_eq("/dev/vda", plain:disk("plain"):device())
    assert_error(function() plain:disk("plain"):fail({}) end, "faults = true")
    assert_error(function() plain:power_cut() end, "'plain'")
    assert_error(function() plain:clone() end, "nvme")
    assert_error(function() plain:boot() end, "is running")
    for text, disk in pairs({
        ["'sector' must be 512 or 4096"] = { size = "1M", sector = 1000 },
        ["'bus' is 'ide'"] = { size = "1M", bus = "ide" },
        ["1 to 20 bytes"] = { size = "1M", name = ("x"):rep(21) },
        ["not both"] = { size = "1M", path = path },
        ["needs a path"] = { name = "a" },
        ["belongs to a disk with a path"] = { size = "1M", snapshot = true },
    }) do
        assert_error(function() provium.create("minimal"):boot({ disks = { disk } }) end, text)
    end
    assert_error(function()
        provium.create("minimal"):boot({ disks = { { name = "a", size = "1M" }, { name = "a", size = "1M" } } })
    end, "two disks are called 'a'")
end)
