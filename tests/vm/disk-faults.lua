-- SPDX-License-Identifier: MIT
-- Every fault on every bus, as a guest sees it: errno in the program, the kernel's message, ext4 read-only.

local plain = os.tmpname()
assert(os.execute("truncate -s 4M " .. plain))
local vm = provium.create("minimal")
vm:boot({ memory = "192M", transport = "serial", append = "loglevel=7", disks = {
    { name = "virtio", size = "32M" },
    { name = "nvme", size = "32M", bus = "nvme" },
    { name = "scsi", size = "32M", bus = "scsi" },
    { name = "plain", path = plain },
} })

local O_DIRECT_RDWR, BLKDISCARD = 0x4002, 0x1277
local EIO, ENOSPC, ENODATA, EOPNOTSUPP = -5, -28, -61, -95
local PREAD, PWRITE, FSYNC = 17, 18, 74
local buffer = vm:alloc(4096)

-- The system call of each kind of request, with the program's result; block: of 4 KiB.
local requests = {
    read = function(fd, block) return vm:syscall(PREAD, fd, buffer, 4096, block * 4096) end,
    write = function(fd, block) return vm:syscall(PWRITE, fd, buffer, 4096, block * 4096) end,
    flush = function(fd) return vm:syscall(FSYNC, fd) end,
    discard = function(fd, block)
        return (vm:ioctl(fd, BLKDISCARD, provium.pack("u64 u64", block * 4096, 4096)))
    end,
}

local function one_of(value, ...)
    for _, v in ipairs({ ... }) do if v == value then return end end
    fail(("%s is none of %s"):format(value, table.concat({ ... }, ", ")))
end

for _, bus in ipairs({ "virtio", "nvme", "scsi" }) do
    test("faults on " .. bus, function()
        local d = vm:disk(bus)
        local fd = vm:syscall_buf("open", 0, d:device() .. "\0", 0, O_DIRECT_RDWR, 0)
        assert(fd >= 0, fd)
        for op, request in pairs(requests) do
            for _, errno in ipairs({ "EIO", "ENOSPC", "ETIMEDOUT" }) do
                if op == "flush" then requests.write(fd, 1) end
                local rule <close> = d:fail({ op = op, errno = errno, times = 1 })
                local got, full = request(fd, 1), bus == "scsi" and errno == "ENOSPC"
                one_of(got, full and ENOSPC or EIO, not full and bus == "nvme" and ENODATA or got)
                assert(got < 0, op)
                assert_eq(1, rule:hits(), op)
                rule:remove()
                if op == "flush" then requests.write(fd, 1) end
                assert(request(fd, 1) >= 0, op)
            end
            if op == "flush" then requests.write(fd, 1) end
            d:hang()
            local task = provium.async(request, fd, 1)
            provium.sleep(0.2)
            assert(not task:done(), op)
            d:unhang()
            assert(task:wait() >= 0, op)
        end
        local node = d:device():match("/dev/(.*)")
        local log = vm:console():log()
        assert(log:find("rror[^\n]*" .. node) or log:find(node .. "[^\n]*rror") or log:find(node .. "[^\n]*FAILED"), log)
        vm:syscall("close", fd)
    end)

    test("delays and repeated faults on " .. bus, function()
        local d = vm:disk(bus)
        local fd = vm:syscall_buf("open", 0, d:device() .. "\0", 0, O_DIRECT_RDWR, 0)
        local every <close> = d:fail({ op = "write", every = 2, times = 2 })
        local got = {}
        for i = 1, 6 do got[i] = requests.write(fd, i) > 0 end
        assert_eq({ true, false, true, false, true, true }, got)
        local function chance()
            local rule <close> = d:fail({ op = "read", chance = 0.5, seed = 3 })
            local seen = {}
            for i = 1, 16 do seen[i] = requests.read(fd, i) > 0 end
            assert(rule:hits() > 0 and rule:hits() < 16, rule:hits())
            return seen
        end
        assert_eq(chance(), chance())
        local begin = provium.now()
        local slow <close> = d:delay({ op = "write", rate = "20k" })
        requests.write(fd, 1)
        requests.write(fd, 1)
        assert(provium.now() - begin >= 0.2, "20 kB a second were faster")
        vm:syscall("close", fd)
    end)

    test("O_DSYNC and the cache of " .. bus, function()
        local d = vm:disk(bus)
        local node = d:device():match("/dev/(.*)")
        assert_eq("write back\n", vm:read_file("/sys/block/" .. node .. "/queue/write_cache"))
        assert_eq(bus == "nvme" and "1\n" or "0\n", vm:read_file("/sys/block/" .. node .. "/queue/fua"))
        vm:exec("dd if=/dev/zero of=" .. d:device() .. " bs=4096 count=1 oflag=direct conv=notrunc")
        assert(d:unflushed() > 0)
        local fd = vm:syscall_buf("open", 0, d:device() .. "\0", 0, O_DIRECT_RDWR | 0x1000, 0) -- O_DSYNC
        assert_eq(4096, requests.write(fd, 9))
        assert_eq(0, d:unflushed())
        vm:syscall("close", fd)
    end)
end

-- QEMU stands still while it resets a controller with requests under way, until they are answered.
test("nvme's driver resets a controller that hangs", function()
    local d = vm:disk("nvme")
    vm:write_file("/sys/block/nvme0n1/queue/io_timeout", "1000")
    local fd = vm:syscall_buf("open", 0, d:device() .. "\0", 0, O_DIRECT_RDWR, 0)
    local written = d:stats().write.requests
    d:write(0, "before")
    d:hang()
    local task = provium.async(requests.write, fd, 0)
    one_of(task:wait(120), EIO, ENODATA)
    assert_contains(vm:console():log(), "reset controller")
    assert_eq(written + 1, d:stats().write.requests)
    assert_eq("before", d:read(0, 6)) -- what was under way is lost
    d:unhang()
    vm:wait_until(function() return requests.write(fd, 0) > 0 end, { timeout = 60 })
    vm:write_file("/sys/block/nvme0n1/queue/io_timeout", "30000")
    vm:syscall("close", fd)
end)

-- Beside virtio and scsi, whose kernel is told of no FUA and flushes instead.
test("QEMU's nvme does not pass FUA on", function()
    local d = vm:disk("nvme")
    local fd = vm:syscall_buf("open", 0, d:device() .. "\0", 0, O_DIRECT_RDWR, 0)
    d:flush()
    local before = d:stats()
    local WRITE, FUA, SUBMIT_IO = 1, 1 << 14, 0x40304e42 -- struct nvme_user_io
    local command = provium.pack("u8 u8 u16 u16 u16 u64 u64 u64 u32 u32 u16 u16 u32", WRITE, 0, FUA, 7, 0, 0, buffer, 24,
        0, 0, 0, 0, 0)
    assert_eq(0, (vm:ioctl(fd, SUBMIT_IO, command)))
    assert_eq(before.write.requests + 1, d:stats().write.requests)
    assert_eq(before.flush.requests, d:stats().flush.requests)
    assert_eq(4096, d:unflushed(), "this QEMU passes FUA on: docs/lua-api.md says that none does")
    vm:syscall("close", fd)
end)

test("ext4 is mounted read-only after an error of its journal", function()
    local d = vm:disk("virtio")
    d:clear()
    assert(os.execute("rm -f " .. plain .. ".fs && mke2fs -q -t ext4 -E lazy_itable_init=0 -F " .. plain .. ".fs 32M >/dev/null 2>&1"))
    local f <close> = assert(io.open(plain .. ".fs", "rb"))
    d:write(0, f:read("a"))
    os.remove(plain .. ".fs")
    vm:sh("echo 3 >/proc/sys/vm/drop_caches; mkdir -p /mnt && mount -t ext4 -o errors=remount-ro " .. d:device() .. " /mnt")
    local rule = d:fail({ op = "write" })
    vm:exec("echo x >/mnt/f; sync", { timeout = 30 })
    local last
    vm:wait_until(function()
        last = vm:exec("touch /mnt/g")
        return not last.ok
    end, { timeout = 60 })
    assert(tostring(last.stderr):find("Read-only file system", 1, true), tostring(last.stderr))
    assert(rule:hits() > 0)
    assert_contains(vm:console():log(), "Remounting filesystem read-only")
    d:clear()
    vm:exec("umount /mnt")
end)

test("a disk without faults is read and written by the host", function()
    local d = vm:disk("plain")
    vm:sh("echo of the guest | dd of=" .. d:device() .. " bs=4096 seek=1 conv=sync,fsync 2>/dev/null")
    assert_eq(4 << 20, d:size())
    assert_eq("of the guest\n", d:read(4096, 13))
    d:write(8192, "of the host")
    assert_eq("of the host", vm:exec("dd if=" .. d:device() .. " bs=4096 skip=2 count=1 iflag=direct 2>/dev/null | head -c 11").stdout)
    d:save(plain .. ".saved")
    local f <close> = assert(io.open(plain .. ".saved", "rb"))
    f:seek("set", 4096)
    assert_eq("of the guest\n", f:read(13))
    os.remove(plain .. ".saved")
    assert_error(function() d:unflushed() end, "faults = true")
    assert_error(function() vm:disk("virtio"):read(0, -1) end, "bytes")
end)

test("an attached image without faults = true cannot fail", function()
    local path = plain .. ".attached"
    assert(os.execute("truncate -s 1M " .. path))
    local d = vm:attach_disk({ name = "attached", path = path })
    assert_error(function() d:fail({}) end, "faults = true")
    assert_error(function() vm:power_cut() end, "plain")
    d:write(0, "host")
    assert_eq("host", vm:exec("head -c 4 " .. d:device()).stdout)
    vm:detach_disk("attached")
    os.remove(path)
end)

test("a hung disk makes the hung-task detector speak", function()
    local d = vm:disk("scsi")
    d:clear()
    vm:sh("echo 2 >/proc/sys/kernel/hung_task_timeout_secs; echo 1 >/proc/sys/kernel/hung_task_check_interval_secs")
    vm:allow_report("blocked for more than") -- it speaks again while the disk hangs
    local report = vm:expect_report("blocked for more than", function()
        d:hang()
        vm:start("dd if=/dev/zero of=" .. d:device() .. " bs=4096 count=1 conv=fsync")
        provium.sleep(4)
    end, { timeout = 60 })
    assert_eq("hung-task", report.kind)
    vm:sh("echo 0 >/proc/sys/kernel/hung_task_timeout_secs")
    d:unhang()
end)

vm:disk("nvme"):fail({ op = "discard", after = 2000 })

test("a rule without a hit is a note", function()
    vm:disk("virtio"):fail({ op = "discard", after = 1000 })
end)

os.remove(plain)
