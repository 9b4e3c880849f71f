-- syscall, syscall_buf, syscall_bufs, syscall_ptr, ioctl, ioctl_buf.

local each = dofile("lib/api/each.lua")
local bytes = dofile("lib/api/bytes.lua")
local AT_FDCWD, O_RDWR, O_CREAT = -100, 2, 0x40
local EBADF, EFAULT, EINVAL, ENOSYS = 9, 14, 22, 38

local function pipe(vm)
    local ret, fds = vm:syscall_bufs("pipe2", { [0] = ("\0"):rep(8) }, 0, 0)
    assert_eq(0, ret)
    return provium.unpack("i32 i32", fds)
end

each(function(vm, case)
    case("syscall: by number and by name", function()
        assert_eq(vm:syscall(39), vm:syscall("getpid"))
        assert_eq(0, vm:syscall("getuid"))
        assert_error(function() vm:syscall("getpidd") end, "getpid")
        assert_eq(-ENOSYS, vm:syscall(99999))
        assert_error(function() vm:syscall("getpid", 1, 2, 3, 4, 5, 6, 7) end, "6")
        assert_error(function() vm:syscall("close", 1.5) end)
        assert_error(function() vm:syscall("close", "1") end)
    end)

    case("syscall: negative errno, never raised", function()
        assert_eq(-EBADF, vm:syscall("close", 12345))
        assert_eq(-EFAULT, vm:syscall("pipe2", 8, 0))
        assert_eq(-EINVAL, vm:syscall("pipe2", 0, 0x7fffffff))
    end)

    case("syscall: arguments and results with all 64 bits", function()
        -- /proc/self/mem accepts every offset, and lseek returns it unchanged
        local fd = vm:syscall_buf("openat", 1, "/proc/self/mem\0", AT_FDCWD, 0, 0)
        assert(fd >= 0, "openat: " .. fd)
        for _, offset in ipairs({ 0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x123456789abcdef0,
            math.maxinteger, math.mininteger, 0xfedcba9876543210 }) do
            assert_eq(offset, vm:syscall("lseek", fd, offset, 0))
        end
        assert_eq(0, vm:syscall("close", fd))
    end)

    case("syscall: six arguments", function()
        local at = vm:syscall("mmap", 0x200000000000, 8192, 3, 0x100022, -1, 0) -- MAP_FIXED_NOREPLACE
        assert_eq(0x200000000000, at)
        assert_eq(0, vm:syscall("munmap", at, 8192))
    end)

    case("syscall: state persists between calls", function()
        local fd = vm:syscall_buf("memfd_create", 0, "m\0", 0, 0)
        assert(fd >= 0)
        assert_eq(256, vm:syscall_buf("write", 1, bytes, fd, 0, 256))
        assert_eq(0, vm:syscall("lseek", fd, 0, 0))
        local n, back = vm:syscall_bufs("read", { [1] = ("\0"):rep(300) }, fd, 0, 300)
        assert_eq(256, n)
        assert_eq(bytes .. ("\0"):rep(44), back)
        assert_eq(0, vm:syscall("close", fd))
        local old = vm:syscall("umask", tonumber("123", 8))
        assert_eq(tonumber("123", 8), vm:syscall("umask", old))
    end)

    case("syscall_buf: the slot of the buffer keeps its place", function()
        local fd = vm:syscall_buf("openat", 1, "/tmp/raw\0", AT_FDCWD, 0xdead, O_RDWR | O_CREAT, tonumber("600", 8))
        assert(fd >= 0, "openat: " .. fd)
        assert_eq("600", vm:exec("stat -c %a /tmp/raw").stdout.trim())
        assert_eq(3, vm:syscall_buf("pwrite64", 1, "abc", fd, 0, 3, 0))
        assert_eq("abc", vm:read_file("/tmp/raw"))
        assert_eq(0, vm:syscall("close", fd))
        assert_error(function() vm:syscall_buf("write", 6, "x", 1) end, "5")
        assert_error(function() vm:syscall_buf("write", -1, "x", 1) end)
        assert_error(function() vm:syscall_buf("write", 1, nil, 1) end)
    end)

    case("syscall_bufs: several, in index order, as the kernel left them", function()
        local fd = vm:syscall_buf("memfd_create", 0, "m\0", 0, 0)
        assert_eq(10, vm:syscall_buf("write", 1, "0123456789", fd, 0, 10))
        -- copy_file_range's offsets are pointers, read and written: slots 1 and 3
        local to = vm:syscall_buf("memfd_create", 0, "n\0", 0, 0)
        local n, from_at, to_at = vm:syscall_bufs("copy_file_range", { [3] = provium.pack("i64", 5), [1] = provium.pack("i64", 2) },
            fd, 0, to, 0, 4, 0)
        assert_eq(4, n)
        assert_eq(6, (provium.unpack("i64", from_at)))
        assert_eq(9, (provium.unpack("i64", to_at)))
        local _, copy = vm:syscall_bufs("pread64", { [1] = ("x"):rep(9) }, to, 0, 9, 0)
        assert_eq("\0\0\0\0\0" .. "2345", copy)
        assert_eq(0, vm:syscall("close", fd))
        assert_eq(0, vm:syscall("close", to))
        assert_error(function() vm:syscall_bufs("read", { [6] = "x" }, 0) end)
        assert_error(function() vm:syscall_bufs("read", { [1] = 5 }, 0) end)
    end)

    case("syscall_bufs: an empty buffer, and a large one", function()
        local fd = vm:syscall_buf("memfd_create", 0, "m\0", 0, 0)
        assert_eq(0, vm:syscall_buf("write", 1, "", fd, 0, 0))
        local large = bytes:rep(2048) -- 512 KiB
        assert_eq(#large, vm:syscall_buf("write", 1, large, fd, 0, #large))
        local n, back = vm:syscall_bufs("pread64", { [1] = ("\0"):rep(#large) }, fd, 0, #large, 0)
        assert_eq(#large, n)
        assert(back == large, "512 KiB came back changed")
        assert_eq(0, vm:syscall("close", fd))
        assert_error(function() vm:syscall_buf("write", 1, bytes:rep(8192), fd, 0, 0) end, "bytes")
    end)

    case("syscall_ptr: pointers inside a buffer", function()
        local out, into = pipe(vm)
        -- struct iovec: u64 base, u64 length
        local n, iov = vm:syscall_ptr("writev", { [1] = provium.pack("u64 u64 u64 u64", 0, 3, 0, 256) }, {
            { buf_idx = 1, ptr_offset = 0, data = "abc" },
            { buf_idx = 1, ptr_offset = 16, data_len = 256, data = bytes },
        }, into, 0, 2)
        assert_eq(259, n)
        local a, len, b = provium.unpack("u64 u64 u64", iov)
        assert(a ~= 0 and b ~= 0 and a ~= b, "the pointers were patched")
        assert_eq(3, len)
        local got, _, first, second = vm:syscall_ptr("readv", { [1] = provium.pack("u64 u64 u64 u64 u64 u64", 0, 200, 0, 1, 0, 100) }, {
            { buf_idx = 1, ptr_offset = 32, data_len = 100, data = "kept", output = true },
            { buf_idx = 1, ptr_offset = 16, data_len = 1 },
            { buf_idx = 1, ptr_offset = 0, data_len = 200, output = true },
        }, out, 0, 3)
        assert_eq(259, got)
        assert_eq("abc" .. bytes:sub(1, 197), second)
        assert_eq(bytes:sub(199) .. ("\0"):rep(100 - 58), first)
        assert_eq(0, vm:syscall("close", out))
        assert_eq(0, vm:syscall("close", into))
    end)

    case("syscall_ptr: specs are checked against their buffers", function()
        local function refused(spec, what)
            assert_error(function() vm:syscall_ptr("writev", { [1] = ("\0"):rep(16) }, { spec }, 1, 0, 0) end, what)
        end
        refused({ buf_idx = 1, ptr_offset = 9, data_len = 1 }, "ptr_offset")
        refused({ buf_idx = 1, ptr_offset = -1, data_len = 1 }, "ptr_offset")
        refused({ buf_idx = 1, ptr_offset = math.maxinteger, data_len = 1 }, "ptr_offset")
        refused({ buf_idx = 0, ptr_offset = 0, data_len = 1 }, "buf_idx")
        refused({ buf_idx = 1, ptr_offset = 0, data_len = -1 }, "data_len")
        refused({ buf_idx = 1, ptr_offset = 0, data_len = 2, data = "too long" }, "data_len")
        refused({ buf_idx = 1, ptr_offset = 0, data_len = 1, outptu = true }, "outptu")
    end)

    case("ioctl: direction and size from the command's number", function()
        local out, into = pipe(vm)
        assert_eq(5, vm:syscall_buf("write", 1, "12345", into, 0, 5))
        local FIONREAD = 0x541b -- an old number, which does not encode the direction
        local ret, waiting = vm:syscall_bufs("ioctl", { [2] = ("\0"):rep(4) }, out, FIONREAD)
        assert_eq(0, ret)
        assert_eq(5, (provium.unpack("i32", waiting)))
        local back
        ret, back = vm:ioctl(out, FIONREAD, ("\0"):rep(4))
        assert_eq(0, ret)
        assert_eq(nil, back)
        assert_eq(0, vm:syscall("close", out))
        assert_eq(0, vm:syscall("close", into))
        -- RNDGETENTCNT, linux/random.h: _IOR('R', 0, int), returns data and needs none
        local fd = vm:syscall_buf("openat", 1, "/dev/urandom\0", AT_FDCWD, 0, 0)
        ret, back = vm:ioctl(fd, 0x80045200)
        assert_eq(0, ret)
        assert_eq(4, #back)
        assert_eq(-EINVAL, (vm:ioctl(fd, 0x80047f00))) -- this driver's reply to an unknown number
        assert_eq(-EBADF, (vm:ioctl(12345, 0x80045200)))
        assert_eq(0, vm:syscall("close", fd))
    end)

    case("ioctl_buf: a pointer in the memory of an earlier entry", function()
        local sock = vm:syscall("socket", 2, 2, 0)
        local ifconf = provium.pack("u32 u32 u64", 400, 0, 0)
        local r, _, list = vm:ioctl_buf(sock, 0x8912, ifconf, { { ptr_offset = 8, buf_len = 400, output = true }, -- SIOCGIFCONF
            { ptr_idx = 1, ptr_offset = 392, data = "behind what the kernel writes" } })
        assert_eq(0, r)
        local address = provium.unpack("u64", list:sub(393))
        assert(address ~= 0 and address % 64 == 0, ("%#x"):format(address))
        vm:syscall("close", sock)
    end)

    case("ioctl_buf: specs are checked", function()
        assert_error(function() vm:ioctl_buf(0, 0xc0105000, ("\0"):rep(16), { { ptr_offset = 9, buf_len = 1 } }) end, "ptr_offset")
        assert_error(function() vm:ioctl_buf(0, 0xc0105000, ("\0"):rep(16), { { ptr_offset = 0 } }) end, "buf_len")
        assert_error(function() vm:ioctl_buf(0, 0xc0105000, nil, {}) end)
    end)

    case("a blocking call times out, and the guest goes on", function()
        local out, into = pipe(vm)
        assert_error(function()
            vm:syscall_bufs("read", { [1] = ("\0"):rep(16) }, out, 0, 16, { timeout = "500ms" })
        end, "did not return within 0.5 s")
        assert(vm:syscall("getpid") > 0)
        assert_eq("fine", vm:exec("echo fine").stdout.trim())
        -- the process still has its descriptor
        assert_eq(2, vm:syscall_buf("write", 1, "ok", into, 0, 2))
        local n, back = vm:syscall_bufs("read", { [1] = "\0\0" }, out, 0, 2)
        assert_eq(2, n)
        assert_eq("ok", back)
    end)

    case("a sleep that ignores signals times out too", function()
        assert_error(function() vm:syscall("pause", { timeout = "300ms" }) end, "did not return")
        assert_error(function()
            vm:syscall_bufs("nanosleep", { [0] = provium.pack("i64 i64", 1000, 0) }, 0, 0, { timeout = "300ms" })
        end, "did not return")
        assert(vm:syscall("getpid") > 0)
    end)

    case("a call that crashes its process is reported, and the next call has a new process", function()
        -- unmaps all of user space, so the return from the kernel faults
        assert_error(function() vm:syscall("munmap", 0, 0x7ffffffff000) end, "SIG")
        assert(vm:syscall("getpid") > 0)
        assert_error(function() vm:syscall("exit_group", 7) end, "7")
        assert(vm:syscall("getpid") > 0)
        assert_error(function() vm:syscall("kill", vm:syscall("getpid"), 11) end, "SIGSEGV")
        assert(vm:syscall("getpid") > 0)
        assert_eq("fine", vm:exec("echo fine").stdout.trim())
        assert_eq("x", (function() vm:write_file("/tmp/after", "x") return vm:read_file("/tmp/after") end)())
    end)

    case("a test that closes all descriptors, the agent's own with them, can go on", function()
        pcall(vm.syscall, vm, "close_range", 0, 0xffffffff, 0)
        assert_eq("fine", vm:exec("echo fine").stdout.trim())
        assert(vm:syscall("getpid") > 0)
    end)
end)
