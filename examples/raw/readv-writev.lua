-- readv and writev: an array of structs that hold pointers. syscall_ptr writes the pointers.

local vm = provium.create()
vm:boot()

local AT_FDCWD, O_RDWR, O_CREAT = -100, 2, 0x40 -- asm-generic/fcntl.h: O_CREAT is octal 100

-- struct iovec { void *iov_base; size_t iov_len; }, readv(2). iov_base is patched: 0 stands in for it.
local function iovec(...)
    local t = {}
    for i, len in ipairs({ ... }) do t[i] = provium.pack("u64 u64", 0, len) end
    return table.concat(t)
end

local fd = vm:syscall_buf("openat", 1, "/tmp/vectors\0", AT_FDCWD, 0, O_RDWR | O_CREAT, tonumber("644", 8))

test("writev gathers", function()
    assert(fd >= 0, "openat: " .. fd)
    -- writev(fd, iov, 3): the buffer is argument 1; each pointer goes to where its iov_base is, 16 bytes apart.
    local written = vm:syscall_ptr("writev", { [1] = iovec(4, 1, 5) }, {
        { buf_idx = 1, ptr_offset = 0, data = "head" },
        { buf_idx = 1, ptr_offset = 16, data = "-" },
        { buf_idx = 1, ptr_offset = 32, data = "bytes" },
    }, fd, 0, 3)
    assert_eq(10, written)
    assert_eq("head-bytes", vm:read_file("/tmp/vectors"))
end)

test("readv scatters", function()
    assert_eq(0, vm:syscall("lseek", fd, 0, 0))
    local n, _, first, second = vm:syscall_ptr("readv", { [1] = iovec(6, 8) }, {
        { buf_idx = 1, ptr_offset = 0, data_len = 6, output = true },
        { buf_idx = 1, ptr_offset = 16, data_len = 8, output = true },
    }, fd, 0, 2)
    assert_eq(10, n)
    assert_eq("head-b", first)
    assert_eq("ytes" .. ("\0"):rep(4), second) -- the kernel wrote four of the eight
end)

test("a bad count is the kernel's to refuse", function()
    assert_eq(-22, (vm:syscall_ptr("readv", { [1] = iovec(6) }, {}, fd, 0, -1))) -- EINVAL
end)

vm:shutdown()
