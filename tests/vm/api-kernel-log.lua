-- dmesg, mount_vfs, wait_until.

local each = dofile("lib/api/each.lua")

each(function(vm, case, profile)
    case("dmesg: all of it, and only the lines that hold a pattern", function()
        vm:write_file("/dev/kmsg", "provium api: one\n")
        vm:write_file("/dev/kmsg", "provium api: two (a.b)\n")
        assert_contains(vm:dmesg(), "Linux version")
        local lines = {}
        for line in tostring(vm:dmesg("provium api:")):gmatch("[^\n]+") do lines[#lines + 1] = line end
        assert_eq(2, #lines)
        assert_contains(lines[1], "provium api: one")
        assert_contains(lines[2], "provium api: two (a.b)")
        assert_eq("", tostring(vm:dmesg("nobody said this")))
    end)

    case("without a shell: exec names the missing program, other calls work", function()
        assert(vm:exec({ "mv", "/bin/sh", "/bin/sh.away" }).ok)
        local why = assert_error(function() vm:exec("true") end, "/bin/sh")
        assert_contains(why, "No such file or directory")
        assert_contains(vm:dmesg("provium api: one"), "one")
        assert(#vm:read_file("/proc/version") > 0)
        assert(vm:exec({ "mv", "/bin/sh.away", "/bin/sh" }).ok)
        assert(vm:exec("true").ok)
    end)

    case("mount_vfs: again and again, each in its place", function()
        vm:mount_vfs()
        vm:mount_vfs()
        local mounts = vm:read_file("/proc/mounts")
        for _, at in ipairs({ " /proc proc ", " /sys sysfs ", " /sys/kernel/security securityfs ", " /dev devtmpfs " }) do
            local _, n = mounts:gsub(at, "")
            assert_eq(1, n, at)
        end
    end)

    case("wait_until: returns the result of fn", function()
        vm:background("sleep 1; echo done >/tmp/flag")
        assert_eq("done\n", vm:wait_until(function()
            local there, data = pcall(vm.read_file, vm, "/tmp/flag")
            return there and #data > 0 and data
        end, { timeout = 20, interval = 0.1, desc = "the flag" }))
    end)

    case("wait_until: the text of its timeout", function()
        assert_error(function()
            vm:wait_until(function() return vm:exec("false").ok end, { timeout = "500ms", interval = 0.1, desc = "pigs fly" })
        end, "pigs fly")
        assert_error(function() vm:wait_until(function() error("broken") end, { timeout = 1, interval = 0.1 }) end, "broken")
    end)

    case("calls from a coroutine, from pcall and from wait_until; the error has this file's line", function()
        local co = coroutine.wrap(function()
            coroutine.yield(vm:exec("echo one").stdout.trim())
            coroutine.yield(vm:exec("echo two").stdout.trim())
        end)
        assert_eq("one", co())
        assert_eq("two", co())
        local ok, why = pcall(function() vm:read_file("/tmp/none") end)
        assert_eq(false, ok)
        assert_eq("string", type(why))
        assert_contains(why, "api-kernel-log.lua:" .. debug.getinfo(1, "l").currentline - 3)
    end)

    if profile == "debian-systemd" then
        case("systemd is PID 1, boots, and does not end the agent", function()
            assert_eq("systemd\n", vm:read_file("/proc/1/comm"))
            vm:wait_until(function() return vm:exec("systemctl is-system-running").stdout.trim() == "running" end,
                { timeout = 90, desc = "systemd is up" })
            local pid = vm:syscall("getpid")
            assert(vm:exec("systemctl daemon-reexec").ok)
            assert(vm:exec("systemctl isolate rescue.target", { timeout = "60s" }).ok)
            assert(vm:exec("systemctl isolate multi-user.target", { timeout = "60s" }).ok)
            assert_eq(pid, vm:syscall("getpid"))
        end)
    end
end)
