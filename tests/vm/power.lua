-- The power button of a guest whose logind handles it; tests/vm/reboot.lua has guests in which nothing does.

test("systemd powers off when the power button is pressed", function()
    local vm = provium.fixture("debian-up")
    for _, name in ipairs({ "acpi/button", "input/evdev" }) do
        local path = "../build/guest/modules/kernel/drivers/" .. name .. ".ko"
        -- Debian 13's modules are compressed; insmod looks at the content, not at the name.
        if not pcall(vm.push, vm, path, "/run/module.ko") then vm:push(path .. ".xz", "/run/module.ko") end
        vm:sh("insmod /run/module.ko")
    end
    vm:sh("systemctl unmask dbus.socket dbus.service systemd-logind && systemctl start systemd-logind", { timeout = "120s" })
    vm:wait_until(function() return vm:exec("journalctl -b --no-pager -u systemd-logind").stdout:find("Power Button", 1, true) end,
        { timeout = 120, desc = "logind watches the button" })
    vm:power_button()
    vm:console():expect("reboot: Power down", 240)
    vm:wait_until(function() return vm:state() ~= "running" end, { timeout = 60, desc = "the machine is off" })
    assert_eq("dead", vm:state())
end)
