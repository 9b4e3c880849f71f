-- read_file and write_file.

local each = dofile("lib/api/each.lua")
local bytes = dofile("lib/api/bytes.lua")

each(function(vm, case)
    case("every byte value, there and back", function()
        vm:write_file("/tmp/bytes", bytes)
        assert_eq(bytes, vm:read_file("/tmp/bytes"))
        assert_eq("256", vm:exec("wc -c </tmp/bytes").stdout.trim())
    end)

    case("names of every byte", function()
        local name = "/tmp/" .. bytes:gsub("[\0/]", "")
        vm:write_file(name, "named")
        assert_eq("named", vm:read_file(name))
        assert_eq("named", vm:exec({ "cat", name }).stdout.value)
        assert_error(function() vm:read_file("/tmp/a\0b") end)
    end)

    case("sizes around the frames", function()
        for _, size in ipairs({ 0, 1, 262143, 262144, 262145, 1048571, 1048576, 1048577, 5000000 }) do
            local data = bytes:rep(size // 256 + 1):sub(1, size)
            vm:write_file("/tmp/size", data)
            assert_eq(tostring(size), vm:exec("wc -c </tmp/size").stdout.trim())
            assert(vm:read_file("/tmp/size") == data, size .. " bytes came back changed")
        end
    end)

    case("modes", function()
        local function mode(path) return vm:exec({ "stat", "-c", "%a", path }).stdout.trim() end
        assert(vm:exec("rm -f /tmp/mode").ok)
        vm:write_file("/tmp/mode", "x")
        assert_eq("644", mode("/tmp/mode"))
        vm:write_file("/tmp/mode", "x", { mode = tonumber("4751", 8) })
        assert_eq("4751", mode("/tmp/mode"))
        vm:write_file("/tmp/mode", "y") -- keeps the mode
        assert_eq("751", mode("/tmp/mode"):sub(-3))
    end)

    case("files whose size says 0", function()
        assert_contains(vm:read_file("/proc/version"), "Linux version")
        assert(#vm:read_file("/proc/kallsyms") > 1000000)
        assert_eq("", vm:read_file("/dev/null"))
    end)

    case("errors have the path and the errno's text", function()
        local function why(path, text, fn)
            local e = assert_error(fn)
            assert_contains(e, path)
            assert_contains(e, text)
        end
        why("/tmp/none", "No such file or directory", function() vm:read_file("/tmp/none") end)
        why("/tmp", "Is a directory", function() vm:read_file("/tmp") end)
        why("/no/dir", "No such file or directory", function() vm:write_file("/no/dir", "x") end)
        why("/etc/passwd/x", "Not a directory", function() vm:write_file("/etc/passwd/x", "x") end)
        why("/proc/version", "", function() vm:write_file("/proc/version", "x") end)
        why("/dev/full", "No space left on device", function() vm:write_file("/dev/full", bytes) end)
        assert_eq("fine", vm:exec("echo fine").stdout.trim())
    end)

    case("a full file system is an error, and the guest goes on", function()
        assert(vm:exec("mkdir -p /tmp/small && mount -t tmpfs -o size=1m none /tmp/small").ok)
        assert_error(function() vm:write_file("/tmp/small/f", bytes:rep(8192 * 2)) end, "No space left on device")
        assert(vm:exec("umount /tmp/small").ok)
    end)

    case("a fifo: its writer's bytes, or a timeout", function()
        assert(vm:exec("mkfifo /tmp/fifo").ok)
        local job = vm:background("sleep 1; echo late >/tmp/fifo")
        assert_eq("late\n", vm:read_file("/tmp/fifo", { timeout = "20s" }))
        assert_eq(0, vm:job_wait(job, 20).exit_code)
        assert_error(function() vm:read_file("/tmp/fifo", { timeout = "500ms" }) end, "no answer within 0.5 s")
        assert_eq("fine", vm:exec("echo fine").stdout.trim())
        assert(vm:exec("rm /tmp/fifo").ok)
    end)
end)
