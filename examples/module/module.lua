-- A kernel module under test: provium_demo.c beside this file, built by `examples/module/build`.
-- docs/testing-a-module.md goes through it.

local ko = "build/module/provium_demo.ko"

-- The command numbers of provium_demo.h, made as _IO, _IOR and _IOWR make them (asm-generic/ioctl.h):
-- direction in bits 30-31 (1: the kernel reads from the caller, 2: it writes), size in 16-29, type, number.
local function ioc(dir, nr, size) return dir << 30 | size << 16 | ("P"):byte() << 8 | nr end
local ADD = ioc(3, 1, 24) -- struct provium_demo_add: u64 a, b, sum
local VERSION = ioc(2, 2, 4)
local CLEAR = ioc(0, 3, 0)
local PEEK = ioc(3, 4, 16) -- struct provium_demo_peek: u64 ptr, u32 len, u32 got
local WARN = ioc(0, 5, 0)
local OOPS = ioc(0, 6, 0)
local AT_FDCWD, O_RDWR = -100, 2
local ENOENT, EFAULT, ENOTTY, ENOSPC, EOVERFLOW = 2, 14, 25, 28, 75

if not io.open(ko) then
    test("a kernel module", function() skip(ko .. " is not built; build it with: examples/module/build") end)
    return
end

local vm = provium.create()
vm:boot({ files = { ["/lib/provium_demo.ko"] = ko } })
vm:mount_vfs()

local function open(who)
    return (who or vm):syscall_buf("openat", 1, "/dev/provium_demo\0", AT_FDCWD, 0, O_RDWR)
end

test("it loads, says so, and makes its node", function()
    assert_eq(-ENOENT, open())
    local r = vm:exec({ "insmod", "/lib/provium_demo.ko" })
    assert(r.ok, r.stderr)
    assert_contains(vm:dmesg("provium_demo"), "provium_demo: ready, minor")
    assert(vm:exec("test -c /dev/provium_demo").ok)
    assert_eq("600", vm:exec("stat -c %a /dev/provium_demo").stdout:trim())
end)

local fd = open()

test("read and write", function()
    assert(fd >= 0, "openat: " .. fd)
    -- read(fd, buffer, 4096): the buffer comes back as the kernel left it.
    local n, data = vm:syscall_bufs("read", { [1] = ("\0"):rep(4096) }, fd, 0, 4096)
    assert_eq("hello from the kernel\n", data:sub(1, n))
    assert_eq(5, vm:syscall_buf("pwrite64", 1, "bytes", fd, 0, 5, 0))
    assert_eq("bytes", vm:read_file("/dev/provium_demo"))
    assert_eq(-ENOSPC, vm:syscall_buf("pwrite64", 1, "x", fd, 0, 1, 4096))
end)

test("an ioctl that adds, in all 64 bits", function()
    local function add(a, b)
        local ret, out = vm:ioctl(fd, ADD, provium.pack("u64 u64 u64", a, b, 0))
        return ret, (select(3, provium.unpack("u64 u64 u64", out)))
    end
    local ret, sum = add(40, 2)
    assert_eq(0, ret)
    assert_eq(42, sum)
    ret, sum = add(0x7fffffffffffffff, 0x8000000000000000)
    assert_eq(0, ret)
    assert_eq(0xffffffffffffffff, sum)
    assert_eq(-EOVERFLOW, (add(0xffffffffffffffff, 1)))
end)

test("an ioctl that only answers", function()
    local ret, out = vm:ioctl(fd, VERSION)
    assert_eq(0, ret)
    assert_eq(0x00010002, (provium.unpack("u32", out)))
end)

test("an ioctl whose struct points at a buffer", function()
    assert_eq(7, vm:syscall_buf("pwrite64", 1, "pointed", fd, 0, 7, 0))
    -- The address of 16 bytes of memory goes to offset 0 of the struct; they come back because of output.
    local ret, struct, memory = vm:ioctl_buf(fd, PEEK, provium.pack("u64 u32 u32", 0, 16, 0),
        { { ptr_offset = 0, buf_len = 16, output = true } })
    assert_eq(0, ret)
    local _, len, got = provium.unpack("u64 u32 u32", struct)
    assert_eq(16, len)
    assert_eq(7, got)
    assert_eq("pointed" .. ("\0"):rep(9), memory)
    -- A pointer that goes nowhere is the module's to refuse.
    assert_eq(-EFAULT, (vm:ioctl(fd, PEEK, provium.pack("u64 u32 u32", 8, 16, 0))))
end)

test("an ioctl that takes nothing, and a number that it does not know", function()
    assert_eq(0, (vm:ioctl(fd, CLEAR)))
    assert_eq("", vm:read_file("/dev/provium_demo"))
    assert_eq(-ENOTTY, (vm:ioctl(fd, ioc(0, 99, 0))))
end)

test("the counter in sysfs", function()
    local function opens() return tonumber(vm:read_file("/sys/class/misc/provium_demo/opens")) end
    local before = opens()
    assert_eq(0, vm:syscall("close", open()))
    assert_eq(before + 1, opens())
end)

test("only root may open it", function()
    local worker = vm:spawn() -- a process of its own: its credentials are not the VM's
    assert_eq(0, worker:syscall("setresuid", 65534, 65534, 65534))
    assert_eq(-13, open(worker))
    worker:kill()
end)

test("a warning is in the kernel's log", function()
    assert_eq(0, (vm:ioctl(fd, WARN)))
    assert_contains(vm:dmesg(), "provium_demo: asked to warn")
    assert_contains(vm:dmesg("WARNING"), "demo_ioctl")
end)

test("an oops ends the worker that ran into it, not the VM", function()
    local worker = vm:spawn()
    local its_fd = open(worker)
    -- Without this, an oops fails the test that it happens in.
    vm:expect_report("general protection fault", function()
        assert_error(function() worker:ioctl(its_fd, OOPS) end, "SIG")
    end)
    assert_contains(vm:dmesg(), "general protection fault")
    assert_contains(vm:dmesg("RIP"), "demo_ioctl")
    assert_eq(0, (vm:ioctl(fd, CLEAR)))
end)

test("it unloads when nobody has it open", function()
    local r = vm:exec({ "rmmod", "provium_demo" })
    assert(not r.ok)
    assert_eq(0, vm:syscall("close", fd))
    r = vm:exec({ "rmmod", "provium_demo" })
    assert(r.ok, r.stderr)
    assert_eq(-ENOENT, open())
    assert_contains(vm:dmesg("provium_demo"), "provium_demo: gone")
end)

vm:shutdown()
