-- alloc, free, read_mem, write_mem; pointers in pointers; alignment of buffers; the agent's own descriptors.

local each = dofile("lib/api/each.lua")
local bytes = dofile("lib/api/bytes.lua")
local EBADF, EINVAL = 9, 22

local function raises(text, fn)
    assert_contains(assert_error(fn), text)
end

each(function(vm, case)
    case("alloc gives zeroed pages, read_mem and write_mem reach them", function()
        local at = vm:alloc(10000)
        assert_eq(0, at % 4096)
        assert_eq(("\0"):rep(12288), vm:read_mem(at, 12288)) -- whole pages
        vm:write_mem(at + 4090, bytes)
        assert_eq(bytes, vm:read_mem(at + 4090, 256))
        assert_eq("\0" .. bytes:sub(1, 3), vm:read_mem(at + 4089, 4))
        assert_eq("", vm:read_mem(at, 0))
        vm:write_mem(at, "")
        assert_eq(3, vm:syscall("write", vm:syscall_buf("memfd_create", 0, "m\0", 0, 0), at + 4091, 3))
        vm:free(at)
    end)

    case("more than a frame", function()
        local at, n = vm:alloc(3 << 20), 3 << 20
        local data = bytes:rep(n // 256)
        vm:write_mem(at, data)
        assert(vm:read_mem(at, n) == data, "3 MiB came back changed")
        vm:free(at)
    end)

    case("an address that is not mapped, or no longer: EFAULT, and the agent lives", function()
        local pid = vm:syscall("getpid")
        local at = vm:alloc(4096)
        for _, address in ipairs({ 0, 8, -1, -4096, math.mininteger, 1 << 47, at + 4096, at - 4097 }) do
            raises("Bad address", function() vm:read_mem(address, 1) end)
            raises("Bad address", function() vm:write_mem(address, "x") end)
        end
        raises("Bad address", function() vm:read_mem(at, 4097) end)
        raises("Bad address", function() vm:write_mem(at + 4095, "xx") end)
        raises("Bad address", function() vm:write_mem(at - 1, "x") end) -- the page in front is read-only
        vm:free(at)
        raises("Bad address", function() vm:read_mem(at, 1) end)
        raises("Bad address", function() vm:write_mem(at, "x") end)
        raises("Invalid argument", function() vm:free(at) end)
        raises("Invalid argument", function() vm:free(4096) end)
        raises("Invalid argument", function() vm:free(1) end)
        local read_only = vm:syscall("mmap", 0, 4096, 1, 0x22, -1, 0)
        assert_eq(("\0"):rep(4096), vm:read_mem(read_only, 4096))
        raises("Bad address", function() vm:write_mem(read_only, "x") end)
        assert_eq(pid, vm:syscall("getpid"))
    end)

    case("a size that cannot be had: ENOMEM", function()
        for _, size in ipairs({ 1 << 42, 1 << 50, math.maxinteger }) do
            raises("Cannot allocate memory", function() vm:alloc(size) end)
            raises("Cannot allocate memory", function() vm:alloc(size, { shared = true }) end)
        end
        raises("at least 1", function() vm:alloc(0) end)
        vm:free(vm:alloc(1))
    end)

    case("workers share it, or have a copy", function()
        local shared, private = vm:alloc(4096, { shared = true }), vm:alloc(4096)
        local w = vm:spawn()
        w:write_mem(shared, "from the worker")
        w:write_mem(private, "from the worker")
        assert_eq("from the worker", vm:read_mem(shared, 15))
        assert_eq(("\0"):rep(15), vm:read_mem(private, 15))
        local own = w:alloc(4096)
        w:write_mem(own, "the worker's")
        local there, got = pcall(vm.read_mem, vm, own, 12) -- another process: its address may be mapped here too
        assert(not there or got ~= "the worker's")
        w:free(shared)
        raises("Bad address", function() w:read_mem(shared, 1) end)
        assert_eq("from the worker", vm:read_mem(shared, 15))
        w:kill()
        vm:free(shared)
        vm:free(private)
    end)

    case("a kernel writes to it between calls", function()
        local at = vm:alloc(8)
        local tid = vm:syscall("set_tid_address", at)
        assert(tid > 0)
        assert_eq(0, vm:syscall_buf("clock_gettime", 1, ("\0"):rep(16), 1))
        assert_eq(0, vm:syscall("clock_gettime", 1, at))
        assert_ne(0, provium.unpack("i64", vm:read_mem(at, 8)))
        vm:free(at)
    end)

    case("buffers begin at 64-byte boundaries, large ones at a page", function()
        -- mincore(2) refuses an address that is not at a page; the address of a buffer comes back in an iovec
        for _, n in ipairs({ 8, 16, 63, 64, 65, 100, 4088, 4095 }) do
            local ret, iov = vm:syscall_ptr("getpid", { [0] = ("\0"):rep(16) },
                { { buf_idx = 0, ptr_offset = 0, data_len = n } })
            assert(ret > 0)
            assert_eq(0, provium.unpack("u64", iov) % 64, n .. " bytes")
        end
        for _, n in ipairs({ 4096, 4097, 10000, 262144 }) do
            local _, iov = vm:syscall_ptr("getpid", { [0] = ("\0"):rep(16) }, { { buf_idx = 0, ptr_offset = 0, data_len = n } })
            assert_eq(0, provium.unpack("u64", iov) % 4096, n .. " bytes")
            assert_eq(0, vm:syscall_buf("madvise", 0, ("x"):rep(n), 0, 4096, 0))
        end
    end)

    case("a pointer in the memory of a pointer", function()
        local _, fds = vm:syscall_bufs("socketpair", { [3] = ("\0"):rep(8) }, 1, 1, 0)
        local a, b = provium.unpack("i32 i32", fds)
        -- msghdr: name 0, namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48
        local msg = provium.pack("u64 u64 u64 u64 u64 u64 u64", 0, 0, 0, 2, 0, 0, 0)
        local sent = vm:syscall_ptr("sendmsg", { [1] = msg }, {
            { buf_idx = 1, ptr_offset = 16, data = provium.pack("u64 u64 u64 u64", 0, 5, 0, 6) },
            { ptr_idx = 1, ptr_offset = 0, data = "hello" },
            { ptr_idx = 1, ptr_offset = 16, data = " world" },
        }, a, 0, 0)
        assert_eq(11, sent)
        local got, _, first, second = vm:syscall_ptr("recvmsg", { [1] = msg }, {
            { buf_idx = 1, ptr_offset = 16, data = provium.pack("u64 u64 u64 u64", 0, 4, 0, 20) },
            { ptr_idx = 1, ptr_offset = 0, data_len = 4, output = true },
            { ptr_idx = 1, ptr_offset = 16, data_len = 20, output = true },
        }, b, 0, 0)
        assert_eq({ 11, "hell", "o world" .. ("\0"):rep(13) }, { got, first, second })
    end)

    case("system calls cannot close what the agent needs", function()
        local pid = vm:syscall("getpid")
        local fd = vm:syscall_buf("memfd_create", 0, "m\0", 0, 0)
        local job = vm:background("sleep 1; echo whole")
        assert(fd >= 3 and fd < 100, "a new descriptor is " .. fd)
        assert_eq(0, vm:syscall("close_range", 3, -1, 0))
        assert_eq(-EBADF, vm:syscall("close", fd))
        assert_eq(0, vm:syscall("close_range", 3, 0xffffffff, 4)) -- CLOSE_RANGE_CLOEXEC
        assert_eq(-EINVAL, vm:syscall("close_range", 3, -1, 1 << 20))
        assert_eq(-EINVAL, vm:syscall("close_range", 5, 4, 0))
        local n = 0
        for _, name in ipairs(vm:list("/proc/" .. pid .. "/fd")) do
            local own = math.tointeger(name)
            if own > 3 and own < 1024 then error("descriptor " .. own .. " is left") end -- 3: the listed directory
            if own >= 1024 then
                assert_eq(-EBADF, vm:syscall("close", own))
                assert_eq(-EBADF, vm:syscall("dup2", 1, own))
                assert_eq(-EBADF, vm:syscall("dup3", own, 50, 0))
                n = n + 1
            end
        end
        assert(n >= 3, n .. " descriptors of the agent were found")
        assert_eq("fine", vm:exec("echo fine").stdout.trim())
        assert_eq("whole\n", vm:job_wait(job, 60).stdout)
        local _, limit = vm:syscall_bufs("getrlimit", { [1] = ("\0"):rep(16) }, 7)
        assert_eq(tonumber(vm:exec("ulimit -n").stdout.trim()), (provium.unpack("u64", limit)))
        assert(provium.unpack("u64", limit) <= 4096)
        assert_eq(pid, vm:syscall("getpid"))
        local w = vm:spawn()
        assert_eq(0, w:syscall("close_range", 0, -1, 0))
        assert_eq("fine", w:exec("echo fine").stdout.trim())
        assert_eq({}, (function()
            local low = {}
            for _, name in ipairs(w:list("/proc/" .. w:syscall("getpid") .. "/fd")) do
                if math.tointeger(name) < 1024 then low[#low + 1] = name end
            end
            return #low > 1 and low or {} -- the directory that is being listed
        end)())
        w:kill()
        local t = vm:spawn({ thread = true })
        assert_eq(0, t:syscall("close_range", 3, -1, 0))
        assert_eq("fine", t:exec("echo fine").stdout.trim())
        assert_eq("fine", vm:exec("echo fine").stdout.trim())
        t:kill()
    end)
end, { timeout = "2m" })
