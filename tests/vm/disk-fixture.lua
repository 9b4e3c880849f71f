-- SPDX-License-Identifier: MIT
-- Served disks in fixtures and clones: frozen with the VM, a layer for each, no rules, what was unflushed.

local image = "build/test-images/root.ext4"

local function sum()
    local p <close> = assert(io.popen("sha256sum <" .. image))
    return p:read("a")
end

local before = sum()
local vm = provium.fixture("disks")
local d = vm:disk("scratch")

local function flush(v)
    assert(v:exec("sync; dd if=/dev/null of=/dev/sda conv=fsync,notrunc").ok)
end

test("a fixture's disks have their content, and no rules", function()
    assert_eq("durable", d:read(0, 7))
    assert_eq("unflushed\n", d:read(4096, 10))
    assert_eq(4096, d:unflushed())
    assert_eq("/dev/sda", d:device())
    assert_eq("durable", vm:exec("head -c 7 /dev/sda").stdout)
    assert(vm:exec("dd if=/dev/sda of=/dev/null bs=4096 skip=2 count=1 iflag=direct").ok)
    assert_eq("of the script", vm:disk("file"):read(20 << 20, 13))
    assert_eq("of the script", vm:exec("dd if=/dev/vda bs=1M skip=20 count=1 2>/dev/null | head -c 13").stdout)
end)

test("each VM of it has layers of its own, which can fail", function()
    local other <close> = provium.fixture("disks")
    local rule = other:disk("scratch"):fail({ op = "write", times = 1 })
    assert(not other:exec("dd if=/dev/zero of=/dev/sda bs=4096 count=1 oflag=direct").ok)
    assert_eq(1, rule:hits())
    assert(other:exec("dd if=/dev/zero of=/dev/sda bs=4096 count=1 oflag=direct").ok)
    assert(other:exec("echo other | dd of=/dev/vda bs=1M seek=20 count=1 conv=fsync,notrunc").ok)
    assert_eq("durable", d:read(0, 7))
    assert_eq("of the script", vm:disk("file"):read(20 << 20, 13))
end)

test("a resumed guest flushes what it wrote before it was saved", function()
    local clone <close> = vm:clone()
    flush(clone)
    assert_eq(0, clone:disk("scratch"):unflushed())
    assert_eq(4096, d:unflushed())
    flush(vm)
    assert_eq(0, d:unflushed())
end)

test("a VM of a fixture loses what was not flushed, and boots again with the script's options", function()
    local other <close> = provium.fixture("disks")
    other:power_cycle()
    assert_eq("durable", other:disk("scratch"):read(0, 7))
    assert_eq(("\0"):rep(10), other:disk("scratch"):read(4096, 10))
    assert_eq("of the script", other:disk("file"):read(20 << 20, 13))
    assert(other:exec("test -b /dev/vda -a -b /dev/sda").ok)
end)

test("the image on the host is what it was", function()
    assert_eq(before, sum())
end)
