-- spawn, as a process and as a thread; worker:kill.

local each = dofile("lib/api/each.lua")
local bytes = dofile("lib/api/bytes.lua")
local AT_FDCWD, O_RDONLY = -100, 0
local EBADF, EACCES, EPERM = 9, 13, 1

local function open(who, path) return who:syscall_buf("openat", 1, path .. "\0", AT_FDCWD, 0, O_RDONLY) end

local function hostname(who)
    local ret, uts = who:syscall_bufs("uname", { [0] = ("\0"):rep(390) })
    assert_eq(0, ret)
    return uts:sub(66):match("^[^\0]*") -- struct new_utsname, linux/utsname.h: six times char[65]; the second
end

each(function(vm, case)
    case("a forked worker has its own pid, descriptors, directory, credentials, namespaces", function()
        local w = vm:spawn()
        assert(w:syscall("getpid") ~= vm:syscall("getpid"))
        local fd = open(w, "/etc/passwd")
        assert(fd >= 0)
        local mine = open(vm, "/etc/group")
        assert(mine >= 0)
        local _, from_w = w:syscall_bufs("pread64", { [1] = ("\0"):rep(5) }, fd, 0, 5, 0)
        assert_eq("root:", from_w)
        assert_eq(0, w:syscall("close", fd))
        assert_eq(-EBADF, w:syscall("close", fd))
        assert_eq(0, vm:syscall("close", mine))

        local before = hostname(vm)
        assert_eq(0, w:syscall("unshare", 0x04000000)) -- CLONE_NEWUTS, linux/sched.h
        assert_eq(0, w:syscall_buf("sethostname", 0, "other", 0, 5))
        assert_eq("other", hostname(w))
        assert_eq(before, hostname(vm))

        assert_eq(0, w:syscall("setresgid", 65534, 65534, 65534))
        assert_eq(0, w:syscall("setresuid", 65534, 65534, 65534))
        assert_eq(65534, w:syscall("getuid"))
        assert_eq(-EPERM, w:syscall("setuid", 0))
        assert_eq(-EACCES, open(w, "/root/x"))
        assert_eq(0, vm:syscall("getuid"))
        w:kill()
    end)

    case("a thread shares descriptors and memory, not credentials", function()
        local w = vm:spawn({ thread = true })
        assert_eq(vm:syscall("getpid"), w:syscall("getpid"))
        assert(w:syscall("gettid") ~= vm:syscall("gettid"))
        local fd = open(w, "/etc/passwd")
        assert(fd >= 0)
        local _, got = vm:syscall_bufs("pread64", { [1] = ("\0"):rep(5) }, fd, 0, 5, 0)
        assert_eq("root:", got)
        assert_eq(0, vm:syscall("close", fd))
        assert_eq(-EBADF, w:syscall("close", fd))
        assert_eq(0, w:syscall("setresuid", 65534, 65534, 65534))
        assert_eq(65534, w:syscall("getuid"))
        assert_eq(0, vm:syscall("getuid"))
        -- PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS: mapped by one, seen by the other
        local at = w:syscall("mmap", 0, 4096, 3, 0x22, -1, 0)
        assert(at > 0)
        assert_eq(0, vm:syscall("munmap", at, 4096))
        w:kill()
        assert_eq(0, vm:syscall("getuid"))
    end)

    case("a worker has the VM's calls: commands, files, jobs, log", function()
        local w = vm:spawn()
        assert_eq("hi", w:exec("echo hi").stdout.trim())
        w:write_file("/tmp/by-worker", bytes)
        assert_eq(bytes, vm:read_file("/tmp/by-worker"))
        assert_eq(bytes, w:read_file("/tmp/by-worker"))
        assert_eq({ a = 1 }, w:json("echo '{\"a\": 1}'"))
        assert_eq(3, w:job_wait(w:background("exit 3"), 20).exit_code)
        assert_contains(w:dmesg("Linux version"), "Linux version")
        w:kill()
    end)

    case("the calls of a worker use its credentials", function()
        local w = vm:spawn()
        assert_eq(0, w:syscall("setresuid", 65534, 65534, 65534))
        assert_eq("65534", w:exec("id -u").stdout.trim())
        assert_error(function() w:write_file("/etc/by-nobody", "x") end, "Permission denied")
        w:kill()
    end)

    case("no boot, shutdown or spawn on a worker", function()
        local w = vm:spawn()
        for _, name in ipairs({ "boot", "shutdown", "spawn" }) do
            assert_error(function() w[name](w) end, name)
        end
        w:kill()
    end)

    case("64 at once", function()
        local all, seen = {}, {}
        for i = 1, 64 do all[i] = vm:spawn({ thread = i % 2 == 0 }) end
        for i = 1, 64 do
            local tid = all[i]:syscall("gettid")
            assert(tid > 0 and not seen[tid], "thread id " .. tid .. " twice")
            seen[tid] = true
        end
        for i = 1, 64 do all[i]:kill() end
        assert(vm:syscall("getpid") > 0)
    end)

    case("killed, and killed again; a call on it names its state", function()
        local w = vm:spawn()
        local pid = w:syscall("getpid")
        w:kill()
        w:kill()
        assert_error(function() w:syscall("getpid") end, "killed")
        vm:wait_until(function() return vm:syscall("kill", pid, 0) == -3 end, { desc = "it is gone" }) -- ESRCH
    end)

    case("a worker that dies: the next call says how", function()
        local w = vm:spawn()
        local pid = w:syscall("getpid")
        assert_eq(0, vm:syscall("kill", pid, 9))
        assert_error(function() w:syscall("getpid") end, "SIGKILL")

        w = vm:spawn()
        assert_error(function() w:syscall("exit_group", 3) end, "3")

        w = vm:spawn()
        assert_error(function() w:syscall("kill", w:syscall("getpid"), 11) end, "SIGSEGV")
        assert_eq("fine", vm:exec("echo fine").stdout.trim())
    end)
end)

test("a worker that eats all memory is what the OOM killer takes", function()
    local vm <close> = provium.create()
    vm:boot({ memory = "128M" })
    local w = vm:spawn()
    -- PROT_READ|PROT_WRITE; MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_POPULATE
    vm:expect_report("Out of memory", function()
        assert_error(function() w:syscall("mmap", 0, 1 << 30, 3, 0xc022, -1, 0, { timeout = 60 }) end,
            "killed by SIGKILL")
    end)
    assert_error(function() w:syscall("getpid") end, "killed by SIGKILL")
    assert_eq("fine", vm:exec("echo fine").stdout.trim())
    assert_contains(vm:dmesg("Out of memory"), "Killed process")
end)
