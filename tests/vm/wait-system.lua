-- wait_system: a boot that ends when systemd is up. The fixture debian-up is made with it.

-- A boot of Debian with a unit of the target that systemd starts.
local function boot(unit, timeout)
    local vm = provium.create("debian-systemd")
    vm:boot({ wait_system = true, timeout = timeout, files = {
        ["/etc/systemd/system/one.service"] = { content = "[Service]\nType=oneshot\nExecStart=" .. unit .. "\n" },
        ["/etc/systemd/system/multi-user.target.d/one.conf"] = { content = "[Unit]\nWants=one.service\nAfter=one.service\n" },
    } })
    return vm
end

test("a unit that never ends: the error has systemd's jobs", function()
    assert_error(function() boot("/bin/sleep 10000", "20s") end,
        "cannot boot vm%d+ %(debian%-systemd%): wait_system: systemd was not up at the end of the boot's time; its jobs: .*%.")
end)

test("a unit that fails: systemd is degraded, and the boot ends", function()
    local vm = boot("/bin/false", "300s")
    assert_eq("degraded", vm:exec("systemctl is-system-running").stdout.trim())
    vm:write_file("/tmp/stays", "x")
end)

test("a guest without systemd", function()
    local vm = provium.create("minimal")
    assert_error(function() vm:boot({ wait_system = true }) end, "wait_system needs systemd, and vm%d+ %(minimal%) has no systemctl")
    assert_eq("killed", vm:state())
end)
