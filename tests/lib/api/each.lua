-- Runs a body of tests on every userland that the guest API supports: each(function(vm, case) ... end), where
-- case(name, fn) is test() with the profile in front. Each profile has one VM, booted with `opts`.
return function(body, opts)
    for _, profile in ipairs(each_profiles or { "minimal", "debian-systemd" }) do
        local vm = provium.create(profile)
        vm:boot(opts)
        vm:mount_vfs()
        if profile == "debian-systemd" then
            -- During the boot systemd-tmpfiles empties /tmp.
            vm:wait_until(function() return vm:exec("systemctl is-system-running").stdout.trim() == "running" end,
                { timeout = 90, desc = "systemd is up" })
        end
        body(vm, function(name, fn) test(profile .. ": " .. name, fn) end, profile)
        vm:shutdown()
    end
end
