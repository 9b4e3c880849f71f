-- Several requests at once to one VM: provium.async, provium.all.

local each = dofile("lib/api/each.lua")

each(function(vm, case)
    case("commands run beside each other, each with its own result", function()
        local r = provium.all {
            function() return vm:exec("while [ ! -e /tmp/tasks-go ]; do sleep 0.1; done; echo first") end,
            function() return vm:exec("echo second; touch /tmp/tasks-go") end,
            function() return vm:exec("exit 7") end,
        }
        assert_eq("first\n", r[1].stdout.value)
        assert_eq("second\n", r[2].stdout.value)
        assert_eq(7, r[3].exit_code)
        vm:exec("rm /tmp/tasks-go")
    end)

    case("more requests than auxiliary sessions", function()
        local fns = {}
        for i = 1, 24 do
            fns[i] = function()
                vm:write_file("/tmp/tasks-" .. i, ("x"):rep(i))
                return #vm:read_file("/tmp/tasks-" .. i)
            end
        end
        for i, n in ipairs(provium.all(fns)) do
            assert_eq(i, n)
        end
    end)

    case("a raw call waits for a command in another task", function()
        vm:exec("rm -f /tmp/tasks-fifo; mkfifo /tmp/tasks-fifo")
        local fd = vm:syscall_buf("open", 0, "/tmp/tasks-fifo\0", 0, 2)
        assert(fd >= 0, fd)
        local read = provium.async(function() return vm:syscall_bufs("read", { [1] = ("\0"):rep(8) }, fd, 0, 8) end)
        provium.sleep(0.1)
        assert_eq(false, read:done())
        assert(vm:exec("printf hello >/tmp/tasks-fifo").ok)
        local n, bytes = read:wait(60)
        assert_eq(5, n)
        assert_eq("hello", bytes:sub(1, 5))
        vm:syscall("close", fd)
    end)

    case("raw calls of one process take turns, those of workers do not", function()
        local pipe = select(2, vm:syscall_bufs("pipe", { [0] = ("\0"):rep(8) }, 0))
        local r, w = provium.unpack("i32 i32", pipe)
        local worker <close> = vm:spawn()
        local read = provium.async(function() return vm:syscall_bufs("read", { [1] = ("\0"):rep(8) }, r, 0, 8) end)
        local pid = provium.async(function() return vm:syscall("getpid") end)
        provium.sleep(0.1)
        assert_eq(false, pid:done())
        assert_eq(2, worker:syscall_buf("write", 1, "ab", w, 0, 2))
        assert_eq(2, (read:wait(60)))
        assert_eq(vm:syscall("getpid"), pid:wait(60))
        vm:syscall("close", r)
        vm:syscall("close", w)
    end)

    case("a raw call beside a command", function()
        local wait = provium.async(function() return vm:exec("exec sleep 600") end)
        assert(vm:syscall("getpid") > 0)
        local job = vm:background("exec sleep 601")
        local waits = provium.async(function() return vm:job_wait(job, 600) end)
        provium.sleep(0.1)
        assert_eq(137, vm:job_kill(job).exit_code)
        assert_eq(137, waits:wait(60).exit_code)
        assert(vm:exec("kill $(pidof sleep)"))
        assert_eq(15, wait:wait(60).signal)
    end)

    case("a call that is given up ends in the guest", function()
        local ok, text = pcall(provium.all, { function() vm:exec("exec sleep 7403") end }, 0.5)
        assert_eq(false, ok)
        assert_contains(text, "function 1: running 'exec sleep 7403' in ")
        assert_eq("", vm:exec("grep -lE '740[3]' /proc/[0-9]*/cmdline 2>/dev/null").stdout.value)
    end)
end)
