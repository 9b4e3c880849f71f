-- Runs a body of tests on every userland that the guest API supports: each(function(vm, case) ... end), where
-- case(name, fn) is test() with the profile in front. Each profile has one VM: the small one is booted, and Debian
-- comes from a fixture.
return function(body)
    for _, profile in ipairs(each_profiles or { "minimal", "debian-systemd" }) do
        local vm
        if profile == "debian-systemd" then
            vm = provium.fixture("debian-up")
        else
            vm = provium.create(profile)
            vm:boot()
            vm:mount_vfs()
        end
        body(vm, function(name, fn) test(profile .. ": " .. name, fn) end, profile)
        vm:shutdown()
    end
end
